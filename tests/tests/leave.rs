//! Leaving a channel and coming back: nobody loses what they wrote, and nobody is taken for a fraud.
#![allow(clippy::unwrap_used)]

use std::{path::Path, time::Duration};

use anyhow::Result;
use bitchat_tests::process::{ALONE, NodeProcess, eventually};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(60);

/// Two nodes linked in a channel that the first one created.
struct Pair {
    folder: tempfile::TempDir,
    anna: NodeProcess,
    ben: NodeProcess,
}

impl Pair {
    fn linked() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let anna = NodeProcess::up(&folder.path().join("anna"), ALONE).unwrap();
        let ben = NodeProcess::up(&folder.path().join("ben"), ALONE).unwrap();
        let pair = Self { folder, anna, ben };
        let file = pair.file();
        pair.anna
            .cli(&["channel", "create", "party", "--out", &file])
            .unwrap();
        pair.ben.cli(&["channel", "join", &file]).unwrap();
        pair.meet();
        pair
    }

    fn file(&self) -> String {
        self.folder.path().join("party.chat").display().to_string()
    }

    fn meet(&self) {
        let address = format!("127.0.0.1:{}", self.anna.port());
        self.ben
            .cli(&["channel", "connect", "party", &address])
            .unwrap();
        eventually("they are linked", PATIENCE, || {
            Ok(online(&self.ben)?.then_some(()))
        })
        .unwrap();
    }

    fn come_back(&self) {
        self.ben.cli(&["channel", "leave", "party"]).unwrap();
        self.ben.cli(&["channel", "join", &self.file()]).unwrap();
        self.meet();
    }

    /// Waits until both show these texts, in any order, and no device is taken for a fraud.
    fn both_show(&self, texts: &[&str]) {
        let mut wanted: Vec<&str> = texts.to_vec();
        wanted.sort_unstable();
        for node in [&self.anna, &self.ben] {
            eventually("all texts are there", PATIENCE, || {
                let mut shown = texts_of(node)?;
                shown.sort();
                Ok((shown == wanted).then_some(()))
            })
            .unwrap_or_else(|error| panic!("{error}: {:?}", texts_of(node)));
            for member in node.cli(&["members", "party"]).unwrap() {
                assert_eq!(member["forked"], false, "{member}");
            }
        }
    }
}

fn texts_of(node: &NodeProcess) -> Result<Vec<String>> {
    let log = node.cli(&["log", "party"])?;
    let text = |line: &Value| line["text"].as_str().unwrap_or_default().to_owned();
    Ok(log.iter().map(text).collect())
}

fn online(node: &NodeProcess) -> Result<bool> {
    let members = node.cli(&["members", "party"])?;
    Ok(members.len() > 1 && members.iter().all(|member| member["online"] == true))
}

fn again(node: NodeProcess, home: &Path) -> NodeProcess {
    node.stop().unwrap();
    NodeProcess::up(home, ALONE).unwrap()
}

#[test]
fn who_leaves_and_joins_again_keeps_voice_and_words() {
    let pair = Pair::linked();
    pair.ben.cli(&["send", "party", "one"]).unwrap();
    pair.both_show(&["one"]);
    for round in ["two", "three"] {
        pair.come_back();
        pair.ben.cli(&["send", "party", round]).unwrap();
    }
    pair.both_show(&["one", "two", "three"]);
    let log = pair.anna.cli(&["log", "party"]).unwrap();
    assert!(
        log.iter()
            .all(|line| line["author"] == pair.ben.ready["id"]),
        "{log:?}"
    );
    // What one wrote before leaving is still one's own.
    let first = log[0]["event_id"].as_str().unwrap();
    pair.ben
        .cli(&["edit", "party", first, "one, corrected"])
        .unwrap();
    pair.both_show(&["one, corrected", "two", "three"]);
}

#[test]
fn coming_back_works_while_all_others_are_away_and_across_restarts() {
    let mut pair = Pair::linked();
    pair.ben.cli(&["send", "party", "one"]).unwrap();
    pair.both_show(&["one"]);
    let (anna, ben) = (pair.anna.home().to_owned(), pair.ben.home().to_owned());
    let file = pair.file();
    pair.anna.signal(rustix::process::Signal::STOP).unwrap();
    pair.ben.cli(&["channel", "leave", "party"]).unwrap();
    pair.ben = again(pair.ben, &ben);
    pair.ben.cli(&["channel", "join", &file]).unwrap();
    pair.ben.cli(&["send", "party", "two"]).unwrap();
    pair.ben = again(pair.ben, &ben);
    pair.ben.cli(&["send", "party", "three"]).unwrap();
    pair.anna.signal(rustix::process::Signal::CONT).unwrap();
    pair.anna = again(pair.anna, &anna);
    pair.meet();
    pair.both_show(&["one", "two", "three"]);
}

#[test]
fn who_left_before_meeting_anybody_can_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("party.chat").display().to_string();
    let anna = NodeProcess::up(&folder.path().join("anna"), ALONE).unwrap();
    anna.cli(&["channel", "create", "party", "--out", &file])
        .unwrap();
    anna.cli(&["send", "party", "said to nobody"]).unwrap();
    anna.cli(&["channel", "leave", "party"]).unwrap();
    anna.cli(&["channel", "join", &file]).unwrap();
    let ben = NodeProcess::up(&folder.path().join("ben"), ALONE).unwrap();
    ben.cli(&["channel", "join", &file]).unwrap();
    let pair = Pair { folder, anna, ben };
    pair.meet();
    pair.anna.cli(&["send", "party", "hello"]).unwrap();
    pair.both_show(&["hello"]);
}

#[test]
fn who_came_back_is_a_member_also_for_those_who_start_later() {
    let mut pair = Pair::linked();
    pair.ben.cli(&["send", "party", "one"]).unwrap();
    pair.come_back();
    pair.ben.cli(&["send", "party", "two"]).unwrap();
    pair.both_show(&["one", "two"]);
    let home = pair.anna.home().to_owned();
    pair.ben.signal(rustix::process::Signal::STOP).unwrap();
    pair.anna = again(pair.anna, &home);
    let members = pair.anna.cli(&["members", "party"]).unwrap();
    assert_eq!(members.len(), 2, "{members:?}");
    pair.ben.signal(rustix::process::Signal::CONT).unwrap();
}

#[test]
fn what_is_written_before_the_history_is_back_comes_after_it() {
    let mut pair = Pair::linked();
    for text in ["one", "two", "three"] {
        pair.ben.cli(&["send", "party", text]).unwrap();
    }
    pair.both_show(&["one", "two", "three"]);
    let home = pair.anna.home().to_owned();
    pair.anna.signal(rustix::process::Signal::STOP).unwrap();
    pair.ben.cli(&["channel", "leave", "party"]).unwrap();
    pair.ben.cli(&["channel", "join", &pair.file()]).unwrap();
    pair.ben.cli(&["send", "party", "four"]).unwrap();
    pair.anna.signal(rustix::process::Signal::CONT).unwrap();
    pair.anna = again(pair.anna, &home);
    pair.meet();
    pair.both_show(&["one", "two", "three", "four"]);
    for node in [&pair.anna, &pair.ben] {
        assert_eq!(texts_of(node).unwrap().last().unwrap(), "four");
    }
}

#[test]
fn joining_twice_changes_nothing() {
    let pair = Pair::linked();
    let links = |node: &NodeProcess| node.cli_one(&["status"]).unwrap()["connections"].clone();
    let before = links(&pair.ben);
    for _ in 0..3 {
        pair.ben.cli(&["channel", "join", &pair.file()]).unwrap();
        assert!(online(&pair.ben).unwrap(), "the link stays up");
        assert!(online(&pair.anna).unwrap(), "for the other side too");
    }
    assert_eq!(links(&pair.ben), before);
}

#[test]
fn what_was_left_is_forgotten() {
    let pair = Pair::linked();
    let canary = "xylophone-canary";
    pair.anna.cli(&["send", "party", canary]).unwrap();
    pair.both_show(&[canary]);
    let other = pair.folder.path().join("other.chat").display().to_string();
    pair.ben
        .cli(&["channel", "create", "other", "--out", &other])
        .unwrap();
    pair.ben
        .cli(&["send", "other", "xylem and phloem"])
        .unwrap();
    let copy = pair.ben.home().join("bitchat.db.v1.bak");
    std::fs::write(&copy, canary).unwrap();
    let holds = |home: &Path| {
        let files = std::fs::read_dir(home).unwrap();
        let mut found = Vec::new();
        for file in files {
            let path = file.unwrap().path();
            let bytes = std::fs::read(&path).unwrap_or_default();
            let inside = |word: &[u8]| bytes.windows(word.len()).any(|at| at == word);
            if inside(canary.as_bytes()) || inside(b"xylophone") {
                found.push(path);
            }
        }
        found
    };
    assert!(holds(pair.ben.home()).len() > 1, "the word can be found");
    pair.ben.cli(&["channel", "leave", "party"]).unwrap();
    assert_eq!(holds(pair.ben.home()), Vec::<std::path::PathBuf>::new());
    assert!(!copy.exists());
    let found = pair.ben.cli(&["search", "xylem"]).unwrap();
    assert_eq!(found.len(), 1, "the other channel is as it was");
}
