//! The handle to the hub.

use std::sync::Arc;

use bitchat_wire::channel::ChannelId;

use super::{
    Registration,
    actor::{HUB_MAILBOX, Hub, Msg},
    shared::Shared,
};
use crate::{
    discovery::{Discovery, Reached},
    kit::{Addr, Scope},
    relay::Relays,
    store::Store,
    transport::{Connection, ConnectionId, Stream, Transport},
};

/// A handle to the hub. Cheap to clone.
#[derive(Clone)]
pub struct Links {
    hub: Addr<Msg>,
    shared: Arc<Shared>,
}

impl Links {
    /// Starts the hub in `scope`.
    pub fn start(
        transport: Transport,
        relays: Relays,
        discovery: Discovery,
        store: Store,
        scope: &Scope,
    ) -> Self {
        let shared = Arc::new(Shared::new(transport, relays, discovery, store));
        let kept = Arc::clone(&shared);
        let span = tracing::info_span!("links");
        let hub = scope.permanent("links", HUB_MAILBOX, span, move || {
            Hub::new(Arc::clone(&kept))
        });
        Self { hub, shared }
    }

    /// Lets members link for a channel. An earlier registration of it ends, with its links.
    pub fn register(&self, reg: Registration) {
        self.shared.register(reg);
    }

    /// Lets nobody link for a channel any longer; its links end at once.
    pub fn unregister(&self, cid: ChannelId) {
        self.shared.unregister(cid);
    }

    /// Tries to link over a connection that discovery made.
    pub async fn initiate(&self, reached: Reached) {
        // The hub is gone only when the node stops.
        let _ = self.hub.send(Msg::Initiate(reached)).await;
    }

    /// Answers a peer that opened a link stream.
    pub async fn incoming(&self, connection: Connection, stream: Stream) {
        let _ = self.hub.send(Msg::Incoming(connection, stream)).await;
    }

    /// Moves links from the connection of that number to another: every channel that is linked there is linked here too,
    /// by a fresh handshake, and the channel then closes the older link.
    pub async fn moved(&self, from: ConnectionId, to: Connection) {
        let _ = self.hub.send(Msg::Moved(from, to)).await;
    }
}
