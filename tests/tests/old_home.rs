//! A home made by an earlier version opens, shows the same, and takes new messages.
#![allow(clippy::unwrap_used)]

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use bitchat_tests::process::{ALONE, NodeProcess, cli, cli_one};
use serde_json::Value;

fn version_0_1_0() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("homes/0.1.0")
}

/// Copies the home's files as the program keeps them: for the owner alone.
fn copy_home(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    std::fs::set_permissions(to, Permissions::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let file = to.join(entry.file_name());
        std::fs::copy(entry.path(), &file).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
    }
}

/// What that version printed, by the arguments of the command.
fn recorded(folder: &Path) -> Vec<(Vec<String>, Vec<Value>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "jsonl")
        {
            continue;
        }
        let name = path.file_stem().unwrap().to_str().unwrap();
        let arguments = name
            .split('-')
            .map(|word| match word {
                "all" => "--all".to_owned(),
                word => word.to_owned(),
            })
            .collect();
        let lines = std::fs::read_to_string(&path).unwrap();
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        found.push((arguments, lines.collect()));
    }
    found
}

#[test]
fn a_home_of_version_0_1_0_shows_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("anna");
    copy_home(&version_0_1_0().join("home"), &home);
    let node = NodeProcess::up(&home, ALONE).unwrap();

    let recorded = recorded(&version_0_1_0());
    assert!(recorded.len() >= 8, "the recorded answers are there");
    for (arguments, lines) in &recorded {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_eq!(&cli(&home, &arguments).unwrap(), lines, "{arguments:?}");
    }
    // What was deleted before is not found, and its log goes on where it ended.
    assert_eq!(
        cli(&home, &["search", "mistake"]).unwrap(),
        Vec::<Value>::new()
    );
    let sent = cli_one(&home, &["send", "party", "still here"]).unwrap();
    let log = cli(&home, &["log", "party", "--all"]).unwrap();
    let last = log.last().unwrap();
    assert_eq!(last["event_id"], sent["event_id"]);
    let own = |line: &&Value| line["device"] == last["device"];
    let numbers: Vec<u64> = log
        .iter()
        .filter(own)
        .map(|line| line["seq"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    drop(node);
}
