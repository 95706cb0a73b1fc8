//! What others ask of discovery, and what it tells them.

use std::{net::SocketAddr, time::Duration};

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    identity::IdentityId,
};
use libp2p_identity::PeerId;
use tokio::sync::mpsc;

use crate::{
    kit::Scope,
    store::Store,
    tracker::{Found, TrackerStatus, Trackers},
    transport::{Connection, Transport},
};

/// Where an address came from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The peer cache of an earlier run.
    Cache,
    /// A tracker, by its URL.
    Tracker(String),
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
}

/// Somebody to talk to: a connection is up, and may lead to a member of that channel.
pub struct Reached {
    /// For which channel.
    pub cid: ChannelId,
    /// The connection.
    pub connection: Connection,
    /// At which address.
    pub address: SocketAddr,
    /// Which source found it, and how long ago.
    pub source: Source,
    /// From the first word of the address to the connection.
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
        address: SocketAddr,
        /// Whether that address was dialled, and so can be dialled again.
        dialled: bool,
    },
    /// Whoever answered there is no member of this channel.
    Stranger {
        /// At which address.
        address: SocketAddr,
    },
    /// A link ended; the member is wanted again unless another link to it is up.
    Lost {
        /// Who.
        identity: IdentityId,
        /// Its PeerId.
        peer: PeerId,
        /// Its address.
        address: SocketAddr,
    },
}

/// A member's addresses as another member names them.
#[derive(Clone, Debug)]
pub struct Hint {
    /// Who is there, if known: only that peer is accepted.
    pub peer: Option<PeerId>,
    /// Where.
    pub addresses: Vec<SocketAddr>,
    /// Who says so.
    pub source: Source,
    /// Whether the one who says so is itself at a loopback, private or link-local address.
    pub local: bool,
}

/// The state of a channel's sources.
#[derive(Clone, Debug)]
pub struct DiscoveryStatus {
    /// Trackers, in the file's order.
    pub trackers: Vec<TrackerStatus>,
    /// Addresses that wait to be tried, are tried, or failed lately.
    pub candidates: usize,
    /// Dials under way.
    pub dialling: usize,
}

/// A handle to discovery. Cheap to clone.
#[derive(Clone)]
pub struct Discovery {
    _p: (),
}

#[expect(unused_variables, reason = "skeleton")]
impl Discovery {
    /// Starts the actor in `scope`; `found` is what the tracker actor finds.
    pub fn start(
        transport: Transport,
        trackers: Trackers,
        found: mpsc::Receiver<Found>,
        store: Store,
        scope: &Scope,
        reached: mpsc::Sender<Reached>,
    ) -> Self {
        todo!()
    }
    /// Looks for members of a channel from now on.
    pub async fn want(&self, wanted: Wanted) {
        todo!()
    }
    /// No longer.
    pub async fn forget(&self, cid: ChannelId) {
        todo!()
    }
    /// Somebody named addresses.
    pub async fn hint(&self, cid: ChannelId, hint: Hint) {
        todo!()
    }
    /// What became of an attempt, or of a link.
    pub async fn outcome(&self, cid: ChannelId, outcome: Outcome) {
        todo!()
    }
    /// Announces now where that is allowed.
    pub async fn announce_now(&self, cid: ChannelId) {
        todo!()
    }
    /// The state of a channel's sources.
    pub async fn status(&self, cid: ChannelId) -> Option<DiscoveryStatus> {
        todo!()
    }
}
