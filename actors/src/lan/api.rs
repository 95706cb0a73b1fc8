//! What others ask of the local network, and what it tells them.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Instant,
};

use bitchat_wire::channel::{ChannelId, EpochKeys};
use tokio::sync::mpsc;

use super::actor::{LanActor, Msg, Parts};
use crate::kit::{Addr, Scope};

/// Commands that wait for the actor, which handles each in microseconds.
const MAILBOX: usize = 64;

/// How we speak.
#[derive(Clone, Debug)]
pub struct LanConfig {
    /// The port that is announced.
    pub port: u16,
    /// Addresses on which the node listens; multicast leaves from those alone.
    pub bind: Vec<IpAddr>,
}

/// A channel to announce in the local network, and to look for there.
#[derive(Clone)]
pub struct Watch {
    /// The channel.
    pub cid: ChannelId,
    /// The keys of its present epoch.
    pub keys: EpochKeys,
    /// Receives the members that announce themselves. When it is full for long, the oldest are dropped.
    pub found: mpsc::Sender<LanPeer>,
}

/// A peer in the local network that announces a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LanPeer {
    /// The channel.
    pub cid: ChannelId,
    /// The peer's address.
    pub address: SocketAddr,
}

/// The state of the local network for one channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LanStatus {
    /// Networks that we speak in.
    pub networks: usize,
    /// When a member was heard last.
    pub heard: Option<Instant>,
    /// When networks are looked for again.
    pub next_try: Option<Instant>,
    /// Why we do not speak, in plain words.
    pub error: Option<String>,
}

/// A handle to the local network. Cheap to clone.
#[derive(Clone)]
pub struct Lan {
    addr: Addr<Msg>,
}

impl Lan {
    /// Starts the actor in `scope`.
    pub fn start(config: LanConfig, scope: &Scope) -> Self {
        let parts = Parts {
            config,
            wanted: Arc::new(Mutex::new(BTreeMap::new())),
        };
        let factory = move || LanActor::new(parts.clone());
        let addr = scope.permanent("lan", MAILBOX, tracing::info_span!("lan"), factory);
        Self { addr }
    }

    /// Announces a channel from now on, and listens for its members.
    pub async fn watch(&self, watch: Watch) {
        // Nobody is left to announce when the actor has stopped: here and below nothing is lost.
        let _ = self.addr.send(Msg::Watch(Box::new(watch))).await;
    }

    /// No longer.
    pub async fn unwatch(&self, cid: ChannelId) {
        let _ = self.addr.send(Msg::Unwatch(cid)).await;
    }

    /// Members are missing: asks who is there, at most once a second.
    pub async fn ask(&self) {
        let _ = self.addr.send(Msg::Ask).await;
    }

    /// The state for a channel; `None` if it is not watched.
    pub async fn status(&self, cid: ChannelId) -> Option<LanStatus> {
        self.addr
            .ask(|answer| Msg::Status(cid, answer))
            .await
            .ok()
            .flatten()
    }
}
