//! Our DHT node among those of another program: what a test needs to run it, what that program is asked to do
//! ([`Swarm`]), and what is expected of the two together, whoever the other is.

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

/// Nothing takes so long unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How soon three programs with nothing but a channel file and a warm DHT have a full mesh: what is wanted is 8 s, and
/// printed is what it took. A machine that has much else to do gets this much.
const BOUND: Duration = Duration::from_secs(24);
/// Settings that keep a node of a test to loopback and the DHT.
const DHT_ALONE: &[&str] = &["--bind", "127.0.0.1", "--no-portmap", "--no-lan"];

/// Nodes of another program, each on an address of its own, that know nobody but each other.
#[allow(async_fn_in_trait)]
pub trait Swarm: Sized {
    /// Starts them. With an `entry`, that is all each of them knows.
    async fn start(count: usize, entry: Option<SocketAddr>) -> Result<Self>;
    /// Where they are.
    fn nodes(&self) -> &[String];
    /// How many nodes each knows.
    async fn tables(&mut self) -> Result<Vec<usize>>;
    /// One of them announces itself. Returns as what.
    async fn announce(&mut self, hash: Id) -> Result<SocketAddr>;
    /// Another one looks a hash up, until it finds somebody or patience ends.
    async fn get(&mut self, hash: Id) -> Result<Vec<SocketAddr>>;
}

/// What a node of ours keeps for its next run.
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

/// Our DHT actor on a socket of its own.
pub struct Ours {
    /// Its handle.
    pub dht: Dht,
    /// Where it is.
    pub address: SocketAddr,
    sender: mpsc::Sender<DhtPeers>,
    found: mpsc::Receiver<DhtPeers>,
    keeper: Arc<Memory>,
    scope: Scope,
}

impl Ours {
    /// On a port of 127.0.0.1.
    pub async fn start(
        bootstrap: &[String],
        profile: Profile,
        keeper: Arc<Memory>,
    ) -> Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        Self::start_on(socket, bootstrap, profile, keeper).await
    }

    /// On that socket.
    pub async fn start_on(
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

    /// Announces an infohash and looks for others who do.
    pub async fn watch(&self, hash: Id, port: u16) {
        let found = self.sender.clone();
        self.dht.watch(Watch { hash, port, found }).await;
    }

    /// Waits until it knows so many nodes.
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

    /// Waits until a watched infohash led to all of these.
    pub async fn finds(&mut self, mut peers: Vec<SocketAddr>) -> Result<()> {
        while !peers.is_empty() {
            let found = tokio::time::timeout(PATIENCE, self.found.recv()).await?;
            let found = found.context("the actor ended")?;
            peers.retain(|peer| !found.peers.contains(peer));
        }
        Ok(())
    }

    /// Looks a hash up by hand until it leads to that peer.
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

/// Among twenty of theirs each finds what the other announces, three of ours meet, and the next run of one begins
/// where the last one ended. `tag` makes the hashes.
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

/// Six of theirs that know a node of ours and nobody else get to know each other through it, so well that one finds
/// what another announces.
pub async fn who_knows_only_us_knows_the_others<S: Swarm>(tag: u8) -> Result<()> {
    let ours = Ours::start(&[], Profile::Transmission, Arc::default()).await?;
    let mut swarm = S::start(6, Some(ours.address)).await?;
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
    let hash = Id([tag; 20]);
    let announced = swarm.announce(hash).await?;
    let found = swarm.get(hash).await?;
    println!("{announced}: {found:?}");
    ensure!(found.contains(&announced), "{found:?}");
    Ok(())
}

/// Three programs with a channel file and no tracker, of which two know nothing of the DHT but what the file names,
/// have a full mesh soon, say what the DHT did, find each other by `dht get`, and the next run needs nobody to begin at.
pub async fn three_programs_meet<S: Swarm>() -> Result<()> {
    let swarm = S::start(20, None).await?;
    let dir = tempfile::tempdir()?;
    let home = dir.path().join("a");
    let entered = [DHT_ALONE, &["--dht-bootstrap", &swarm.nodes()[7]]].concat();
    let a = NodeProcess::up(&home, &entered)?;
    let [b, c] = join_and_mesh(&a, &swarm.nodes()[2], dir.path())?;

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
    drop(c);

    // The next run enters by the nodes that the last one kept, and finds the other again.
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

/// `a` makes a channel whose file names a DHT node, two others join, and all three are linked soon.
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
    ensure!(by_dht > 0, "nobody was found by the DHT");
    ensure!(took < BOUND, "a full mesh took {took:?}");
    Ok([b, c])
}
