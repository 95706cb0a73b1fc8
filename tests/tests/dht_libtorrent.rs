//! Our DHT node among those of libtorrent (Debian package `python3-libtorrent`): each finds what the other announces,
//! nodes that know only us find each other, our own nodes meet without any other help, and so do three
//! programs that share only a channel file.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bitchat_actors::internals::dht::{Id, Profile};
use bitchat_tests::{
    dht::{
        Ours, PATIENCE, Swarm, among_twenty, three_programs_meet,
        who_knows_only_us_knows_the_others,
    },
    skip::{has_ipv6, skip},
};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::UdpSocket,
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Debian's Python, which finds Debian's libtorrent.
const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/partners/dht_swarm.py");
/// Time limit of a lookup by libtorrent.
const LOOKUP: Duration = Duration::from_secs(40);

/// Whether the partner is installed; otherwise the test is skipped.
fn partner() -> bool {
    let import = std::process::Command::new(PYTHON)
        .args(["-c", "import libtorrent"])
        .stderr(Stdio::null())
        .status();
    let there = import.is_ok_and(|status| status.success());
    if !there {
        skip(format_args!(
            "{PYTHON} has no libtorrent (apt-get install python3-libtorrent)"
        ));
    }
    there
}

/// libtorrent's nodes, in a process of their own.
struct Libtorrent {
    _child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    nodes: Vec<String>,
}

impl Libtorrent {
    async fn answer(&mut self) -> Result<Value> {
        let line = tokio::time::timeout(PATIENCE, self.answers.next_line()).await??;
        Ok(serde_json::from_str(&line.context("the swarm ended")?)?)
    }

    async fn tell(&mut self, command: &str) -> Result<Value> {
        self.commands
            .write_all(format!("{command}\n").as_bytes())
            .await?;
        self.answer().await
    }
}

impl Swarm for Libtorrent {
    async fn start(count: usize, entry: Option<SocketAddr>) -> Result<Self> {
        let mut child = Command::new(PYTHON)
            .arg(SCRIPT)
            .arg(count.to_string())
            .args(entry.map(|entry| entry.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let commands = child.stdin.take().context("stdin")?;
        let answers = BufReader::new(child.stdout.take().context("stdout")?).lines();
        let mut swarm = Self {
            _child: child,
            commands,
            answers,
            nodes: Vec::new(),
        };
        let ready = swarm.answer().await?;
        let nodes = ready["nodes"].as_array().context("nodes")?;
        swarm.nodes = nodes
            .iter()
            .map(|node| format!("{}:{}", node[0].as_str().unwrap(), node[1]))
            .collect();
        Ok(swarm)
    }

    fn nodes(&self) -> &[String] {
        &self.nodes
    }

    async fn tables(&mut self) -> Result<Vec<usize>> {
        let answer = self.tell("tables").await?;
        Ok(serde_json::from_value(answer["tables"].clone())?)
    }

    async fn announce(&mut self, hash: Id) -> Result<SocketAddr> {
        let announced = self.tell(&format!("announce {hash}")).await?;
        Ok(announced["announced"].as_str().unwrap().parse()?)
    }

    async fn get(&mut self, hash: Id) -> Result<Vec<SocketAddr>> {
        let found = self
            .tell(&format!("get {hash} {}", LOOKUP.as_secs()))
            .await?;
        Ok(serde_json::from_value(found["found"].clone())?)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_twenty_of_libtorrent_as_transmission() -> Result<()> {
    if !partner() {
        return Ok(());
    }
    among_twenty::<Libtorrent>(Profile::Transmission, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_twenty_of_libtorrent_as_libtorrent() -> Result<()> {
    if !partner() {
        return Ok(());
    }
    among_twenty::<Libtorrent>(Profile::Libtorrent, 11).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_know_only_us_find_each_other() -> Result<()> {
    if !partner() {
        return Ok(());
    }
    who_knows_only_us_knows_the_others::<Libtorrent>(21).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_programs_with_a_trackerless_file_meet() -> Result<()> {
    if !partner() {
        return Ok(());
    }
    three_programs_meet::<Libtorrent>().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_alone_meet_over_ipv6() -> Result<()> {
    if !has_ipv6() {
        return Ok(());
    }
    let mut nodes = Vec::new();
    let mut entries = Vec::new();
    for _ in 0..3 {
        let socket = UdpSocket::bind("[::1]:0").await?;
        let node = Ours::start_on(socket, &entries, Profile::Libtorrent, Arc::default()).await?;
        if entries.is_empty() {
            entries.push(node.address.to_string());
        }
        nodes.push(node);
    }
    let hash = Id([31; 20]);
    let all: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    for node in &nodes {
        node.watch(hash, node.address.port()).await;
    }
    let begin = Instant::now();
    for node in &mut nodes {
        let mut others = all.clone();
        others.retain(|other| *other != node.address);
        node.finds(others).await?;
    }
    println!("found each other after {:?}", begin.elapsed());
    let status = nodes[0].dht.status().await.context("a status")?;
    ensure!(status.v4.is_none() && status.v6.is_some(), "{status:?}");
    Ok(())
}
