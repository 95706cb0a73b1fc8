//! Our DHT node among those of another program: the node, the interface to the other program ([`Swarm`]), and what
//! is expected of the two together, whichever program that is.

#![allow(clippy::print_stdout)]

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bitchat_actors::{
    internals::{
        dht::{Dht, DhtConfig, DhtPeers, Family, Id, Keeper, Profile, Saved, Watch},
        kit::Scope,
    },
    status::Metrics,
};
use futures_util::future::BoxFuture;
use tokio::{net::UdpSocket, sync::mpsc};

use crate::process::{NodeProcess, eventually};

/// Time limit of each wait, generous for a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Limit for three programs with a channel file and a warm DHT to form a full mesh, on a busy machine. The goal is 8 s,
/// and the time that it took is printed.
const BOUND: Duration = Duration::from_secs(24);
/// Settings that limit a test's node to loopback and the DHT.
const DHT_ALONE: &[&str] = &["--bind", "127.0.0.1", "--no-portmap", "--no-lan"];

/// Nodes of another program, each on its own address, that know only each other.
#[allow(async_fn_in_trait)]
pub trait Swarm: Sized {
    /// Starts them. With an `entry`, each knows only that node.
    async fn start(count: usize, entry: Option<SocketAddr>) -> Result<Self>;
    /// Their addresses.
    fn nodes(&self) -> &[String];
    /// The number of nodes that each knows.
    async fn tables(&mut self) -> Result<Vec<usize>>;
    /// Announces one of them; returns the announced address.
    async fn announce(&mut self, hash: Id) -> Result<SocketAddr>;
    /// Looks a hash up from another one, until it finds somebody or [`PATIENCE`] ends.
    async fn get(&mut self, hash: Id) -> Result<Vec<SocketAddr>>;
}

/// State that our node keeps for its next run.
#[derive(Default)]
pub struct Memory(Mutex<Saved>);

impl Keeper for Memory {
    fn load(&self) -> BoxFuture<'_, Saved> {
        Box::pin(async {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone()
        })
    }

    fn save(&self, saved: Saved) -> BoxFuture<'_, ()> {
        Box::pin(async move { *self.0.lock().unwrap_or_else(PoisonError::into_inner) = saved })
    }
}

/// Our DHT actor on its own socket.
pub struct Ours {
    /// The handle to the actor.
    pub dht: Dht,
    /// The address of its socket.
    pub address: SocketAddr,
    sender: mpsc::Sender<DhtPeers>,
    found: mpsc::Receiver<DhtPeers>,
    keeper: Arc<Memory>,
    scope: Scope,
}

impl Ours {
    /// Starts it on a free port of 127.0.0.1.
    pub async fn start(
        bootstrap: &[String],
        profile: Profile,
        keeper: Arc<Memory>,
    ) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        Self::start_on(socket, bootstrap, profile, keeper).await
    }

    /// Starts it on that socket.
    pub async fn start_on(
        socket: UdpSocket,
        bootstrap: &[String],
        profile: Profile,
        keeper: Arc<Memory>,
    ) -> Result<Self> {
        let (scope, _deaths) = Scope::new(Metrics::default());
        // Until the socket is known to be writable, `try_send` fails.
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
        let dht = Dht::start(config, incoming, outgoing, kept, &scope);
        Ok(Self {
            dht,
            address,
            sender,
            found,
            keeper,
            scope,
        })
    }

    /// Announces an infohash and looks up others that do.
    pub async fn watch(&self, hash: Id, port: u16) {
        let found = self.sender.clone();
        self.dht.watch(Watch { hash, port, found }).await;
    }

    /// Waits until it knows that many nodes.
    pub async fn knows(&self, nodes: usize) -> Result<Duration> {
        let begin = Instant::now();
        loop {
            let status = self.dht.status().await.context("a status")?;
            if status.v4.as_ref().context("IPv4")?.table.good >= nodes {
                return Ok(begin.elapsed());
            }
            ensure!(begin.elapsed() < PATIENCE, "{status:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a watched infohash has led to all of these.
    pub async fn finds(&mut self, mut peers: Vec<SocketAddr>) -> Result<()> {
        while !peers.is_empty() {
            let found = tokio::time::timeout(PATIENCE, self.found.recv()).await?;
            let found = found.context("the actor ended")?;
            peers.retain(|peer| !found.peers.contains(peer));
        }
        Ok(())
    }

    /// Looks a hash up repeatedly until that peer is found.
    async fn finds_by_hand(&self, hash: Id, peer: SocketAddr) -> Result<()> {
        let begin = Instant::now();
        loop {
            let result = self.dht.lookup(hash).await;
            if result.peers.contains(&peer) {
                println!("found it after {:?}: {:?}", begin.elapsed(), result.cost);
                return Ok(());
            }
            ensure!(begin.elapsed() < PATIENCE, "{peer} is not found");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Among twenty of their nodes, each program finds what the other announces, three of our nodes meet, and the next run
/// of one starts with the nodes of the last one. `tag` distinguishes the hashes.
pub async fn among_twenty<S: Swarm>(profile: Profile, tag: u8) -> Result<()> {
    let mut swarm = S::start(20, None).await?;
    println!("tables of the swarm: {:?}", swarm.tables().await?);
    let entries = swarm.nodes()[3..6].to_vec();
    let mut first = Ours::start(&entries, profile, Arc::default()).await?;
    println!("knows 8 nodes after {:?}", first.knows(8).await?);

    // They announce, we find.
    let hash = Id([tag; 20]);
    let theirs = swarm.announce(hash).await?;
    first.finds_by_hand(hash, theirs).await?;

    // We announce, they find.
    let hash = Id([tag + 1; 20]);
    let port = first.address.port();
    first.watch(hash, port).await;
    let found = swarm.get(hash).await?;
    println!("they found {found:?}");
    ensure!(found.contains(&first.address), "{found:?}");

    // Three of ours meet.
    let hash = Id([tag + 2; 20]);
    let mut second = Ours::start(&entries, profile, Arc::default()).await?;
    let mut third = Ours::start(&entries, profile, Arc::default()).await?;
    let begin = Instant::now();
    let ports = [&first, &second, &third].map(|node| node.address.port());
    for (node, port) in [&first, &second, &third].into_iter().zip(ports) {
        node.watch(hash, port).await;
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

    // The next run starts with the nodes of this one, without bootstrap nodes.
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

/// Six of their nodes that know only one of ours get to know each other through it, so that one finds what another
/// announces.
pub async fn who_knows_only_us_knows_the_others<S: Swarm>(tag: u8) -> Result<()> {
    let ours = Ours::start(&[], Profile::Transmission, Arc::default()).await?;
    let mut swarm = S::start(6, Some(ours.address)).await?;
    println!("we know 6 nodes {:?} later", ours.knows(6).await?);
    let begin = Instant::now();
    loop {
        let tables = swarm.tables().await?;
        // Our node and some of the five others.
        if tables.iter().all(|nodes| *nodes >= 4) {
            println!("tables after {:?}: {tables:?}", begin.elapsed());
            break;
        }
        ensure!(begin.elapsed() < PATIENCE, "tables stay at {tables:?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let hash = Id([tag; 20]);
    let announced = swarm.announce(hash).await?;
    let found = swarm.get(hash).await?;
    println!("{announced}: {found:?}");
    ensure!(found.contains(&announced), "{found:?}");
    Ok(())
}

/// Three programs with a channel file and no tracker, of which two know only the DHT node that the file names, form a
/// full mesh soon, report what the DHT did, are found by `dht get`, and the next run needs no bootstrap node.
pub async fn three_programs_meet<S: Swarm>() -> Result<()> {
    let swarm = S::start(20, None).await?;
    let dir = tempfile::tempdir()?;
    let home = dir.path().join("a");
    let entered = [DHT_ALONE, &["--dht-bootstrap", &swarm.nodes()[7]]].concat();
    let a = NodeProcess::up(&home, &entered)?;
    let [b, c] = join_and_mesh(&a, &swarm.nodes()[2], dir.path())?;

    // They report the DHT's status.
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
    drop(c);

    // The next run starts with the nodes that the last one kept, and finds the other again.
    let (status, took) = a.stop()?;
    ensure!(status.success(), "{status}");
    println!("stopped in {took:?}");
    let again = NodeProcess::up(&home, DHT_ALONE)?;
    eventually("the next run knows the DHT", PATIENCE, || {
        let shown = again.cli_one(&["dht"])?;
        Ok((shown["nodes"].as_u64() >= Some(8)).then_some(()))
    })?;
    Ok(())
}

/// `a` creates a channel whose file names a DHT node, two others join, and all three are linked soon.
fn join_and_mesh(a: &NodeProcess, node: &str, dir: &Path) -> Result<[NodeProcess; 2]> {
    let file = dir.join("party.chat");
    let file = file.to_str().context("a path")?;
    let create = ["channel", "create", "party", "--out", file];
    a.cli_one(&[&create[..], &["--node", node]].concat())?;
    let b = NodeProcess::up(&dir.join("b"), DHT_ALONE)?;
    let c = NodeProcess::up(&dir.join("c"), DHT_ALONE)?;
    let begin = Instant::now();
    b.cli(&["channel", "join", file])?;
    c.cli(&["channel", "join", file])?;
    eventually("all are linked", PATIENCE, || {
        for node in [a, &b, &c] {
            let info = node.cli_one(&["channel", "info", "party"])?;
            if info["mesh"] != "full" || info["online"] != 3 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let took = begin.elapsed();
    println!("full mesh {took:?} after joining");
    let mut by_dht = 0;
    for node in [a, &b, &c] {
        let members = node.cli(&["members", "party"])?;
        by_dht += members
            .iter()
            .filter(|m| m["path"]["source"] == "dht")
            .count();
    }
    ensure!(by_dht > 0, "nobody was found through the DHT");
    ensure!(took < BOUND, "a full mesh took {took:?}");
    Ok([b, c])
}
