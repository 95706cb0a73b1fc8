//! The handle to discovery, and the types of its mailbox.

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

pub use super::source::{DhtChannelStatus, SourceKind, SourceState, SourceStatus, Sources};
use super::{
    actor::{Context, DiscoveryActor, Msg},
    source::SourceSet,
};
use crate::{
    kit::{Addr, Scope},
    store::Store,
    tracker::TrackerStatus,
    transport::{Connection, Relay, Target, Transport},
};

/// Commands queued for the actor, which handles each in well under a millisecond.
const MAILBOX: usize = 256;

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
    /// A connection that the peer opened to us.
    Incoming,
}

impl Provenance {
    /// Whether it names the same addresses to everybody who asks: the member there may have just learned ours, too.
    pub(super) fn is_public(&self) -> bool {
        matches!(self, Self::Tracker(_) | Self::Dht)
    }
}

/// A channel that wants members.
#[derive(Clone)]
pub struct Wanted {
    /// The channel.
    pub cid: ChannelId,
    /// The keys of its present epoch.
    pub keys: EpochKeys,
    /// Its trackers, in tiers (BEP 12).
    pub tiers: Vec<Vec<String>>,
    /// Host and port of the DHT nodes that its file names.
    pub nodes: Vec<(String, u16)>,
    /// The relays that its file names.
    pub relays: Vec<Relay>,
    /// The time of the first announce to its trackers.
    pub not_before: Instant,
}

/// A new connection that may lead to a member of the channel.
pub struct Reached {
    /// The channel.
    pub cid: ChannelId,
    /// The connection.
    pub connection: Connection,
    /// The address that was dialled.
    pub address: Target,
    /// The source of that address.
    pub source: Provenance,
    /// The time from the first sighting of the address, or from the loss of the link there, to the connection.
    pub took: Duration,
}

/// How a member was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBy {
    /// The source of its address.
    pub source: Provenance,
    /// The time from the first sighting of the address, or from the loss of the link there, to the connection.
    pub took: Duration,
}

/// What became of a [`Reached`], or of an incoming link.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A member is linked.
    Linked {
        /// The member.
        identity: IdentityId,
        /// Its PeerId.
        peer: PeerId,
        /// Its address.
        address: Target,
        /// Whether that address was dialled, and so can be dialled again.
        dialled: bool,
    },
    /// The peer at the address is not a member of the channel.
    Stranger {
        /// The address.
        address: Target,
    },
    /// A link ended; the member is wanted again unless another link to it is up.
    Lost {
        /// The member.
        identity: IdentityId,
        /// Its PeerId.
        peer: PeerId,
        /// Its address.
        address: Target,
    },
}

/// Addresses at which a source, a member or the user has seen a member of a channel.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// The only peer that is accepted there; `None` if any member may be there.
    pub peer: Option<PeerId>,
    /// The addresses.
    pub addresses: Vec<Target>,
    /// Where they come from.
    pub source: Provenance,
    /// Whether the one that names them is itself at a loopback, private or link-local address, so that such addresses
    /// are believed.
    pub local: bool,
    /// The member that names them, which may help us to get there; `None` if it was not a member.
    pub via: Option<PeerId>,
}

/// The status of a channel's sources.
#[derive(Clone, Debug)]
pub struct DiscoveryStatus {
    /// Trackers, in the order of the channel's file.
    pub trackers: Vec<TrackerStatus>,
    /// The DHT; `None` if it is off.
    pub dht: Option<DhtChannelStatus>,
    /// All sources, those above included, the quickest first.
    pub sources: Vec<SourceStatus>,
    /// Addresses that are not linked: waiting to be dialled, being dialled, or failed lately.
    pub candidates: usize,
    /// Dials under way.
    pub dialling: usize,
}

/// A handle to discovery. Cheap to clone.
#[derive(Clone)]
pub struct Discovery {
    addr: Addr<Msg>,
}

impl Discovery {
    /// Starts the actor in `scope`. `reached` receives the connections it makes.
    pub fn start(
        transport: Transport,
        sources: Sources,
        store: Store,
        scope: &Scope,
        reached: mpsc::Sender<Reached>,
    ) -> Self {
        let context = Context {
            relays: sources.relays.clone(),
            sources: Arc::new(Mutex::new(SourceSet::new(&transport, sources))),
            transport,
            store,
            reached,
            wanted: Arc::default(),
        };
        let span = tracing::info_span!("discovery");
        let addr = scope.permanent("discovery", MAILBOX, span, move || {
            DiscoveryActor::new(context.clone())
        });
        Self { addr }
    }

    /// Starts to look for members of a channel; replaces the keys, trackers, nodes and relays of an earlier call.
    pub async fn want(&self, wanted: Wanted) {
        // Once the actor has stopped, nothing is looked for any more, so that here and below nothing is lost.
        let _ = self.addr.send(Msg::Want(Box::new(wanted))).await;
    }

    /// Stops looking for members. Returns once the trackers have been notified, within 2 s.
    pub async fn forget(&self, cid: ChannelId) {
        let _ = self.addr.ask(|done| Msg::Forget(cid, done)).await;
    }

    /// Adds addresses that a member or the user named.
    pub async fn sighted(&self, cid: ChannelId, sighting: Sighting) {
        let _ = self.addr.send(Msg::Sighted(cid, sighting)).await;
    }

    /// Reports what became of an attempt or of a link. Every link must be reported as [`Outcome::Linked`] once and as
    /// [`Outcome::Lost`] once; a [`Reached`] without an outcome within 20 s counts as failed.
    pub async fn outcome(&self, cid: ChannelId, outcome: Outcome) {
        let _ = self.addr.send(Msg::Outcome(cid, outcome)).await;
    }

    /// Reports that this machine is on another network, or back on one: lost members are looked for again.
    pub async fn moved(&self) {
        let _ = self.addr.send(Msg::Moved).await;
    }

    /// Announces a channel now for a user, to all its trackers and the DHT or only to the tracker at `url`. Returns how
    /// many trackers are asked.
    pub async fn announce_by_hand(&self, cid: ChannelId, url: Option<String>) -> usize {
        self.addr
            .ask(|answer| Msg::AnnounceByHand(cid, url, answer))
            .await
            .unwrap_or_default()
    }

    /// Announces now, within the limits of each source.
    pub async fn announce_now(&self, cid: ChannelId) {
        let _ = self.addr.send(Msg::AnnounceNow(cid)).await;
    }

    /// The status of a channel's sources; `None` for a channel that is not wanted.
    pub async fn status(&self, cid: ChannelId) -> Option<DiscoveryStatus> {
        self.addr
            .ask(|answer| Msg::Status(cid, answer))
            .await
            .ok()
            .flatten()
    }
}
