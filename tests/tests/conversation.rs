//! A conversation through the command line: what one node does to a message is what the other reads.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use bitchat_tests::process::{ALONE, NodeProcess, command, eventually, try_cli};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// Moves the cursor, sets the title, reverses the line's direction, and forges a line of somebody else.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{202e}\u{200b}\n12:00 bob: \u{9b}31m";

fn error(home: &Path, args: &[&str]) -> String {
    try_cli(home, args)
        .and_then(|done| done.error_code())
        .unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

/// The output for people, without `--json`.
fn seen(home: &Path, args: &[&str]) -> String {
    let output = command(home).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_conversation_through_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pair.chat");
    let file = file.to_str().unwrap();
    let (home_a, home_b) = (dir.path().join("a"), dir.path().join("b"));
    for (home, name) in [(&home_a, "ann"), (&home_b, "bob")] {
        assert!(
            command(home)
                .args(["init", "--name", name])
                .status()
                .unwrap()
                .success()
        );
    }
    let a = NodeProcess::up(&home_a, ALONE).unwrap();
    let b = NodeProcess::up(&home_b, ALONE).unwrap();
    a.cli(&["channel", "create", "pair", "--out", file])
        .unwrap();
    b.cli(&["channel", "join", file]).unwrap();
    let there = format!("127.0.0.1:{}", b.port());
    a.cli(&["channel", "connect", "pair", &there]).unwrap();
    eventually("names are known", PATIENCE, || {
        let members = a.cli(&["members", "pair"])?;
        Ok((members.len() == 2 && members.iter().all(|m| m["name"] != "")).then_some(()))
    })
    .unwrap();

    let first = a
        .cli_one(&["send", "pair", "shall we meet, @bob?"])
        .unwrap();
    let first = first["event_id"].as_str().unwrap();
    let short = &first[..8];
    eventually("bob has it", PATIENCE, || {
        Ok((b.cli(&["log", "pair"])?.len() == 1).then_some(()))
    })
    .unwrap();
    assert_eq!(
        b.cli_one(&["log", "pair"]).unwrap()["mentions"],
        json!([b.ready["id"]])
    );
    b.cli(&["reply", "pair", short, "gladly"]).unwrap();
    b.cli(&["react", "pair", short, "👍"]).unwrap();
    let again = b.cli_one(&["react", "pair", short, "👍"]).unwrap();
    assert_eq!(again, json!({"event_id": null, "target": first}));
    let edit = a
        .cli_one(&["edit", "pair", short, "shall we meet tomorrow?"])
        .unwrap();
    assert_eq!(edit["target"], first);

    let both = |done: &dyn Fn(&[Value]) -> bool| {
        eventually("both read the same", PATIENCE, || {
            let (left, right) = (a.cli(&["log", "pair"])?, b.cli(&["log", "pair"])?);
            let shown = |log: &[Value]| -> Vec<Value> {
                log.iter()
                    .map(|m| {
                        json!([
                            m["event_id"],
                            m["text"],
                            m["edited"],
                            m["deleted"],
                            m["reply_to"],
                            m["reactions"]
                        ])
                    })
                    .collect()
            };
            Ok((done(&left) && shown(&left) == shown(&right)).then_some(left))
        })
        .unwrap()
    };
    let log = both(&|log| log.len() == 2 && log[0]["edited"] == true);
    assert_eq!(log[0]["text"], "shall we meet tomorrow?");
    assert_eq!(
        log[0]["reactions"],
        json!([{"emoji": "👍", "count": 1, "by": [b.ready["id"]]}])
    );
    assert_eq!(log[1]["reply_to"], first);

    // Found by its current text, in one channel or in all.
    for args in [
        &["search", "tomorrow"][..],
        &["search", "pair", "\"meet tomorrow\""],
        &["search", "pair", "TOMO"],
    ] {
        let found = b.cli_one(args).unwrap();
        assert_eq!(found["event_id"], first, "{args:?}");
    }
    assert!(b.cli(&["search", "bob"]).unwrap().is_empty());

    // What cannot be done fails with the reason.
    for (home, args, code) in [
        (&home_b, &["edit", "pair", short, "x"][..], "not_yours"),
        (&home_b, &["delete", "pair", short], "not_yours"),
        (&home_b, &["reply", "pair", "000000000000", "x"], "no_event"),
        (&home_b, &["reply", "pair", "12345", "x"], "bad_request"),
        (&home_b, &["react", "pair", short, "two words"], "bad_text"),
        (&home_b, &["search", "?!"], "bad_request"),
        (&home_b, &["search", "nowhere", "x"], "no_channel"),
        (&home_b, &["typing", "nowhere"], "no_channel"),
    ] {
        assert_eq!(error(home, args), code, "{args:?}");
    }

    // Typing is shown among the members, and the setting keeps read marks private.
    a.cli(&["typing", "pair"]).unwrap();
    eventually("bob sees ann typing", PATIENCE, || {
        a.cli(&["typing", "pair"])?;
        let members = b.cli(&["members", "pair"])?;
        Ok(members
            .iter()
            .any(|m| m["id"] == a.ready["id"] && m["typing"] == true)
            .then_some(()))
    })
    .unwrap();
    let told = b.cli_one(&["read", "pair", short]).unwrap();
    assert_eq!(told["told"], false);

    // Profiles.
    let png = dir.path().join("me.png");
    std::fs::write(&png, b"\x89PNG\r\n\x1a\nbut no picture").unwrap();
    a.cli(&["profile", "status", "at sea"]).unwrap();
    let profile = a
        .cli_one(&["profile", "picture", png.to_str().unwrap()])
        .unwrap();
    assert_eq!(profile["picture"], "image/png");
    eventually("bob sees them", PATIENCE, || {
        let members = b.cli(&["members", "pair"])?;
        let ann = members.iter().find(|m| m["id"] == a.ready["id"]);
        Ok(ann
            .is_some_and(|m| m["status"] == "at sea" && m["picture"].is_string())
            .then_some(()))
    })
    .unwrap();
    let text = dir.path().join("no.png");
    std::fs::write(&text, b"this is no picture").unwrap();
    let refused = error(&home_a, &["profile", "picture", text.to_str().unwrap()]);
    assert_eq!(refused, "bad_picture");

    // Hostile text is shown defused, its lines cannot pass for those of others, and JSON has it unchanged.
    let long = HOSTILE.repeat(1_000);
    a.cli(&["send", "pair", &long]).unwrap();
    a.cli(&[
        "react",
        "pair",
        &log[1]["event_id"].as_str().unwrap()[..8],
        "x",
    ])
    .unwrap();
    let log =
        both(&|log| log.len() == 3 && log[1]["reactions"].as_array().is_some_and(|r| r.len() == 1));
    assert_eq!(log[2]["text"], long);
    for args in [
        &["log", "pair", "--ids"][..],
        &["search", "bob"],
        &["members", "pair"],
    ] {
        let shown = seen(&home_b, args);
        assert!(
            !shown.contains(|c: char| (c.is_control() && c != '\n') || "\u{202e}\u{200b}".contains(c)),
            "{args:?}"
        );
        assert!(!shown.lines().any(|line| line.starts_with("12:00 bob")));
    }

    // Deleted, on both nodes.
    a.cli(&["delete", "pair", short]).unwrap();
    let log = both(&|log| log[0]["deleted"] == true);
    assert_eq!(log[0]["text"], "");
    assert!(b.cli(&["search", "tomorrow"]).unwrap().is_empty());
    assert_eq!(error(&home_a, &["edit", "pair", short, "x"]), "deleted");
    assert!(seen(&home_b, &["log", "pair", "--ids"]).contains("(deleted)"));
    for node in [a, b] {
        assert!(node.stop().unwrap().0.success());
    }
}
