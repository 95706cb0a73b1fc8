//! Relays: being reached, and reaching others, through a node that carries what it cannot read
//! (`docs/PROTOCOL.md`, relays).
//!
//! One permanent actor has two halves. The **serving** one gives others reservations and splices circuits to them,
//! within quotas that strangers cannot pass. The **asking** one holds two or three reservations where we cannot be
//! reached otherwise, heals them, and registers channels at relays where their members meet. Its mailbox takes streams
//! of the two relay kinds and words about relays; each stream is a transient task in its scope.
//!
//! A relay sees PeerIds, which last for one run, keys from which nothing can be told, and sealed bytes.

mod client;
mod framing;
mod limits;
mod metrics;
mod server;

use std::sync::Arc;

use bitchat_wire::channel::ChannelId;
use tokio::sync::{mpsc, watch};

pub use client::Relays;
pub use limits::{RelayLimits, RelayMode};

use crate::{
    kit::{self, Scope},
    transport::{Target, Transport},
};

/// Streams and words that wait for the actor, which handles each at once. Beyond, senders wait: the transport, and
/// with it the peer that floods us.
const MAILBOX: usize = 256;
/// Public relays that one source may name to us at a time, and that are known in all.
pub const MOST_OFFERED: usize = 16;

/// Somebody of a channel was met at a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Of which channel.
    pub cid: ChannelId,
    /// Where.
    pub targets: Vec<Target>,
}

/// How a node uses relays, and serves as one.
#[derive(Clone, Copy, Debug)]
pub struct RelayConfig {
    /// For whom it carries circuits.
    pub mode: RelayMode,
    /// How much.
    pub limits: RelayLimits,
    /// Hold reservations from the start, since nobody can reach us otherwise, or is to.
    pub always: bool,
}

impl RelayConfig {
    /// The usual limits of a mode; reservations when nobody reaches us.
    pub fn new(mode: RelayMode) -> Self {
        Self {
            mode,
            limits: RelayLimits::of(mode),
            always: false,
        }
    }
}

impl Relays {
    /// Starts the actor in `scope`; what relays find for us goes to the receiver.
    pub fn start(
        config: RelayConfig,
        transport: Transport,
        scope: &Scope,
    ) -> (Self, mpsc::Receiver<Found>) {
        let metrics = metrics::Metrics::register(scope.metrics());
        let (own, inbox) = kit::mailbox("relay", MAILBOX);
        let (found, finds) = client::finds();
        let parts = client::Parts {
            server: server::Server::new(config.mode, config.limits, metrics.clone()),
            transport,
            found,
            reachable: watch::Sender::new(Vec::new()),
            wanting: watch::Sender::new(false),
            metrics,
            always: config.always,
            own,
            incoming: client::incoming(),
            wanted: Arc::default(),
        };
        let relays = Self::new(parts.clone());
        let span = tracing::info_span!("relay");
        scope.permanent_with("relay", inbox, span, move || {
            client::Client::new(parts.clone())
        });
        (relays, finds)
    }
}
