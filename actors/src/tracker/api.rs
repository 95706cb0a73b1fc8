//! What others ask of the tracker actor, and what it tells them.

use std::{net::SocketAddr, time::Instant};

use bitchat_wire::channel::{ChannelId, EpochKeys};
use tokio::sync::mpsc;

use crate::kit::Scope;

/// What to announce for one channel.
#[derive(Clone)]
pub struct Watch {
    /// The channel.
    pub cid: ChannelId,
    /// Tiers of URLs (BEP 12).
    pub tiers: Vec<Vec<String>>,
    /// Makes the rendezvous hashes (they change daily).
    pub keys: EpochKeys,
}

/// The state of one tracker for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerStatus {
    /// Its URL.
    pub url: String,
    /// In which tier.
    pub tier: usize,
    /// What it is doing.
    pub state: TrackerState,
    /// Peers in its last answer.
    pub peers: usize,
    /// When we announce next.
    pub next_announce: Option<Instant>,
    /// The last failure or warning, in plain words.
    pub error: Option<String>,
}

/// What a tracker is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerState {
    /// Not asked yet (a later one of its tier), or asked for the first time now.
    Waiting,
    /// Answered the last time.
    Working,
    /// Failed the last time.
    Failing,
    /// A URL or scheme that this program does not serve.
    Unsupported,
}

/// What a tracker told us.
#[derive(Debug)]
pub struct Found {
    /// For which channel.
    pub cid: ChannelId,
    /// The tracker's URL.
    pub tracker: String,
    /// The tracker itself answered from a loopback, private or link-local address: it may name such.
    pub local: bool,
    /// Whom it named. At most 1,000.
    pub peers: Vec<SocketAddr>,
}

/// A handle to the tracker actor. Cheap to clone.
#[derive(Clone)]
pub struct Trackers {
    _p: (),
}

#[expect(unused_variables, reason = "skeleton")]
impl Trackers {
    /// Starts the actor in `scope`. `port` is announced.
    pub fn start(port: u16, scope: &Scope, found: mpsc::Sender<Found>) -> Self {
        todo!()
    }
    /// Announces a channel from now on; replaces what was said of it before.
    pub async fn watch(&self, watch: Watch) {
        todo!()
    }
    /// Sends `stopped` (within 2 s, once) and forgets the channel.
    pub async fn unwatch(&self, cid: ChannelId) {
        todo!()
    }
    /// Announces now if the min intervals allow: a wanted member is not linked, or a user asks.
    pub async fn announce_now(&self, cid: ChannelId) {
        todo!()
    }
    /// The state of a channel's trackers, in the file's order.
    pub async fn status(&self, cid: ChannelId) -> Vec<TrackerStatus> {
        todo!()
    }
}
