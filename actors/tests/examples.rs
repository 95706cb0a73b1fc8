//! The examples, each as a process of its own, beside a node that is here.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::{BufRead, BufReader, Lines},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use bitchat_actors::{
    Chat, EventKind, Follow, Node, Position,
    node::ChannelRequest,
    wire::{channel::ChannelFile, identity::IdentityKey},
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running example. Killed when dropped.
struct Example {
    child: Child,
    lines: Option<Lines<BufReader<ChildStdout>>>,
    port: u16,
}

impl Example {
    /// Starts an example, and waits until its node listens.
    async fn start(name: &str, args: &[&Path]) -> Self {
        let mut child = Command::new(program(name))
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut example = Self {
            child,
            lines: Some(lines),
            port: 0,
        };
        let line = example.line().await;
        example.port = line.rsplit(' ').next().unwrap().parse().unwrap();
        example
    }

    /// The next line of its output.
    async fn line(&mut self) -> String {
        let mut lines = self.lines.take().unwrap();
        let read = tokio::task::spawn_blocking(move || (lines.next(), lines));
        let (line, lines) = tokio::time::timeout(PATIENCE, read).await.unwrap().unwrap();
        self.lines = Some(lines);
        line.unwrap().unwrap()
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An example's program. `cargo test` builds a crate's examples, `cargo test --test examples` does not.
fn program(name: &str) -> PathBuf {
    // target/PROFILE/deps/TEST-0123456789abcdef
    let test = std::env::current_exe().unwrap();
    let folder = test.ancestors().nth(2).unwrap();
    let example = folder.join("examples").join(name);
    if !example.is_file() {
        let profile = folder.file_name().unwrap().to_str().unwrap();
        let built = Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--example", name, "--profile"])
            .arg(if profile == "debug" { "dev" } else { profile })
            .arg("--target-dir")
            .arg(folder.parent().unwrap())
            .status();
        assert!(built.unwrap().success());
    }
    example
}

async fn alice(folder: &Path) -> Node {
    Node::builder(folder.join("alice.db"), IdentityKey::from_seed(&[1; 32]))
        .name("alice")
        .bind([IpAddr::V4(Ipv4Addr::LOCALHOST)])
        .start()
        .await
        .unwrap()
}

/// Creates a channel, and writes its file.
async fn channel(node: &Node, name: &str, folder: &Path) -> (Chat, ChannelFile, PathBuf) {
    let file = node.create_channel(ChannelRequest::open(name)).await;
    let file = file.unwrap();
    let path = folder.join(format!("{name}.chat"));
    std::fs::write(&path, file.to_bytes()).unwrap();
    (node.chat(file.id()).unwrap(), file, path)
}

/// The next `count` texts.
async fn texts(events: &mut Follow, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let event = tokio::time::timeout(PATIENCE, events.next()).await;
        if let EventKind::Text(text) = event.unwrap().unwrap().unwrap().kind {
            texts.push(text);
        }
    }
    texts
}

#[tokio::test]
async fn the_echo_bot_answers_each_message_once() {
    let folder = tempfile::tempdir().unwrap();
    let alice = alice(folder.path()).await;
    let (chat, file, path) = channel(&alice, "echoes", folder.path()).await;
    let bot = Example::start("echo", &[&path, &folder.path().join("bot")]).await;

    let mut events = chat.follow(Position::Now).await.unwrap();
    alice.connect(file.id(), bot.address()).await.unwrap();
    for text in ["one", "two", "three"] {
        chat.send(text).await.unwrap();
    }
    let mut answers = texts(&mut events, 6).await;
    answers.retain(|text| text.starts_with("echo: "));
    assert_eq!(answers, ["echo: one", "echo: two", "echo: three"]);
    alice.stop().await;
    assert!(
        events.next().await.unwrap().is_none(),
        "the node has stopped"
    );
}

#[tokio::test]
async fn the_log_prints_earlier_and_later_messages() {
    let folder = tempfile::tempdir().unwrap();
    let alice = alice(folder.path()).await;
    let (chat, file, path) = channel(&alice, "logged", folder.path()).await;
    chat.send("earlier").await.unwrap();
    let mut log = Example::start("log", &[&path, &folder.path().join("log")]).await;

    alice.connect(file.id(), log.address()).await.unwrap();
    while log.line().await != "alice: earlier" {}
    chat.send("later").await.unwrap();
    while log.line().await != "alice: later" {}
    alice.stop().await;
}

#[tokio::test]
async fn the_bridge_copies_each_message_once() {
    let folder = tempfile::tempdir().unwrap();
    let alice = alice(folder.path()).await;
    let (from, from_file, from_path) = channel(&alice, "from", folder.path()).await;
    let (to, to_file, to_path) = channel(&alice, "to", folder.path()).await;
    let home = folder.path().join("bridge");
    let mut events = to.follow(Position::Now).await.unwrap();
    from.send("one").await.unwrap();
    // The second time it reads all messages again, and copies only the new one.
    for (text, copy) in [
        ("two", vec!["alice: one", "alice: two"]),
        ("three", vec!["alice: three"]),
    ] {
        let bridge = Example::start("bridge", &[&from_path, &to_path, &home]).await;
        for file in [&from_file, &to_file] {
            alice.connect(file.id(), bridge.address()).await.unwrap();
        }
        from.send(text).await.unwrap();
        assert_eq!(texts(&mut events, copy.len()).await, copy);
    }
    alice.stop().await;
}
