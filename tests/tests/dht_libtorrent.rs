//! Our DHT node among libtorrent's (Debian package `python3-libtorrent`): each finds what the other announces,
//! nodes that know only us get to know each other, our own nodes meet without anything else, and so do three
//! programs that share nothing but a channel file.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bitchat_actors::{
    dht::{Dht, DhtConfig, Family, Found, Id, Keeper, Profile, Saved},
    kit::{Metrics, Scope},
};
use bitchat_tests::process::{NodeProcess, eventually};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    net::UdpSocket,
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};

/// Debian's, which has Debian's libtorrent.
const PYTHON: &str = "/usr/bin/python3";
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/partners/dht_swarm.py");
/// Nothing takes so long unless it never comes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the partner is there; says why not.
fn partner() -> bool {
    let import = std::process::Command::new(PYTHON)
        .args(["-c", "import libtorrent"])
        .stderr(Stdio::null())
        .status();
    let there = import.is_ok_and(|status| status.success());
    if !there {
        println!("skipped: {PYTHON} has no libtorrent (apt-get install python3-libtorrent)");
    }
    there
}

struct Swarm {
    _child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    nodes: Vec<String>,
}

impl Swarm {
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

    async fn tables(&mut self) -> Result<Vec<u64>> {
        let answer = self.tell("tables").await?;
        let tables = answer["tables"].as_array().context("tables")?;
        Ok(tables.iter().filter_map(Value::as_u64).collect())
    }
}

#[derive(Default)]
struct Memory(Mutex<Saved>);

impl Keeper for Memory {
    fn load(&self) -> futures_util::future::BoxFuture<'_, Saved> {
        Box::pin(async { self.0.lock().unwrap().clone() })
    }

    fn save(&self, saved: Saved) -> futures_util::future::BoxFuture<'_, ()> {
        Box::pin(async move { *self.0.lock().unwrap() = saved })
    }
}

struct Ours {
    dht: Dht,
    address: SocketAddr,
    found: mpsc::Receiver<Found>,
    keeper: Arc<Memory>,
    scope: Scope,
}

impl Ours {
    async fn start(bootstrap: &[String], profile: Profile, keeper: Arc<Memory>) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        Self::start_on(socket, bootstrap, profile, keeper).await
    }

    async fn start_on(
        socket: UdpSocket,
        bootstrap: &[String],
        profile: Profile,
        keeper: Arc<Memory>,
    ) -> Result<Self> {
        let (scope, _deaths) = Scope::new(Metrics::default());
        // Before it is known to be writable, nothing goes out at once.
        socket.writable().await?;
        let socket = Arc::new(socket);
        let address = socket.local_addr()?;
        let (packets, incoming) = mpsc::channel(256);
        let (sender, found) = mpsc::channel(256);
        let reader = Arc::clone(&socket);
        scope.transient(tracing::Span::none(), async move {
            let mut buffer = [0; 2_048];
            while let Ok((len, from)) = reader.recv_from(&mut buffer).await {
                let _ = packets.try_send((from, bytes::Bytes::copy_from_slice(&buffer[..len])));
            }
        });
        let config = DhtConfig {
            families: vec![Family::of(address)],
            profile,
            bootstrap: bootstrap.to_vec(),
            routers: Vec::new(),
        };
        let outgoing = Arc::new(move |to: SocketAddr, packet: &[u8]| {
            let _ = socket.try_send_to(packet, to);
        });
        let kept: Arc<dyn Keeper> = keeper.clone();
        let dht = Dht::start(config, incoming, outgoing, kept, &scope, sender);
        Ok(Self {
            dht,
            address,
            found,
            keeper,
            scope,
        })
    }

    async fn good_nodes(&self) -> usize {
        let status = self.dht.status().await.unwrap();
        status.v4.unwrap().table.good
    }

    /// Waits until it knows so many nodes.
    async fn knows(&self, nodes: usize) -> Result<Duration> {
        let begin = Instant::now();
        while self.good_nodes().await < nodes {
            ensure!(begin.elapsed() < PATIENCE, "{:?}", self.dht.status().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(begin.elapsed())
    }

    /// Waits until a watched infohash led to all of these.
    async fn finds(&mut self, mut peers: Vec<SocketAddr>) -> Result<()> {
        while !peers.is_empty() {
            let found = tokio::time::timeout(PATIENCE, self.found.recv()).await?;
            let found = found.context("the actor ended")?;
            peers.retain(|peer| !found.peers.contains(peer));
        }
        Ok(())
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

async fn among_twenty(profile: Profile, tag: u8) -> Result<()> {
    let mut swarm = Swarm::start(20, None).await?;
    println!("tables of the swarm: {:?}", swarm.tables().await?);
    let entries = swarm.nodes[3..6].to_vec();
    let mut first = Ours::start(&entries, profile, Arc::default()).await?;
    println!("knows 8 nodes after {:?}", first.knows(8).await?);

    // libtorrent announces, we find.
    let hash = Id([tag; 20]);
    let announced = swarm.tell(&format!("announce {hash}")).await?;
    let theirs: SocketAddr = announced["announced"].as_str().unwrap().parse()?;
    let begin = Instant::now();
    loop {
        let result = first.dht.lookup(hash).await;
        if result.peers.contains(&theirs) {
            println!(
                "found libtorrent's announce after {:?}: {:?}",
                begin.elapsed(),
                result.cost
            );
            break;
        }
        ensure!(
            begin.elapsed() < PATIENCE,
            "libtorrent's announce is not found"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }

    // We announce, libtorrent finds. (Its profile announces the port it sends from.)
    let hash = Id([tag + 1; 20]);
    let port = first.address.port();
    first.dht.watch(hash, port).await;
    let found = swarm.tell(&format!("get {hash} 30")).await?;
    println!("libtorrent found ours: {found}");
    let peers = found["found"].as_array().unwrap();
    ensure!(
        peers.contains(&Value::from(first.address.to_string())),
        "{found}"
    );

    // Three of ours meet.
    let hash = Id([tag + 2; 20]);
    let mut second = Ours::start(&entries, profile, Arc::default()).await?;
    let mut third = Ours::start(&entries, profile, Arc::default()).await?;
    let begin = Instant::now();
    let ports = [&first, &second, &third].map(|node| node.address.port());
    for (node, port) in [&first, &second, &third].into_iter().zip(ports) {
        node.dht.watch(hash, port).await;
    }
    for (node, others) in [
        (&mut first, [ports[1], ports[2]]),
        (&mut second, [ports[0], ports[2]]),
        (&mut third, [ports[0], ports[1]]),
    ] {
        node.finds(others.map(at).to_vec()).await?;
    }
    println!("three of ours found each other after {:?}", begin.elapsed());
    println!("{:?}", first.dht.status().await);

    // The next run begins where this one ended, with nobody to tell it where.
    ensure!(
        first.scope.stop(Duration::from_secs(5)).await,
        "it does not stop"
    );
    let again = Ours::start(&[], profile, first.keeper).await?;
    println!(
        "the next run knows 8 nodes after {:?}",
        again.knows(8).await?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_twenty_of_libtorrent_as_transmission() -> Result<()> {
    if !partner() {
        return Ok(());
    }
    among_twenty(Profile::Transmission, 1).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn among_twenty_of_libtorrent_as_libtorrent() -> Result<()> {
    if !partner() {
        return Ok(());
    }
    among_twenty(Profile::Libtorrent, 11).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_know_only_us_get_to_know_each_other() -> Result<()> {
    if !partner() {
        return Ok(());
    }
    let ours = Ours::start(&[], Profile::Transmission, Arc::default()).await?;
    let mut swarm = Swarm::start(6, Some(ours.address)).await?;
    println!("we know 6 nodes {:?} later", ours.knows(6).await?);
    let begin = Instant::now();
    loop {
        let tables = swarm.tables().await?;
        // Us and some of the five others.
        if tables.iter().all(|nodes| *nodes >= 4) {
            println!("tables after {:?}: {tables:?}", begin.elapsed());
            break;
        }
        ensure!(begin.elapsed() < PATIENCE, "tables stay at {tables:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let hash = Id([21; 20]);
    let announced = swarm.tell(&format!("announce {hash}")).await?;
    let found = swarm.tell(&format!("get {hash} 40")).await?;
    println!("{announced} {found}");
    let peers = found["found"].as_array().unwrap();
    ensure!(peers.contains(&announced["announced"]), "{found}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ours_alone_meet_over_ipv6() -> Result<()> {
    let mut nodes = Vec::new();
    let mut entries = Vec::new();
    for _ in 0..3 {
        let Ok(socket) = UdpSocket::bind("[::1]:0").await else {
            println!("skipped: there is no IPv6 here");
            return Ok(());
        };
        let node = Ours::start_on(socket, &entries, Profile::Libtorrent, Arc::default()).await?;
        if entries.is_empty() {
            entries.push(node.address.to_string());
        }
        nodes.push(node);
    }
    let hash = Id([31; 20]);
    let all: Vec<SocketAddr> = nodes.iter().map(|node| node.address).collect();
    for node in &nodes {
        node.dht.watch(hash, node.address.port()).await;
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

/// Settings that keep a node of this test to loopback and the DHT.
const DHT_ALONE: &[&str] = &["--bind", "127.0.0.1", "--no-portmap", "--no-lan"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_programs_with_a_trackerless_file_meet() -> Result<()> {
    if !partner() {
        return Ok(());
    }
    let swarm = Swarm::start(20, None).await?;
    let dir = tempfile::tempdir()?;
    let (home_a, home_b) = (dir.path().join("a"), dir.path().join("b"));
    let file = dir.path().join("party.chat");
    let file = file.to_str().context("a path")?;
    let entered = [DHT_ALONE, &["--dht-bootstrap", &swarm.nodes[7]]].concat();
    let a = NodeProcess::up(&home_a, &entered)?;
    let create = ["channel", "create", "party", "--out", file];
    a.cli_one(&[&create[..], &["--node", &swarm.nodes[2]]].concat())?;

    // The others enter the DHT by what the file names.
    let b = NodeProcess::up(&home_b, DHT_ALONE)?;
    let c = NodeProcess::up(&dir.path().join("c"), DHT_ALONE)?;
    let begin = Instant::now();
    b.cli(&["channel", "join", file])?;
    c.cli(&["channel", "join", file])?;
    eventually("all are linked", PATIENCE, || {
        for node in [&a, &b, &c] {
            let info = node.cli_one(&["channel", "info", "party"])?;
            if info["mesh"] != "full" || info["online"] != 3 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    println!("full mesh {:?} after joining", begin.elapsed());
    let mut by_dht = 0;
    for node in [&a, &b, &c] {
        let members = node.cli(&["members", "party"])?;
        by_dht += members
            .iter()
            .filter(|m| m["path"]["source"] == "dht")
            .count();
    }
    ensure!(by_dht > 0, "nobody was found by the DHT");

    // They say how the DHT does.
    let info = eventually("the DHT works for the channel", PATIENCE, || {
        let info = b.cli_one(&["channel", "info", "party"])?;
        Ok((info["dht"]["state"] == "working").then_some(info))
    })?;
    ensure!(info["dht"]["announced_to"].as_u64() > Some(0), "{info}");
    ensure!(info["dht"]["last_success_s"].is_u64(), "{info}");
    ensure!(info["trackers"] == serde_json::json!([]), "{info}");
    let status = a.cli_one(&["status"])?;
    ensure!(status["dht"]["state"] == "working", "{status}");
    let shown = a.cli_one(&["dht"])?;
    ensure!(shown["families"][0]["good"].as_u64() >= Some(8), "{shown}");
    ensure!(shown["traffic"]["packets_in"].as_u64() > Some(0), "{shown}");
    let hash = info["rendezvous"][0].as_str().context("a hash")?;
    let peers = eventually("a lookup by hand finds both", PATIENCE, || {
        let found = a.cli_one(&["dht", "get", hash])?;
        let both = found["peers"].as_array().is_some_and(|p| p.len() >= 2);
        Ok(both.then_some(found))
    })?;
    println!("{peers}");
    ensure!(a.try_cli(&["dht", "get", "xyz"])?.error_code()? == "bad_request");

    // The next run enters by the nodes that the last one kept, and finds the other again.
    let (status, took) = a.stop()?;
    ensure!(status.success(), "{status}");
    println!("stopped in {took:?}");
    let again = NodeProcess::up(&home_a, DHT_ALONE)?;
    eventually("the next run knows the DHT", PATIENCE, || {
        let shown = again.cli_one(&["dht"])?;
        Ok((shown["nodes"].as_u64() >= Some(8)).then_some(()))
    })?;
    Ok(())
}
