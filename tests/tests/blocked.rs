//! BitTorrent is blocked: neither trackers nor the DHT answer. Channels form nevertheless, through the local network,
//! remembered addresses and addresses given by hand, and the status shows what is blocked.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::Duration;

use bitchat_tests::process::{NodeProcess, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);
const CHANNEL: &str = "undeterred";
/// Nothing listens there: those ports are reserved, and refuse or drop what arrives.
const TRACKERS: [&str; 2] = ["http://127.0.0.1:9/announce", "udp://127.0.0.1:9/announce"];
const ARGS: &[&str] = &[
    "--bind",
    "127.0.0.1",
    "--no-portmap",
    "--dht-bootstrap",
    "127.0.0.1:9",
];

/// The state of a source, by its name or URL.
fn state(of: &Value, source: &str) -> String {
    let all = of["sources"].as_array().unwrap();
    let found = all
        .iter()
        .find(|one| one["source"] == source || one["url"] == source);
    found.unwrap()["state"].as_str().unwrap().to_owned()
}

fn linked(nodes: &[NodeProcess]) {
    eventually("they are linked", PATIENCE, || {
        for node in nodes {
            if node.cli_one(&["channel", "info", CHANNEL])?["online"] != 2 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .unwrap();
}

/// Of two linked nodes, the one that dialled knows which source found the other.
fn sources(nodes: &[NodeProcess]) -> Vec<Value> {
    let members = nodes
        .iter()
        .flat_map(|node| node.cli(&["members", CHANNEL]).unwrap());
    let others = members.filter(|member| member["me"] == false);
    others
        .map(|member| member["path"].clone())
        .filter(|path| !path["source"].is_null())
        .collect()
}

#[test]
fn with_trackers_and_dht_blocked_members_still_meet() {
    let dir = tempfile::tempdir().unwrap();
    let start = |more: &[&str]| -> Vec<NodeProcess> {
        let home = |name| dir.path().join(name);
        let all =
            ["a", "b"].map(|name| NodeProcess::up(&home(name), &[ARGS, more].concat()).unwrap());
        all.into()
    };
    let nodes = start(&[]);
    let file = dir.path().join("channel.chat");
    let file = file.to_str().unwrap();
    let mut create = vec!["channel", "create", CHANNEL, "--out", file];
    create.extend(TRACKERS.iter().flat_map(|url| ["--tracker", url]));
    nodes[0].cli(&create).unwrap();
    nodes[1].cli(&["channel", "join", file]).unwrap();
    linked(&nodes);
    let found = sources(&nodes);
    assert!(
        found.iter().any(|path| path["source"] == "lan"),
        "{found:?}"
    );
    assert!(
        found.iter().all(|path| path["took_ms"].as_f64().is_some()),
        "{found:?}"
    );

    eventually("the status says what is blocked", PATIENCE, || {
        let info = nodes[1].cli_one(&["channel", "info", CHANNEL])?;
        let blocked = [TRACKERS[0], "dht_ipv4"]
            .iter()
            .all(|of| state(&info, of) == "blocked");
        Ok(blocked.then_some(()))
    })
    .unwrap();
    let status = nodes[1].cli_one(&["status"]).unwrap();
    let channel = &status["channels"][0];
    assert_eq!(state(channel, TRACKERS[0]), "blocked");
    assert_eq!(state(channel, "lan"), "working");
    for node in nodes {
        node.stop().unwrap();
    }

    // Without the local network they use the addresses that they remember.
    let nodes = start(&["--no-lan"]);
    linked(&nodes);
    let found = sources(&nodes);
    println!("again: {found:?}");
    assert!(
        found.iter().any(|path| path["source"] == "cache"),
        "{found:?}"
    );

    // A node that no source leads to anybody is given an address.
    let late = NodeProcess::up(&dir.path().join("c"), &[ARGS, &["--no-lan"]].concat()).unwrap();
    late.cli(&["channel", "join", file]).unwrap();
    let address = format!("127.0.0.1:{}", nodes[0].port());
    late.cli(&["channel", "connect", CHANNEL, &address])
        .unwrap();
    eventually("all three are linked", PATIENCE, || {
        let info = late.cli_one(&["channel", "info", CHANNEL])?;
        Ok((info["online"] == 3).then_some(()))
    })
    .unwrap();
    let found = sources(&[late]);
    assert!(
        found.iter().any(|path| path["source"] == "hand"),
        "{found:?}"
    );
    for node in nodes {
        node.stop().unwrap();
    }
}
