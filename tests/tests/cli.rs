//! The command line as scripts use it: the shapes of its JSON and the codes of its errors.
#![allow(clippy::unwrap_used)]

use std::{io::Write, os::unix::fs::PermissionsExt, path::Path, process::Stdio, time::Duration};

use bitchat_tests::process::{
    ALONE, NodeProcess, cli_one, command, eventually, log_ids, try_cli, write,
};
use bitchat_wire::channel::{ChannelFile, Rotation};
use serde_json::{Value, json};

fn error(home: &Path, args: &[&str]) -> String {
    try_cli(home, args)
        .and_then(|done| done.error_code())
        .unwrap_or_else(|e| panic!("{args:?}: {e}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[track_caller]
fn has(value: &Value, wanted: &[&str]) {
    let keys = keys(value);
    for key in wanted {
        assert!(keys.contains(key), "{key} is missing in {value}");
    }
}

#[test]
fn without_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    assert_eq!(error(&home, &["id"]), "no_identity");
    for args in [
        &["status"][..],
        &["send", "ch", "hi"],
        &["log", "ch"],
        &["members", "ch"],
        &["channel", "list"],
        &["channel", "info", "ch"],
        &["channel", "create", "ch", "--out", "/nowhere/x"],
        &["channel", "join", "bitchat:x"],
        &["channel", "leave", "ch"],
        &["channel", "export", "ch", "--link"],
        &["channel", "connect", "ch", "127.0.0.1:1"],
    ] {
        assert_eq!(error(&home, args), "no_node", "{args:?}");
    }
    let told = command(&home).args(["log", "ch"]).output().unwrap();
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("start one with") && told.contains(" up`"),
        "{told}"
    );

    let made = cli_one(&home, &["init", "--name", "Anna"]).unwrap();
    let id = made["id"].as_str().unwrap();
    assert!(id.starts_with("bitchat1") && id.len() == 66, "{id}");
    assert_eq!(cli_one(&home, &["id"]).unwrap()["id"], id);
    assert_eq!(error(&home, &["init", "--name", "Anna"]), "exists");
    assert_eq!(cli_one(&home, &["id"]).unwrap()["id"], id);
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home), 0o700);
    assert_eq!(mode(&home.join("identity.key")), 0o600);

    let other = dir.path().join("other");
    assert_eq!(error(&other, &["init", "--name", ""]), "bad_config");
    assert_eq!(
        error(&other, &["init", "--name", &"x".repeat(65)]),
        "bad_config"
    );
    assert_eq!(error(&other, &["frobnicate"]), "usage");
    assert_eq!(error(&other, &["send"]), "usage");
}

#[test]
fn settings() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    assert_eq!(
        cli_one(&home, &["config", "set", "port", "40123"]).unwrap()["port"],
        40123
    );
    assert_eq!(
        cli_one(&home, &["config", "get", "port"]).unwrap()["port"],
        40123
    );
    let over = command(&home)
        .args(["--json", "config", "get", "port"])
        .env("BITCHAT_PORT", "40124")
        .output()
        .unwrap();
    let over: Value = serde_json::from_slice(&over.stdout).unwrap();
    assert_eq!(over["port"], 40124);
    has(
        &cli_one(&home, &["config", "get"]).unwrap(),
        &["name", "port", "bind", "api", "log", "trackers", "proxy"],
    );
    cli_one(&home, &["config", "unset", "port"]).unwrap();
    assert_eq!(
        cli_one(&home, &["config", "get", "port"]).unwrap()["port"],
        Value::Null
    );
    for args in [
        &["config", "get", "prot"][..],
        &["config", "set", "prot", "1"],
        &["config", "set", "port", "65536"],
        &["config", "set", "api", "0.0.0.0:80"],
    ] {
        assert_eq!(error(&home, args), "bad_config", "{args:?}");
    }
    write(&home.join("config.toml"), b"prot = 1\n").unwrap();
    let done = try_cli(&home, &["up"]).unwrap();
    assert_eq!(done.error_code().unwrap(), "bad_config");
    assert!(done.err.contains("port"), "{}", done.err);
}

#[test]
fn shapes_and_errors_with_a_node() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let node = NodeProcess::up(&home, ALONE).unwrap();
    has(&node.ready, &["event", "id", "port", "api"]);
    assert_eq!(node.cli_one(&["id"]).unwrap()["id"], node.ready["id"]);
    let status = node.cli_one(&["status"]).unwrap();
    has(
        &status,
        &[
            "id",
            "name",
            "port",
            "listening",
            "connections",
            "uptime_s",
            "channels",
        ],
    );
    assert_eq!(status["port"], node.ready["port"]);
    // Only one node runs per home.
    let mut second = vec!["up"];
    second.extend(ALONE);
    assert_eq!(error(&home, &second), "locked");

    assert!(node.cli(&["channel", "list"]).unwrap().is_empty());
    let file = path("one.chat");
    let made = node
        .cli_one(&[
            "channel",
            "create",
            "one",
            "--out",
            &file,
            "--node",
            "127.0.0.1:6881",
        ])
        .unwrap();
    has(&made, &["id", "name", "out", "link"]);
    assert_eq!(
        Path::new(&file).metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    let id = made["id"].as_str().unwrap();
    let info = node.cli_one(&["channel", "info", "one"]).unwrap();
    has(
        &info,
        &[
            "name",
            "id",
            "infohash",
            "rendezvous",
            "trackers",
            "mesh",
            "members",
            "online",
        ],
    );
    assert_eq!(info["id"], id);
    assert_eq!(info["infohash"].as_str().unwrap().len(), 40);
    for hash in info["rendezvous"].as_array().unwrap() {
        assert_eq!(hash.as_str().unwrap().len(), 40);
    }
    assert_eq!(info["rendezvous"].as_array().unwrap().len(), 2);
    assert_eq!(info["rotates"], true);
    // A channel that never rotates is found under its infohash, and its file records that.
    let create = ["channel", "create", "fixed", "--rotate", "0"];
    node.cli_one(&[&create[..], &["--out", &path("fixed.chat")]].concat())
        .unwrap();
    let fixed = node.cli_one(&["channel", "info", "fixed"]).unwrap();
    assert_eq!(fixed["rotates"], false);
    assert_eq!(fixed["rendezvous"], json!([fixed["infohash"]]));
    let kept = std::fs::read(path("fixed.chat")).unwrap();
    let kept = ChannelFile::parse(&kept).unwrap();
    assert_eq!(kept.info().rotation, Rotation::Never);
    node.cli(&["channel", "leave", "fixed"]).unwrap();
    assert_eq!(
        node.cli_one(&["channel", "info", &id[..10]]).unwrap()["id"],
        id
    );
    assert_eq!(node.cli_one(&["channel", "list"]).unwrap()["id"], id);

    // The link holds the same channel as the file, and joining again changes nothing.
    let link = node.cli_one(&["channel", "link", "one"]).unwrap();
    assert_eq!(link["link"], made["link"]);
    let again = path("again.chat");
    node.cli_one(&["channel", "export", "one", "--out", &again])
        .unwrap();
    assert_eq!(
        std::fs::read(&again).unwrap(),
        std::fs::read(&file).unwrap()
    );
    for source in [file.as_str(), made["link"].as_str().unwrap()] {
        assert_eq!(
            node.cli_one(&["channel", "join", source]).unwrap()["id"],
            id
        );
    }
    assert_eq!(node.cli(&["channel", "list"]).unwrap().len(), 1);

    assert_eq!(
        error(&home, &["channel", "create", "two", "--out", &file]),
        "exists"
    );
    assert_eq!(
        error(&home, &["channel", "export", "one", "--out", &file]),
        "exists"
    );
    assert_eq!(
        error(
            &home,
            &["channel", "create", "two", "--out", &path("no/such/f")]
        ),
        "io"
    );
    assert_eq!(
        error(&home, &["channel", "create", "", "--out", &path("x")]),
        "bad_file"
    );
    assert_eq!(
        error(
            &home,
            &[
                "channel",
                "create",
                "x",
                "--node",
                "nonsense",
                "--out",
                &path("x")
            ]
        ),
        "bad_request"
    );
    assert_eq!(node.cli(&["channel", "list"]).unwrap().len(), 1);
    assert_eq!(error(&home, &["channel", "join", &path("missing")]), "io");
    assert_eq!(
        error(&home, &["channel", "join", "bitchat:AAAA"]),
        "bad_file"
    );
    let mut bytes = std::fs::read(&file).unwrap();
    let bad = path("bad.chat");
    *bytes.last_mut().unwrap() = b'x';
    write(Path::new(&bad), &bytes).unwrap();
    assert_eq!(error(&home, &["channel", "join", &bad]), "bad_file");
    write(Path::new(&bad), &vec![b'd'; 300_000]).unwrap();
    assert_eq!(error(&home, &["channel", "join", &bad]), "bad_file");
    for args in [
        &["channel", "info", "nope"][..],
        &["channel", "leave", "nope"],
        &["channel", "connect", "nope", "127.0.0.1:1"],
        &["send", "nope", "x"],
        &["log", "nope"],
        &["log", "nope", "--follow"],
        &["members", "nope"],
        &["members", ".."],
        &["members", "a/b?c#d%2f"],
    ] {
        assert_eq!(error(&home, args), "no_channel", "{args:?}");
    }

    let members = node.cli(&["members", "one"]).unwrap();
    assert_eq!(members.len(), 1);
    has(&members[0], &["id", "name", "online", "path"]);
    assert_eq!(members[0]["me"], true);

    node.cli_one(&["channel", "leave", "one"]).unwrap();
    assert!(node.cli(&["channel", "list"]).unwrap().is_empty());
    assert!(node.stop().unwrap().0.success());
}

#[test]
fn sending_and_reading() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    let file = dir.path().join("c.chat");
    let node = NodeProcess::up(&home, ALONE).unwrap();
    // A name that must be escaped in URLs.
    let name = "a b/ü?#%";
    node.cli_one(&["channel", "create", name, "--out", file.to_str().unwrap()])
        .unwrap();
    assert!(node.cli(&["log", name]).unwrap().is_empty());

    let first = node
        .cli_one(&["send", name, "hello", "--key", "k1"])
        .unwrap();
    assert_eq!(
        node.cli_one(&["send", name, "hello", "--key", "k1"])
            .unwrap(),
        first
    );
    let nasty = "\u{1b}[2J\u{202e}evil\nbob: no";
    node.cli_one(&["send", name, nasty]).unwrap();
    let log = node.cli(&["log", name]).unwrap();
    assert_eq!(log.len(), 2);
    has(
        &log[0],
        &[
            "event_id", "author", "name", "seq", "time", "kind", "text", "state",
        ],
    );
    assert_eq!(log[0]["event_id"], first["event_id"]);
    assert_eq!(log[0]["kind"], "text");
    assert_eq!(log[0]["state"]["delivered"], 0);
    assert_eq!(log[0]["state"]["of"], 0);
    let time = log[0]["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    assert_eq!(log[1]["text"], nasty);
    let plain = command(&home).args(["log", name]).output().unwrap();
    let plain = String::from_utf8(plain.stdout).unwrap();
    assert!(plain.contains("hello"), "{plain}");
    assert!(
        !plain.contains(['\u{1b}', '\u{202e}']) && !plain.contains("\nbob"),
        "{plain}"
    );

    let say_stdin = |bytes: &[u8]| {
        let mut child = command(&home)
            .args(["--json", "send", name, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The receiver may stop reading after too much input.
        let _ = child.stdin.take().unwrap().write_all(bytes);
        child.wait_with_output().unwrap().status.code()
    };
    assert_eq!(say_stdin(b"from stdin\n"), Some(0));
    assert_eq!(say_stdin(&[b'x'; 65_536]), Some(0));
    assert_eq!(say_stdin(&[b'x'; 65_537]), Some(1));
    assert_eq!(say_stdin(b""), Some(1));
    assert_eq!(say_stdin(b"\xff"), Some(1));
    assert_eq!(error(&home, &["send", name, ""]), "bad_text");

    for number in 0..8 {
        node.cli_one(&["send", name, &number.to_string()]).unwrap();
    }
    let all = log_ids(&home, name).unwrap();
    assert_eq!(all.len(), 12);
    let page = node.cli(&["log", name, "--limit", "3"]).unwrap();
    assert_eq!(page[0]["event_id"], all[9]);
    let page = node
        .cli(&["log", name, "--limit", "2", "--before", &all[9]])
        .unwrap();
    assert_eq!(
        (page.len(), &page[0]["event_id"]),
        (2, &Value::from(all[7].clone()))
    );
    assert_eq!(
        error(&home, &["log", name, "--before", "zz"]),
        "bad_request"
    );
    assert!(node.cli(&["log", name, "--all"]).unwrap().len() > all.len());

    // Following: existing messages, then new ones; none twice, none left out.
    let out = dir.path().join("followed");
    let mut follower = command(&home)
        .args(["--json", "log", name, "--follow"])
        .stdout(std::fs::File::create(&out).unwrap())
        .spawn()
        .unwrap();
    for number in 0..10 {
        node.cli_one(&["send", name, &format!("later {number}")])
            .unwrap();
    }
    let expected = log_ids(&home, name).unwrap();
    eventually("all is followed", Duration::from_secs(60), || {
        let text = std::fs::read_to_string(&out)?;
        let ids: Vec<String> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|event| event["event_id"].as_str().unwrap().to_owned())
            .collect();
        Ok((ids == expected).then_some(()))
    })
    .unwrap();
    // An open stream does not delay the node's stop, and the follower ends cleanly.
    let (status, took) = node.stop().unwrap();
    assert!(status.success());
    println!("stopped in {took:?}");
    assert_eq!(follower.wait().unwrap().code(), Some(1));
}

#[test]
fn a_relay_can_be_checked_from_outside() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("relay");
    let relay = NodeProcess::relay(&home, &["--bind", "127.0.0.1"]).unwrap();
    let port = relay.port().to_string();
    let own = ["relay", "--bind", "127.0.0.1", "--port", &port, "--check"];
    let told = cli_one(&home, &own).unwrap();
    for way in ["quic", "tcp"] {
        assert!(told[way]["ms"].as_f64().unwrap() > 0.0, "{told}");
    }
    // From another home, at its address.
    let elsewhere = dir.path().join("elsewhere");
    let named = told["relay"].as_str().unwrap();
    assert_eq!(
        cli_one(&elsewhere, &["relay", "--check", named]).unwrap()["relay"],
        named
    );
    assert_eq!(error(&elsewhere, &["relay", "--check"]), "usage");
    assert_eq!(error(&elsewhere, &["relay", "--check", "x"]), "bad_relay");
    assert!(relay.stop().unwrap().0.success());
    assert_eq!(error(&home, &own), "no_relay");
}
