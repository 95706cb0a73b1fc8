//! A full disk: nothing is acknowledged that is not stored, the error says what to do, and the node continues when
//! there is space again. Needs root, for a small file system of its own.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use bitchat_tests::{
    process::{ALONE, NodeProcess, eventually, try_cli},
    skip::skip,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A file system of a few MiB, unmounted when dropped.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs"])
            .arg(at)
            .status();
        done.is_ok_and(|status| status.success())
            .then(|| Self(at.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(&dir.path().join("small")) else {
        skip("only root can mount a file system of 4 MiB");
        return;
    };
    let home = small.0.join("home");
    let file = dir.path().join("disk.chat");
    let node = NodeProcess::up(&home, ALONE).unwrap();
    let friend = NodeProcess::up(&dir.path().join("friend"), ALONE).unwrap();
    node.cli(&["channel", "create", "disk", "--out", file.to_str().unwrap()])
        .unwrap();
    friend
        .cli(&["channel", "join", file.to_str().unwrap()])
        .unwrap();
    node.cli(&[
        "channel",
        "connect",
        "disk",
        &format!("127.0.0.1:{}", friend.port()),
    ])
    .unwrap();
    node.cli(&["send", "disk", "there is room"]).unwrap();
    eventually("linked", PATIENCE, || {
        Ok((friend.cli(&["log", "disk"])?.len() == 1).then_some(()))
    })
    .unwrap();

    // The file system is filled to the last block.
    let filler = small.0.join("filler");
    let _ = Command::new("dd")
        .arg("if=/dev/zero")
        .arg(format!("of={}", filler.display()))
        .args(["bs=4096", "status=none"])
        .status();
    let long = "x".repeat(60_000);
    let mut kept = 0;
    let refused = eventually("the disk is full", PATIENCE, || {
        let done = try_cli(&home, &["send", "disk", &long])?;
        if done.code == Some(0) {
            kept += 1;
            return Ok(None);
        }
        Ok(Some(done))
    })
    .unwrap();
    assert!(refused.err.contains("disk is full"), "{}", refused.err);
    assert_eq!(refused.code, Some(1));
    // A friend's messages are not stored meanwhile, and arrive once there is space.
    friend
        .cli(&["send", "disk", &format!("meanwhile {long}")])
        .unwrap();
    eventually("the trouble is shown", PATIENCE, || {
        let info = node.cli_one(&["channel", "info", "disk"])?;
        Ok(info["trouble"]
            .as_str()
            .is_some_and(|text| text.contains("disk is full"))
            .then_some(()))
    })
    .unwrap();

    fs::remove_file(&filler).unwrap();
    eventually("room again", PATIENCE, || {
        Ok(try_cli(&home, &["send", "disk", "room again"])?
            .code
            .eq(&Some(0))
            .then_some(()))
    })
    .unwrap();
    eventually("both logs are equal", PATIENCE, || {
        let (left, right) = (node.cli(&["log", "disk"])?, friend.cli(&["log", "disk"])?);
        let texts = |log: &[serde_json::Value]| {
            log.iter()
                .map(|event| event["event_id"].to_string())
                .collect::<Vec<_>>()
        };
        Ok((left.len() == kept + 3 && texts(&left) == texts(&right)).then_some(()))
    })
    .unwrap();
    let (status, _) = node.stop().unwrap();
    assert!(status.success());
}
