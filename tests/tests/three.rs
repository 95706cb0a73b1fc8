//! Three nodes that share only the channel file find each other through a real tracker and talk.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use bitchat_tests::{
    opentracker::OpenTracker,
    process::{ALONE, NodeProcess, eventually, log_ids},
};

const PATIENCE: Duration = Duration::from_secs(90);

#[test]
fn three_nodes_meet_through_a_tracker_and_talk() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("party.chat");
    let file = file.to_str().unwrap();
    let tracker = OpenTracker::start(&[]).unwrap();

    let a = NodeProcess::up(&dir.path().join("a"), ALONE).unwrap();
    let made = a
        .cli_one(&[
            "channel",
            "create",
            "party",
            "--tracker",
            &tracker.url(),
            "--out",
            file,
        ])
        .unwrap();
    let info = a.cli_one(&["channel", "info", "party"]).unwrap();
    assert_eq!(info["id"], made["id"]);
    let hashes: Vec<String> = serde_json::from_value(info["rendezvous"].clone()).unwrap();
    tracker.serve(&hashes).unwrap();
    eventually("the tracker answers", PATIENCE, || {
        let info = a.cli_one(&["channel", "info", "party"])?;
        Ok((info["trackers"][0]["state"] == "working").then_some(()))
    })
    .unwrap();

    let b = NodeProcess::up(&dir.path().join("b"), ALONE).unwrap();
    let c = NodeProcess::up(&dir.path().join("c"), ALONE).unwrap();
    let nodes = [&a, &b, &c];
    b.cli(&["channel", "join", file]).unwrap();
    c.cli(&["channel", "join", file]).unwrap();
    let joined = Instant::now();

    eventually("everyone is linked with everyone", PATIENCE, || {
        for node in nodes {
            let info = node.cli_one(&["channel", "info", "party"])?;
            if info["mesh"] != "full" || info["online"] != 3 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .unwrap();
    println!("full mesh {:?} after the last join", joined.elapsed());

    for (node, text) in nodes.iter().zip(["from a", "from b", "from c"]) {
        node.cli(&["send", "party", text]).unwrap();
    }
    eventually("all logs are equal", PATIENCE, || {
        let logs = nodes
            .iter()
            .map(|node| log_ids(node.home(), "party"))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((logs[0].len() == 3 && logs.iter().all(|log| *log == logs[0])).then_some(()))
    })
    .unwrap();
    println!(
        "all has been said {:?} after the last join",
        joined.elapsed()
    );

    for node in nodes {
        let members = node.cli(&["members", "party"]).unwrap();
        assert_eq!(members.len(), 3, "{members:?}");
        assert!(members.iter().all(|m| m["online"] == true), "{members:?}");
    }
    for node in [a, b, c] {
        let (status, took) = node.stop().unwrap();
        assert!(status.success(), "{status}");
        println!("stopped in {took:?}");
    }
}
