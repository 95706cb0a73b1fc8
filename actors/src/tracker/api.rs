//! What others ask of the tracker actor, and what it tells them.

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

/// Commands that wait for the actor, which handles each in microseconds.
const MAILBOX: usize = 64;
/// How long a tracker may take for everything, redirects and the last byte included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// What to announce for one channel.
#[derive(Clone)]
pub struct Watch {
    /// The channel.
    pub cid: ChannelId,
    /// Tiers of URLs (BEP 12). The first 64 URLs are served.
    pub tiers: Vec<Vec<String>>,
    /// Makes the rendezvous hashes (they change daily).
    pub keys: EpochKeys,
    /// No announce is sent earlier: in a channel made a moment ago there is nobody to find.
    pub not_before: Instant,
    /// Receives the peers that trackers name. While it is full, requests wait for it, not the actor.
    pub found: mpsc::Sender<TrackerPeers>,
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
    /// When we announce next; `None` while it is asked, and for those that are not its tier's current one.
    pub next_announce: Option<Instant>,
    /// When it answered last.
    pub last_success: Option<Instant>,
    /// Whether the last failure was that nobody answered at all (no connection, or one that was cut), as opposed to a bad answer.
    pub silent: bool,
    /// The last failure or warning, in plain words that follow the URL: `answered with ...`.
    pub error: Option<String>,
}

impl TrackerStatus {
    /// One that is not asked at all, and why.
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

/// Peers that a tracker named.
#[derive(Debug)]
pub struct TrackerPeers {
    /// For which channel.
    pub cid: ChannelId,
    /// The tracker's URL.
    pub tracker: String,
    /// The tracker itself answered from a loopback, private or link-local address: it may name such.
    pub local: bool,
    /// Whom it named. At most 1,000; we ourselves may be among them.
    pub peers: Vec<SocketAddr>,
    /// From which address it sees us, if it says so (BEP 24).
    pub external: Option<IpAddr>,
}

/// How the actor works.
#[derive(Clone)]
pub struct TrackerConfig {
    /// The port that is announced.
    pub port: u16,
    /// How long a tracker may take for everything, redirects and the last byte included.
    pub timeout: Duration,
    /// The node's UDP port; without it UDP trackers are not asked.
    pub udp: Option<Udp>,
    /// Whose client announces look like, and what is announced; shared with whoever answers strangers.
    pub torrents: Torrents,
    /// Certificates (DER) that are believed besides Mozilla's roots.
    pub roots: Vec<Vec<u8>>,
    /// HTTP trackers are asked through it alone.
    pub proxy: Option<Proxy>,
    /// Which addresses lie on local networks. Tests, which have nothing but loopback, draw the border there.
    pub is_local: fn(IpAddr) -> bool,
}

impl TrackerConfig {
    /// 30 s a request, no UDP and no proxy, the default disguise, and the real border of local networks
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

/// Public trackers that this program knows, one URL each: the file says how they were chosen.
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

    /// As [`Trackers::start`], with everything configured.
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

    /// Announces a channel from now on; replaces what was said of it before. Trackers that stay keep their
    /// state.
    pub async fn watch(&self, watch: Watch) {
        // Nobody is left to announce when the actor has stopped: here and below nothing is lost.
        let _ = self.addr.send(Msg::Watch(Box::new(watch))).await;
    }

    /// Sends `stopped` (within 2 s, once) and forgets the channel. Returns when that is done.
    pub async fn unwatch(&self, cid: ChannelId) {
        let _ = self.addr.ask(|done| Msg::Unwatch(cid, done)).await;
    }

    /// As [`Trackers::unwatch`], but returns when the command is in order behind those before it; the end
    /// is told by what is returned.
    pub(crate) async fn begin_unwatch(&self, cid: ChannelId) -> oneshot::Receiver<()> {
        let (done, told) = oneshot::channel();
        let _ = self.addr.send(Msg::Unwatch(cid, done)).await;
        told
    }

    /// Announces now if the min intervals allow: a wanted member is not linked, or a user asks. At most
    /// once a minute and ten times an hour for each tracker.
    pub async fn announce_now(&self, cid: ChannelId) {
        let _ = self.addr.send(Msg::AnnounceNow(cid)).await;
    }

    /// A user wants an announce now, to all trackers of a channel or to that one; a failing one is asked again too.
    /// Returns how many are asked: those that were not within the last minute, nor more often than they allow.
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

    /// The state of a channel's trackers, in the file's order. Empty for a channel that is not watched.
    pub async fn status(&self, cid: ChannelId) -> Vec<TrackerStatus> {
        self.addr
            .ask(|answer| Msg::Status(cid, answer))
            .await
            .unwrap_or_default()
    }
}
