//! The handle to the actor, and its start.

use std::{sync::Arc, time::Duration};

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    link::TlsSide,
    stream::StreamKind,
};
use libp2p_identity::PeerId;
use tokio::sync::{mpsc, watch};

use super::{
    actor::{Parts, RelayActor},
    client::{Input, Origin, circuit},
    limits::{RelayLimits, RelayMode},
    metrics::Metrics,
    msg::{Found, Msg},
    server::Server,
};
use crate::{
    kit::{self, Guard, Scope},
    transport::{Connection, DialError, PathKind, Relay, Stream, Transport, network::is_local},
};

/// Messages queued for the actor, which handles each at once. When it is full, senders wait: the transport, and with it
/// the peer that floods us.
const MAILBOX: usize = 256;
/// Met members queued for their reader. One that finds no room is met again.
const FOUND: usize = 64;

/// How a node uses relays, and serves as one.
#[derive(Clone, Copy, Debug)]
pub struct RelayConfig {
    /// For whom it carries circuits.
    pub mode: RelayMode,
    /// How much it carries.
    pub limits: RelayLimits,
    /// Whether to hold reservations from the start, because nobody can reach the node otherwise, or is meant to.
    pub always: bool,
}

impl RelayConfig {
    /// The usual limits of a mode; reservations only while nobody reaches the node.
    pub fn new(mode: RelayMode) -> Self {
        Self {
            mode,
            limits: RelayLimits::of(mode),
            always: false,
        }
    }
}

/// A handle to both halves. Cheap to clone.
#[derive(Clone)]
pub struct Relays {
    parts: Parts,
}

impl Relays {
    /// Starts the actor in `scope`. The receiver yields the members that are met at relays.
    pub fn start(
        config: RelayConfig,
        transport: Transport,
        scope: &Scope,
    ) -> (Self, mpsc::Receiver<Found>) {
        let metrics = Metrics::register(scope.metrics());
        let (own, inbox) = kit::mailbox("relay", MAILBOX);
        let (found, finds) = mpsc::channel(FOUND);
        let parts = Parts {
            server: Server::new(config.mode, config.limits, metrics.clone()),
            transport,
            found,
            reachable: watch::Sender::new(Vec::new()),
            wanting: watch::Sender::new(false),
            metrics,
            always: config.always,
            own,
            incoming: circuit::incoming(),
            wanted: Arc::default(),
        };
        let relays = Self {
            parts: parts.clone(),
        };
        let span = tracing::info_span!("relay");
        scope.permanent_with("relay", inbox, span, move || RelayActor::new(parts.clone()));
        (relays, finds)
    }

    /// Takes a stream of one of the two relay kinds that a peer has opened. Once the actor has stopped, the stream is
    /// reset; likewise the other methods do nothing then.
    pub async fn incoming(&self, connection: Connection, kind: StreamKind, stream: Stream) {
        let _ = self
            .parts
            .own
            .send(Msg::Stream(connection, kind, stream))
            .await;
    }

    /// Takes notice of a new connection: one that a peer made directly, without our having opened the way for it, shows
    /// that others can reach this node.
    pub async fn connected(&self, connection: &Connection) {
        let ip = connection.remote().ip();
        let reached = match connection.path() {
            PathKind::Tcp => is_local(ip) || connection.is_unasked(),
            PathKind::Quic => {
                is_local(ip) || self.parts.transport.nat()[usize::from(ip.is_ipv6())].reached
            }
            PathKind::Proxied | PathKind::Relayed => false,
        };
        if reached && connection.side() == TlsSide::Server {
            let _ = self.parts.own.send(Msg::Reached).await;
        }
    }

    /// Takes notice that peers have reported the address at which they see this node.
    pub async fn placed(&self) {
        let _ = self.parts.own.send(Msg::Placed).await;
    }

    /// Takes notice that the node is on another network.
    pub async fn moved(&self) {
        let _ = self.parts.own.send(Msg::Moved).await;
    }

    /// Takes notice of a member that is linked on that connection, for as long as the guard lives: the member may use this
    /// node as a relay, and this node the member if it was the one to connect.
    pub fn member(&self, connection: &Connection) -> Guard<impl FnOnce() + use<>> {
        let peer = connection.peer();
        let serving = self.parts.server.member(peer);
        let ours = connection.side() == TlsSide::Client;
        let known = connection
            .direct()
            .filter(|_| ours)
            .map(|address| Relay { address, peer });
        if let Some(relay) = known {
            self.notify(Input::Known(relay, Origin::Member));
            // Where only TCP gets through, no peer reports an address.
            let _ = self.parts.own.try_send(Msg::Placed);
        }
        let relays = self.clone();
        Guard::new(move || {
            drop(serving);
            if known.is_some() {
                relays.notify(Input::Unknown(peer, Origin::Member));
            }
        })
    }

    /// Adds a public relay to those that may be used.
    pub fn offered(&self, relay: Relay) {
        self.notify(Input::Known(relay, Origin::Public));
    }

    /// Registers a channel at relays, so that its members find each other there; `relays` are those of its file.
    pub async fn watch(&self, cid: ChannelId, keys: EpochKeys, relays: Vec<Relay>) {
        let input = Input::Watch(cid, Box::new(keys), relays);
        let _ = self.parts.own.send(Msg::Input(Box::new(input))).await;
    }

    /// Ends a channel's registrations.
    pub async fn unwatch(&self, cid: ChannelId) {
        let _ = self
            .parts
            .own
            .send(Msg::Input(Box::new(Input::Unwatch(cid))))
            .await;
    }

    /// Connects to a peer through a relay. Waits at most as long as three handshakes take. Cancel-safe.
    pub async fn dial(&self, relay: Relay, peer: PeerId) -> Result<Connection, DialError> {
        circuit::dial(&self.parts.transport, relay, peer).await
    }

    /// The relays through which others can reach this node, and each change of them.
    pub fn reachable(&self) -> watch::Receiver<Vec<Relay>> {
        self.parts.reachable.subscribe()
    }

    /// Whether the node needs relays and knows too few: of members, of channel files and public ones.
    pub fn wanting(&self) -> watch::Receiver<bool> {
        self.parts.wanting.subscribe()
    }

    /// The numbers of reservations and circuits that others have here.
    pub fn serves(&self) -> (usize, usize) {
        self.parts.server.counts()
    }

    /// Accepts nothing new, notifies the holders of reservations, and waits up to `patience` for circuits to end.
    pub async fn drain(&self, patience: Duration) {
        self.parts.server.drain(patience).await;
    }

    /// For callers that must not wait. An input that finds no room is dropped; it comes again with the next link.
    fn notify(&self, input: Input) {
        let sent = self.parts.own.try_send(Msg::Input(Box::new(input)));
        if sent.is_err() {
            tracing::debug!("news of a relay was dropped: the mailbox is full");
        }
    }
}
