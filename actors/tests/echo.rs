//! The example bot, as a process of its own, answers.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use bitchat_actors::{
    chat::{EventKind, Position},
    node::{ChannelRequest, Node},
    wire::{
        channel::{Policy, Rotation},
        identity::IdentityKey,
    },
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Bot(Child);

impl Drop for Bot {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The bot's program. `cargo test` builds a crate's examples, `cargo test --test echo` does not.
fn example() -> PathBuf {
    // target/PROFILE/deps/TEST-0123456789abcdef
    let test = std::env::current_exe().unwrap();
    let profile = test.ancestors().nth(2).unwrap();
    let example = profile.join("examples/echo");
    if !example.is_file() {
        let name = profile.file_name().unwrap().to_str().unwrap();
        let built = Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--quiet", "--example", "echo", "--profile"])
            .arg(if name == "debug" { "dev" } else { name })
            .arg("--target-dir")
            .arg(profile.parent().unwrap())
            .status();
        assert!(built.unwrap().success());
    }
    example
}

#[tokio::test]
async fn the_echo_bot_answers_each_word_once() {
    let folder = tempfile::tempdir().unwrap();
    let identity = IdentityKey::from_seed(&[1; 32]);
    let alice = Node::builder(folder.path().join("alice.db"), identity)
        .bind([IpAddr::V4(Ipv4Addr::LOCALHOST)])
        .start()
        .await
        .unwrap();
    let request = ChannelRequest {
        name: "echoes".into(),
        policy: Policy::Open,
        rotation: Rotation::Daily,
        trackers: Vec::new(),
        nodes: Vec::new(),
        relays: Vec::new(),
    };
    let file = alice.create_channel(request).await.unwrap();
    let path = folder.path().join("echoes.chat");
    std::fs::write(&path, file.to_bytes()).unwrap();

    let mut bot = Command::new(example())
        .arg(&path)
        .arg(folder.path().join("bot"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(bot.stdout.take().unwrap());
    let _bot = Bot(bot);
    let begun = tokio::task::spawn_blocking(move || out.lines().next());
    let line = tokio::time::timeout(PATIENCE, begun).await.unwrap();
    let line = line.unwrap().unwrap().unwrap();
    let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();

    let chat = alice.chat(file.id()).unwrap();
    let mut talk = chat.follow(Position::Now).await.unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    alice.connect(file.id(), address).await.unwrap();
    let words = ["one", "two", "three"];
    for word in words {
        chat.send(word).await.unwrap();
    }
    let mut heard = Vec::new();
    while heard.len() < 2 * words.len() {
        let event = tokio::time::timeout(PATIENCE, talk.next()).await;
        if let EventKind::Text(text) = event.unwrap().unwrap().unwrap().kind {
            heard.push(text);
        }
    }
    heard.retain(|text| text.starts_with("echo: "));
    assert_eq!(heard, ["echo: one", "echo: two", "echo: three"]);
    alice.stop().await;
    assert!(talk.next().await.unwrap().is_none(), "the node has stopped");
}
