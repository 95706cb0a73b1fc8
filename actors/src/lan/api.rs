//! The handle to the local network's actor, and the types of its mailbox.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex},
    time::Instant,
};

use bitchat_wire::channel::{ChannelId, EpochKeys};
use tokio::sync::mpsc;

use super::actor::{Context, LanActor, Msg};
use crate::kit::{Addr, Scope};

/// Commands queued for the actor, which handles each in microseconds.
const MAILBOX: usize = 64;

/// The configuration of the actor.
#[derive(Clone, Debug)]
pub struct LanConfig {
    /// The port that is announced.
    pub port: u16,
    /// Addresses on which the node listens; multicast is sent from those alone.
    pub bind: Vec<IpAddr>,
}

/// A channel to announce in the local network, and to look for there.
#[derive(Clone)]
pub struct Watch {
    /// The channel.
    pub cid: ChannelId,
    /// The keys of its present epoch.
    pub keys: EpochKeys,
    /// Receives the members that announce themselves. If it stays full, the oldest are dropped.
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

/// The status of the local network for one channel.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LanStatus {
    /// The number of networks that are used.
    pub networks: usize,
    /// When a member last announced itself; `None` if none has.
    pub last_announce: Option<Instant>,
    /// When networks are listed again.
    pub next_try: Option<Instant>,
    /// Why no network is used, for the user.
    pub error: Option<String>,
}

/// A handle to the local network's actor. Cheap to clone.
#[derive(Clone)]
pub struct Lan {
    addr: Addr<Msg>,
}

impl Lan {
    /// Starts the actor in `scope`.
    pub fn start(config: LanConfig, scope: &Scope) -> Self {
        let context = Context {
            config,
            wanted: Arc::new(Mutex::new(BTreeMap::new())),
        };
        let factory = move || LanActor::new(context.clone());
        let addr = scope.permanent("lan", MAILBOX, tracing::info_span!("lan"), factory);
        Self { addr }
    }

    /// Starts to announce a channel and to look for its members.
    pub async fn watch(&self, watch: Watch) {
        // Once the actor has stopped, nothing is announced any more, so that here and below nothing is lost.
        let _ = self.addr.send(Msg::Watch(Box::new(watch))).await;
    }

    /// Stops announcing a channel. Other members forget us within two minutes.
    pub async fn unwatch(&self, cid: ChannelId) {
        let _ = self.addr.send(Msg::Unwatch(cid)).await;
    }

    /// Asks which members are there, at most once a second, since some are missing.
    pub async fn ask(&self) {
        let _ = self.addr.send(Msg::Ask).await;
    }

    /// The status for a channel; `None` if it is not watched.
    pub async fn status(&self, cid: ChannelId) -> Option<LanStatus> {
        self.addr
            .ask(|answer| Msg::Status(cid, answer))
            .await
            .ok()
            .flatten()
    }
}
