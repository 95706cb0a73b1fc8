//! The handle to the tracker actor, and the types of its mailbox.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::channel::{ChannelId, EpochKeys};
use tokio::sync::{mpsc, oneshot};

use super::actor::{Memory, Msg, TrackerActor};
use crate::{
    disguise::{Disguise, Torrents},
    kit::{Addr, Scope},
    transport::{Proxy, Udp, network},
};

/// Commands queued for the actor, which handles each in microseconds.
const MAILBOX: usize = 64;
/// The time-out of a request, with all redirects and the last byte.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// A channel to announce.
#[derive(Clone)]
pub struct Watch {
    /// The channel.
    pub cid: ChannelId,
    /// Tiers of URLs (BEP 12). Only the first 64 URLs are used.
    pub tiers: Vec<Vec<String>>,
    /// The keys from which the rendezvous hashes are derived, which change daily.
    pub keys: EpochKeys,
    /// The time of the first announce: in a channel made a moment ago there is nobody to find.
    pub not_before: Instant,
    /// Receives the peers that trackers name. While it is full, requests wait for it, not the actor.
    pub found: mpsc::Sender<TrackerPeers>,
}

/// The status of one tracker for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerStatus {
    /// Its URL.
    pub url: String,
    /// The index of its tier.
    pub tier: usize,
    /// Its state.
    pub state: TrackerState,
    /// The number of peers in its last answer.
    pub peers: usize,
    /// When we announce next; `None` while a request is under way, and for a tracker that is not its tier's current
    /// one.
    pub next_announce: Option<Instant>,
    /// When it last answered.
    pub last_success: Option<Instant>,
    /// Whether the last failure was silence (no connection, or one that was cut), as opposed to a bad answer.
    pub silent: bool,
    /// The last failure or warning, as a phrase that follows the URL: `answered with ...`.
    pub error: Option<String>,
}

impl TrackerStatus {
    /// A tracker that is not asked at all, and the reason.
    pub(crate) fn unasked(url: String, tier: usize, why: &str) -> Self {
        Self {
            url,
            tier,
            state: TrackerState::Unsupported,
            peers: 0,
            next_announce: None,
            last_success: None,
            silent: false,
            error: Some(why.to_owned()),
        }
    }
}

/// The state of a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerState {
    /// Not asked yet (a later one of its tier), or being asked for the first time.
    Waiting,
    /// The last request was answered.
    Working,
    /// The last request failed.
    Failing,
    /// A URL or scheme that this program does not support.
    Unsupported,
}

/// Peers that a tracker named.
#[derive(Debug)]
pub struct TrackerPeers {
    /// The channel.
    pub cid: ChannelId,
    /// The tracker's URL.
    pub tracker: String,
    /// Whether the tracker itself answered from a loopback, private or link-local address, so that it may name such
    /// addresses.
    pub local: bool,
    /// The peers, at most 1,000; we ourselves may be among them.
    pub peers: Vec<SocketAddr>,
    /// The address from which it sees us, if it reports one (BEP 24).
    pub external: Option<IpAddr>,
}

/// The configuration of the actor.
#[derive(Clone)]
pub struct TrackerConfig {
    /// The port that is announced.
    pub port: u16,
    /// The time-out of a request, with all redirects and the last byte.
    pub timeout: Duration,
    /// The node's UDP port; `None` to ask no UDP trackers.
    pub udp: Option<Udp>,
    /// The client that announces look like, and what is announced; shared with the code that answers strangers.
    pub torrents: Torrents,
    /// Certificates (DER) that are trusted besides Mozilla's roots.
    pub roots: Vec<Vec<u8>>,
    /// The only way to HTTP trackers, if there is a proxy.
    pub proxy: Option<Proxy>,
    /// Whether an address is on a local network. Tests, which have nothing but loopback, draw the line within it.
    pub is_local: fn(IpAddr) -> bool,
}

impl TrackerConfig {
    /// 30 s per request, no UDP and no proxy, the default disguise, and the real border of local networks
    /// ([`network::is_local`]).
    pub fn new(port: u16) -> Self {
        Self {
            port,
            timeout: REQUEST_TIMEOUT,
            udp: None,
            torrents: Torrents::new(Disguise::default(), &mut rand::rng()),
            roots: Vec::new(),
            proxy: None,
            is_local: network::is_local,
        }
    }
}

/// The public trackers that this program knows, one URL each; `public.txt` tells how they were chosen.
pub fn public_trackers() -> Vec<String> {
    let lines = include_str!("public.txt").lines().map(str::trim);
    lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// A handle to the tracker actor. Cheap to clone.
#[derive(Clone)]
pub struct Trackers {
    addr: Addr<Msg>,
}

impl Trackers {
    /// Starts the actor in `scope`. `port` is announced; UDP trackers are asked from `udp`.
    pub fn start(port: u16, udp: Udp, scope: &Scope) -> Self {
        let config = TrackerConfig {
            udp: Some(udp),
            ..TrackerConfig::new(port)
        };
        Self::start_with(config, scope)
    }

    /// Starts the actor in `scope` with everything configured.
    pub fn start_with(config: TrackerConfig, scope: &Scope) -> Self {
        let memory = Arc::new(Memory::new(config.port));
        let addr = scope.permanent(
            "tracker",
            MAILBOX,
            tracing::info_span!("tracker"),
            move || TrackerActor::new(config.clone(), Arc::clone(&memory)),
        );
        Self { addr }
    }

    /// Starts to announce a channel, or changes its trackers and keys. Trackers that stay keep their state.
    pub async fn watch(&self, watch: Watch) {
        // Once the actor has stopped, nothing is announced any more, so that here and below nothing is lost.
        let _ = self.addr.send(Msg::Watch(Box::new(watch))).await;
    }

    /// Sends `stopped` (once, within 2 s) and forgets the channel. Returns when that is done.
    pub async fn unwatch(&self, cid: ChannelId) {
        let _ = self.addr.ask(|done| Msg::Unwatch(cid, done)).await;
    }

    /// As [`Trackers::unwatch`], but returns when the command is queued behind earlier ones; the returned receiver
    /// completes at the end.
    pub(crate) async fn begin_unwatch(&self, cid: ChannelId) -> oneshot::Receiver<()> {
        let (done, notified) = oneshot::channel();
        let _ = self.addr.send(Msg::Unwatch(cid, done)).await;
        notified
    }

    /// Announces now if the min intervals allow it, because members are missing. At most once a minute and ten times an
    /// hour for each tracker.
    pub async fn announce_now(&self, cid: ChannelId) {
        let _ = self.addr.send(Msg::AnnounceNow(cid)).await;
    }

    /// Announces now for a user, to all trackers of a channel or only to the one at `url`, also to one that failed.
    /// Returns how many are asked: those that were not asked within the last minute, nor more often than they allow.
    pub async fn announce_by_hand(&self, cid: ChannelId, url: Option<String>) -> usize {
        self.addr
            .ask(|answer| Msg::AnnounceByHand(cid, url, answer))
            .await
            .unwrap_or_default()
    }

    /// Announces another port from the next announce on.
    pub async fn set_port(&self, port: u16) {
        let _ = self.addr.send(Msg::SetPort(port)).await;
    }

    /// The status of a channel's trackers, in the order of its file; empty for a channel that is not watched.
    pub async fn status(&self, cid: ChannelId) -> Vec<TrackerStatus> {
        self.addr
            .ask(|answer| Msg::Status(cid, answer))
            .await
            .unwrap_or_default()
    }
}
