//! What others ask of the DHT, and what it tells them.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex as Guarded},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    Family, Id, Keeper, LookupCost, Profile, TableCounts,
    actor::{DhtActor, Msg, Parts},
    metrics::Gauges,
};
use crate::kit::{Addr, Scope};

/// Commands that wait for the actor, which handles each in microseconds.
const MAILBOX: usize = 256;
/// How long [`Dht::lookup`] waits: a lookup ends by itself after 40 s.
const LOOKUP_TIME: Duration = Duration::from_secs(45);

/// Sends a datagram from the node's UDP socket of the address's family, at once or not at all: the way of all
/// datagrams, so that what does not go out is as good as lost.
pub type Outgoing = Arc<dyn Fn(SocketAddr, &[u8]) + Send + Sync>;

/// How the node works.
#[derive(Clone)]
pub struct DhtConfig {
    /// Which families there are sockets for.
    pub families: Vec<Family>,
    /// Whose node ours looks like.
    pub profile: Profile,
    /// `host:port` of nodes to begin at when neither the last run's nor channel files' nodes answer. Names are
    /// resolved by the system.
    pub bootstrap: Vec<String>,
    /// `host:port` of nodes to begin at when those do not answer either.
    pub routers: Vec<String>,
}

impl DhtConfig {
    /// Both families, Transmission's shape, nobody to begin at but saved nodes and those of channel files.
    pub fn new() -> Self {
        Self {
            families: Family::ALL.to_vec(),
            profile: Profile::default(),
            bootstrap: Vec::new(),
            routers: Vec::new(),
        }
    }
}

impl Default for DhtConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// What to announce and look up under one infohash.
#[derive(Clone)]
pub struct Watch {
    /// The infohash.
    pub hash: Id,
    /// Our external port, which is announced.
    pub port: u16,
    /// Receives the peers that lookups find. When it is full for long, the oldest results are dropped.
    pub found: mpsc::Sender<DhtPeers>,
}

/// Peers found under a watched infohash. Those on local networks were named by nodes that are on one themselves; we
/// ourselves may be among them, and some may be invented.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtPeers {
    /// The infohash.
    pub hash: Id,
    /// The peers, each once per lookup.
    pub peers: Vec<SocketAddr>,
}

/// What one lookup brought.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LookupResult {
    /// Peers, in order of their addresses.
    pub peers: Vec<SocketAddr>,
    /// What it cost, of both families.
    pub cost: LookupCost,
}

/// What went over the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Datagrams received.
    pub packets_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Datagrams received that were dropped: malformed, beyond a limit, or answers to nothing.
    pub dropped: u64,
}

/// The state of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FamilyStatus {
    /// Our id.
    pub id: Id,
    /// Whether it is bound to our address (BEP 42); `None` while that is not known.
    pub id_valid: Option<bool>,
    /// Where others see us; port 0 if they disagree about the port.
    pub external: Option<SocketAddr>,
    /// The routing table.
    pub table: TableCounts,
}

/// What the DHT is doing, as a whole or for one infohash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DhtState {
    /// It just begins.
    Waiting,
    /// Nodes answer.
    Working,
    /// Nobody answers.
    Failing,
}

/// The state of a watched infohash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchStatus {
    /// Which.
    pub hash: Id,
    /// The port that is announced.
    pub port: u16,
    /// When it was announced last.
    pub announced: Option<Instant>,
    /// Nodes that took that announce.
    pub taken: usize,
    /// When nodes answered a lookup last.
    pub answered: Option<Instant>,
    /// Peers that they named.
    pub found: usize,
    /// The last lookup in every family was answered by nobody.
    pub failing: bool,
    /// When it is looked up or announced next.
    pub next: Option<Instant>,
    /// Whether it is looked up now.
    pub looking: bool,
}

/// The state of the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtStatus {
    /// IPv4; `None` without a socket.
    pub v4: Option<FamilyStatus>,
    /// IPv6.
    pub v6: Option<FamilyStatus>,
    /// What went over the wire in this run.
    pub traffic: Traffic,
    /// Questions without an answer yet.
    pub pending: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Infohashes that others announced here.
    pub stored_hashes: usize,
    /// Peers under those.
    pub stored_peers: usize,
    /// What is watched.
    pub watches: Vec<WatchStatus>,
    /// When a node answered last.
    pub answered: Option<Instant>,
    /// Nobody is known: when all nodes to begin at are tried again.
    pub retry: Option<Instant>,
}

impl DhtStatus {
    /// Of IPv4 and IPv6, those that have a socket.
    pub fn families(&self) -> impl Iterator<Item = &FamilyStatus> {
        [&self.v4, &self.v6].into_iter().flatten()
    }

    /// What it is doing as a whole.
    pub fn state(&self) -> DhtState {
        if self.families().any(|family| family.table.good > 0) {
            DhtState::Working
        } else if self.retry.is_some() {
            DhtState::Failing
        } else {
            DhtState::Waiting
        }
    }

    /// What it is doing for a watched infohash.
    pub fn state_of(&self, watch: &WatchStatus) -> DhtState {
        match self.state() {
            DhtState::Working if watch.failing => DhtState::Failing,
            DhtState::Working if watch.answered.is_none() => DhtState::Waiting,
            state => state,
        }
    }
}

/// The public routers that this program knows, `host:port` each.
pub fn public_routers() -> Vec<String> {
    let lines = include_str!("routers.txt").lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// A handle to the DHT actor. Cheap to clone.
#[derive(Clone)]
pub struct Dht {
    addr: Addr<Msg>,
}

impl Dht {
    /// Starts the actor in `scope`. `incoming`: datagrams that look like KRPC, with their senders.
    pub fn start(
        config: DhtConfig,
        incoming: mpsc::Receiver<(SocketAddr, Bytes)>,
        outgoing: Outgoing,
        keeper: Arc<dyn Keeper>,
        scope: &Scope,
    ) -> Self {
        let parts = Parts {
            config,
            incoming: Arc::new(Mutex::new(incoming)),
            outgoing,
            keeper,
            wanted: Arc::new(Guarded::new(BTreeMap::new())),
            named: Arc::new(Guarded::new(Vec::new())),
            gauges: Gauges::register(scope.metrics()),
        };
        let factory = move || DhtActor::new(parts.clone());
        let addr = scope.permanent("dht", MAILBOX, tracing::info_span!("dht"), factory);
        Self { addr }
    }

    /// Announces an infohash from now on, and looks for others who do. At most 1,024.
    pub async fn watch(&self, watch: Watch) {
        // Nobody is left to find when the actor has stopped: here and below nothing is lost.
        let _ = self.addr.send(Msg::Watch(watch)).await;
    }

    /// No longer. Others forget us within half an hour.
    pub async fn unwatch(&self, hash: Id) {
        let _ = self.addr.send(Msg::Unwatch(hash)).await;
    }

    /// Looks a watched infohash up again, at most each 10 s.
    pub async fn find(&self, hash: Id) {
        let _ = self.addr.send(Msg::Find(hash)).await;
    }

    /// Names nodes to begin at, `host:port` each (the `nodes` of a channel file). At most 64 are remembered.
    pub async fn add_nodes(&self, nodes: Vec<String>) {
        let _ = self.addr.send(Msg::Nodes(nodes)).await;
    }

    /// Announces another port from the next announce on, which comes within 10 s.
    pub async fn set_port(&self, port: u16) {
        let _ = self.addr.send(Msg::SetPort(port)).await;
    }

    /// Looks an infohash up once, without announcing. Takes up to 40 s; nothing if the actor has stopped.
    pub async fn lookup(&self, hash: Id) -> LookupResult {
        let (reply, answer) = oneshot::channel();
        if self.addr.send(Msg::Lookup(hash, reply)).await.is_err() {
            return LookupResult::default();
        }
        match tokio::time::timeout(LOOKUP_TIME, answer).await {
            Ok(Ok(result)) => result,
            _ => LookupResult::default(),
        }
    }

    /// How it stands; `None` when the actor has stopped.
    pub async fn status(&self) -> Option<DhtStatus> {
        self.addr.ask(Msg::Status).await.ok()
    }
}
