//! What others ask of discovery, and what it tells them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    identity::IdentityId,
};
use libp2p_identity::PeerId;
use tokio::sync::{Mutex, mpsc};

use super::actor::{DiscoveryActor, Msg, Parts};
pub use super::sources::{SourceKind, SourceState, SourceStatus};
use crate::{
    dht::{self, Dht, DhtState, DhtStatus, WatchStatus},
    kit::{Addr, Scope},
    lan::Lan,
    relay::{self, Relays},
    store::Store,
    tracker::{TrackerStatus, Trackers},
    transport::{Connection, Relay, Target, Transport},
};

/// Commands that wait for the actor, which handles each in well under a millisecond.
const MAILBOX: usize = 256;
/// Peers that each source has found and that wait for the actor: an answer of a tracker or node of the DHT each, or a
/// peer in the local network.
const FOUND: usize = 64;

/// Where an address came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Provenance {
    /// The peer cache of an earlier run.
    Cache,
    /// A tracker, by its URL.
    Tracker(String),
    /// The mainline DHT.
    Dht,
    /// A relay at which the channel's members meet.
    Relay,
    /// The local network.
    Lan,
    /// A member, inside a link.
    Pex,
    /// The user.
    Hand,
    /// The peer connected to us.
    Incoming,
}

/// A channel that wants members.
#[derive(Clone)]
pub struct Wanted {
    /// Which.
    pub cid: ChannelId,
    /// Its present epoch's keys.
    pub keys: EpochKeys,
    /// Its trackers.
    pub tiers: Vec<Vec<String>>,
    /// Nodes of the DHT that its file names.
    pub nodes: Vec<(String, u16)>,
    /// Relays that its file names.
    pub relays: Vec<Relay>,
    /// Trackers are not asked earlier.
    pub not_before: Instant,
}

/// Somebody to talk to: a connection is up, and may lead to a member of that channel.
pub struct Reached {
    /// For which channel.
    pub cid: ChannelId,
    /// The connection.
    pub connection: Connection,
    /// At which address.
    pub address: Target,
    /// Which source found it.
    pub source: Provenance,
    /// From the first word of the address, or the loss of the link there, to the connection.
    pub took: Duration,
}

/// How a member was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBy {
    /// Which source named the address.
    pub source: Provenance,
    /// From the first word of it, or the loss of the link there, to the connection.
    pub took: Duration,
}

/// What became of a [`Reached`], or of an incoming link.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A member is linked.
    Linked {
        /// Who.
        identity: IdentityId,
        /// Its PeerId.
        peer: PeerId,
        /// Its address.
        address: Target,
        /// Whether that address was dialled, and so can be dialled again.
        dialled: bool,
    },
    /// Whoever answered there is no member of this channel.
    Stranger {
        /// At which address.
        address: Target,
    },
    /// A link ended; the member is wanted again unless another link to it is up.
    Lost {
        /// Who.
        identity: IdentityId,
        /// Its PeerId.
        peer: PeerId,
        /// Its address.
        address: Target,
    },
}

/// A member's addresses as another member names them.
#[derive(Clone, Debug)]
pub struct Hint {
    /// Who is there, if known: only that peer is accepted.
    pub peer: Option<PeerId>,
    /// Where.
    pub addresses: Vec<Target>,
    /// Who says so.
    pub source: Provenance,
    /// Whether the one who says so is itself at a loopback, private or link-local address.
    pub local: bool,
    /// The member that says so, if it is one: it may help us to get there.
    pub via: Option<PeerId>,
}

/// The state of a channel's sources.
#[derive(Clone, Debug)]
pub struct DiscoveryStatus {
    /// Trackers, in the file's order.
    pub trackers: Vec<TrackerStatus>,
    /// The DHT; `None`: it is off.
    pub dht: Option<DhtSource>,
    /// All sources, those included, the quickest first.
    pub sources: Vec<SourceStatus>,
    /// Addresses that wait to be tried, are tried, or failed lately.
    pub candidates: usize,
    /// Dials under way.
    pub dialling: usize,
}

/// The state of the DHT for a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhtSource {
    /// What it is doing.
    pub state: DhtState,
    /// Nodes that took our last announce.
    pub announced_to: usize,
    /// Peers that the last lookup led to; we ourselves are among them as a rule.
    pub peers: usize,
    /// When nodes answered last.
    pub last_success: Option<Instant>,
    /// When it is asked next; `None` while it is.
    pub next_try: Option<Instant>,
    /// Nodes that answer, of IPv4 and of IPv6; `None` without a socket.
    pub nodes: [Option<usize>; 2],
    /// Whether any node answered in this run.
    pub ever_answered: bool,
}

impl DhtSource {
    /// From what the DHT says of one infohash.
    pub fn new(status: &DhtStatus, watch: &WatchStatus) -> Self {
        Self {
            state: status.state_of(watch),
            announced_to: watch.taken,
            peers: watch.found,
            last_success: watch.answered,
            next_try: if watch.looking {
                None
            } else {
                status.retry.or(watch.next)
            },
            nodes: [&status.v4, &status.v6]
                .map(|family| family.as_ref().map(|family| family.table.good)),
            ever_answered: status.answered.is_some(),
        }
    }

    /// Nodes of a family that answer; `None` without a socket.
    pub(super) fn nodes(&self, family: dht::Family) -> Option<usize> {
        match family {
            dht::Family::V4 => self.nodes[0],
            dht::Family::V6 => self.nodes[1],
        }
    }
}

/// What finds addresses, and where what it finds comes from.
pub struct Sources {
    /// Trackers.
    pub trackers: Trackers,
    /// The DHT, unless it is off.
    pub dht: Option<Dht>,
    /// Relays.
    pub relays: Relays,
    /// Whom we meet there.
    pub met: mpsc::Receiver<relay::Found>,
    /// The local network, unless it is off.
    pub lan: Option<Lan>,
}

/// A handle to discovery. Cheap to clone.
#[derive(Clone)]
pub struct Discovery {
    addr: Addr<Msg>,
}

impl Discovery {
    /// Starts the actor in `scope`.
    pub fn start(
        transport: Transport,
        sources: Sources,
        store: Store,
        scope: &Scope,
        reached: mpsc::Sender<Reached>,
    ) -> Self {
        let (tracker_sender, tracker_found) = mpsc::channel(FOUND);
        let (dht_sender, dht_found) = mpsc::channel(FOUND);
        let (lan_sender, lan_found) = mpsc::channel(FOUND);
        let parts = Parts {
            transport,
            trackers: (sources.trackers, tracker_sender),
            dht: sources.dht.map(|dht| (dht, dht_sender)),
            relays: sources.relays,
            lan: sources.lan.map(|lan| (lan, lan_sender)),
            incoming: Arc::new(Mutex::new((
                tracker_found,
                dht_found,
                lan_found,
                sources.met,
            ))),
            store,
            reached,
            wanted: Arc::default(),
        };
        let span = tracing::info_span!("discovery");
        let addr = scope.permanent("discovery", MAILBOX, span, move || {
            DiscoveryActor::new(parts.clone())
        });
        Self { addr }
    }

    /// Looks for members of a channel from now on; replaces what was said of its keys and trackers before.
    pub async fn want(&self, wanted: Wanted) {
        // When the actor has stopped, nobody looks for anybody: here and below nothing is lost.
        let _ = self.addr.send(Msg::Want(Box::new(wanted))).await;
    }

    /// No longer. Returns when its trackers were told, after 2 s at most.
    pub async fn forget(&self, cid: ChannelId) {
        let _ = self.addr.ask(|done| Msg::Forget(cid, done)).await;
    }

    /// Somebody named addresses.
    pub async fn hint(&self, cid: ChannelId, hint: Hint) {
        let _ = self.addr.send(Msg::Hint(cid, hint)).await;
    }

    /// What became of an attempt, or of a link. Every link is said to be [`Outcome::Linked`] once and
    /// [`Outcome::Lost`] once; a [`Reached`] of which nothing is said for 20 s counts as failed.
    pub async fn outcome(&self, cid: ChannelId, outcome: Outcome) {
        let _ = self.addr.send(Msg::Outcome(cid, outcome)).await;
    }

    /// This machine is on another network, or back on one: who was lost is looked for anew.
    pub async fn moved(&self) {
        let _ = self.addr.send(Msg::Moved).await;
    }

    /// Has the trackers of a channel asked now, or that one, because a user says so; returns how many are.
    pub async fn announce_by_hand(&self, cid: ChannelId, url: Option<String>) -> usize {
        self.addr
            .ask(|answer| Msg::AnnounceByHand(cid, url, answer))
            .await
            .unwrap_or_default()
    }

    /// Announces now where that is allowed.
    pub async fn announce_now(&self, cid: ChannelId) {
        let _ = self.addr.send(Msg::AnnounceNow(cid)).await;
    }

    /// The state of a channel's sources; `None` for a channel that is not wanted.
    pub async fn status(&self, cid: ChannelId) -> Option<DiscoveryStatus> {
        self.addr
            .ask(|answer| Msg::Status(cid, answer))
            .await
            .ok()
            .flatten()
    }
}
