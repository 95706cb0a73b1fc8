//! Two nodes that share a channel file and are given each other's address talk; both keep the messages.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bitchat_tests::process::{ALONE, NodeProcess, eventually, log_ids};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn two_nodes_talk_when_given_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pair.chat");
    let file = file.to_str().unwrap();
    let a = NodeProcess::up(&dir.path().join("a"), ALONE).unwrap();
    let b = NodeProcess::up(&dir.path().join("b"), ALONE).unwrap();
    a.cli(&["channel", "create", "pair", "--out", file])
        .unwrap();
    b.cli(&["channel", "join", file]).unwrap();
    a.cli(&["send", "pair", "said before we met"]).unwrap();
    a.cli(&[
        "channel",
        "connect",
        "pair",
        &format!("127.0.0.1:{}", b.port()),
    ])
    .unwrap();
    b.cli(&["send", "pair", "said at once"]).unwrap();

    eventually("both logs have both lines", PATIENCE, || {
        let (left, right) = (log_ids(a.home(), "pair")?, log_ids(b.home(), "pair")?);
        Ok((left.len() == 2 && left == right).then_some(()))
    })
    .unwrap();
    eventually("each knows that the other has it", PATIENCE, || {
        let log = a.cli(&["log", "pair"])?;
        let done = log
            .iter()
            .filter(|e| e["author"] == a.ready["id"])
            .all(|e| e["state"]["delivered"] == 1 && e["state"]["of"] == 1);
        Ok(done.then_some(()))
    })
    .unwrap();

    let members = a.cli(&["members", "pair"]).unwrap();
    assert_eq!(members.len(), 2, "{members:?}");
    let other = members.iter().find(|m| m["id"] == b.ready["id"]).unwrap();
    assert_eq!(other["online"], true);
    assert_eq!(other["path"]["kind"], "quic");
    assert!(other["path"]["rtt_ms"].is_number());
    assert_eq!(
        a.cli_one(&["channel", "info", "pair"]).unwrap()["mesh"],
        "full"
    );

    // Each keeps the messages in its own store.
    let before = log_ids(a.home(), "pair").unwrap();
    for node in [a, b] {
        let home = node.home().to_owned();
        let (status, took) = node.stop().unwrap();
        assert!(status.success());
        println!("stopped in {took:?}");
        let node = NodeProcess::up(&home, ALONE).unwrap();
        assert_eq!(log_ids(node.home(), "pair").unwrap(), before);
    }
}
