//! The handle to the DHT, and the types of its mailbox.

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
    actor::{Context, DhtActor, Msg},
    metrics::Gauges,
};
use crate::kit::{Addr, Scope};

/// Commands queued for the actor, which handles each in microseconds.
const MAILBOX: usize = 256;
/// How long [`Dht::lookup`] waits: a lookup ends on its own after 40 s.
const LOOKUP_TIME: Duration = Duration::from_secs(45);

/// Sends a datagram from the node's UDP socket of the address's family, or drops it: a datagram that is not sent is as
/// good as lost.
pub type Outgoing = Arc<dyn Fn(SocketAddr, &[u8]) + Send + Sync>;

/// The configuration of the node.
#[derive(Clone)]
pub struct DhtConfig {
    /// The families for which there are sockets.
    pub families: Vec<Family>,
    /// The client that our node looks like.
    pub profile: Profile,
    /// `host:port` of nodes to begin with if neither the last run's nor channel files' nodes answer. Names are resolved
    /// by the system.
    pub bootstrap: Vec<String>,
    /// `host:port` of nodes to begin with if those do not answer either.
    pub routers: Vec<String>,
}

impl DhtConfig {
    /// Both families, the profile of Transmission, and no nodes to begin with but saved ones and those of channel
    /// files.
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

/// An infohash to announce and to look up.
#[derive(Clone)]
pub struct Watch {
    /// The infohash.
    pub hash: Id,
    /// Our external port, which is announced.
    pub port: u16,
    /// Receives the peers that lookups find. If it stays full, the oldest results are dropped.
    pub found: mpsc::Sender<DhtPeers>,
}

/// Peers found under a watched infohash. Those on local networks were named by nodes that are on one themselves; we
/// ourselves may be among them, and some may be forged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtPeers {
    /// The infohash.
    pub hash: Id,
    /// The peers, each once per lookup.
    pub peers: Vec<SocketAddr>,
}

/// The result of one lookup.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LookupResult {
    /// Peers, sorted by address.
    pub peers: Vec<SocketAddr>,
    /// The cost, in both families.
    pub cost: LookupCost,
}

/// Counters of datagrams in this run.
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
    /// Received datagrams that were dropped: malformed, beyond a limit, or answers to nothing.
    pub dropped: u64,
}

/// The status of one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FamilyStatus {
    /// Our id.
    pub id: Id,
    /// Whether it is bound to our address (BEP 42); `None` while our address is unknown.
    pub id_valid: Option<bool>,
    /// The address at which others see us; port 0 if they disagree about the port.
    pub external: Option<SocketAddr>,
    /// The fill level of the routing table.
    pub table: TableCounts,
}

/// The state of the DHT, as a whole or for one infohash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum DhtState {
    /// It has just started.
    Waiting,
    /// Nodes answer.
    Working,
    /// No node answers.
    Failing,
}

/// The status of a watched infohash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchStatus {
    /// The infohash.
    pub hash: Id,
    /// The port that is announced.
    pub port: u16,
    /// When it was last announced.
    pub announced: Option<Instant>,
    /// Nodes that accepted that announce.
    pub taken: usize,
    /// When nodes last answered a lookup of it.
    pub answered: Option<Instant>,
    /// Peers that they named.
    pub found: usize,
    /// Whether the last lookup in every family was answered by no node.
    pub failing: bool,
    /// When the next lookup or announce is due.
    pub next: Option<Instant>,
    /// Whether a lookup is under way.
    pub looking: bool,
}

/// The status of the node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DhtStatus {
    /// IPv4; `None` without a socket.
    pub v4: Option<FamilyStatus>,
    /// IPv6; `None` without a socket.
    pub v6: Option<FamilyStatus>,
    /// Counters of datagrams in this run.
    pub traffic: Traffic,
    /// Queries without an answer yet.
    pub pending: usize,
    /// Lookups under way.
    pub lookups: usize,
    /// Infohashes that others announced here.
    pub stored_hashes: usize,
    /// Peers under those infohashes.
    pub stored_peers: usize,
    /// The watched infohashes.
    pub watches: Vec<WatchStatus>,
    /// When a node last answered.
    pub answered: Option<Instant>,
    /// When all nodes to begin with are tried again; `None` unless no node is known.
    pub retry: Option<Instant>,
}

impl DhtStatus {
    /// The families, of IPv4 and IPv6, that have a socket.
    pub fn families(&self) -> impl Iterator<Item = &FamilyStatus> {
        [&self.v4, &self.v6].into_iter().flatten()
    }

    /// The state as a whole.
    pub fn state(&self) -> DhtState {
        if self.families().any(|family| family.table.good > 0) {
            DhtState::Working
        } else if self.retry.is_some() {
            DhtState::Failing
        } else {
            DhtState::Waiting
        }
    }

    /// The state for a watched infohash.
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
        let context = Context {
            config,
            incoming: Arc::new(Mutex::new(incoming)),
            outgoing,
            keeper,
            wanted: Arc::new(Guarded::new(BTreeMap::new())),
            named: Arc::new(Guarded::new(Vec::new())),
            gauges: Gauges::register(scope.metrics()),
        };
        let factory = move || DhtActor::new(context.clone());
        let addr = scope.permanent("dht", MAILBOX, tracing::info_span!("dht"), factory);
        Self { addr }
    }

    /// Starts to announce an infohash, and to look for others who announce it. At most 1,024 at a time.
    pub async fn watch(&self, watch: Watch) {
        // Once the actor has stopped, nothing is looked for any more, so that here and below nothing is lost.
        let _ = self.addr.send(Msg::Watch(watch)).await;
    }

    /// Stops announcing an infohash. Other nodes forget us within half an hour.
    pub async fn unwatch(&self, hash: Id) {
        let _ = self.addr.send(Msg::Unwatch(hash)).await;
    }

    /// Looks a watched infohash up again, at most every 10 s.
    pub async fn find(&self, hash: Id) {
        let _ = self.addr.send(Msg::Find(hash)).await;
    }

    /// Adds nodes to begin with, `host:port` each (the `nodes` of a channel file). At most 64 are remembered.
    pub async fn add_nodes(&self, nodes: Vec<String>) {
        let _ = self.addr.send(Msg::Nodes(nodes)).await;
    }

    /// Announces another port from the next announce on, which is due within 10 s.
    pub async fn set_port(&self, port: u16) {
        let _ = self.addr.send(Msg::SetPort(port)).await;
    }

    /// Looks an infohash up once, without announcing it. Takes up to 40 s; the result is empty if the actor has
    /// stopped.
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

    /// The status of the node; `None` if the actor has stopped.
    pub async fn status(&self) -> Option<DhtStatus> {
        self.addr.ask(Msg::Status).await.ok()
    }
}
