//! Routing of the lower layers' events to the layers above them.

use std::sync::{Arc, Mutex, PoisonError};

use bitchat_wire::stream::StreamKind;
use tokio::sync::mpsc;

use super::{Inner, Node, status};
use crate::{
    discovery::{Discovery, Reached},
    kit::Death,
    link::Links,
    portmap::Portmap,
    relay::Relays,
    transport::TransportEvent,
};

impl Node {
    /// Starts the tasks that route events, in the links' layer.
    pub(super) fn route(
        &self,
        transport: mpsc::Receiver<TransportEvent>,
        reached: mpsc::Receiver<Reached>,
        deaths: mpsc::Receiver<Death>,
    ) {
        let layer = &self.inner.layers.links;
        let above = Above::of(&self.inner);
        layer.transient(tracing::info_span!("streams"), above.route(transport));
        let links = self.inner.links.clone();
        layer.transient(tracing::info_span!("reached"), initiate(links, reached));
        let kept = Arc::clone(&self.inner.deaths);
        layer.transient(tracing::info_span!("deaths"), keep(kept, deaths));
    }
}

/// The receivers of the transport's events.
struct Above {
    links: Links,
    relays: Relays,
    observers: Arc<status::Observers>,
    discovery: Discovery,
    portmap: Option<Portmap>,
}

impl Above {
    fn of(inner: &Inner) -> Self {
        Self {
            links: inner.links.clone(),
            relays: inner.relays.clone(),
            observers: Arc::clone(&inner.observers),
            discovery: inner.discovery.clone(),
            portmap: inner.router.portmap(),
        }
    }

    async fn route(self, mut events: mpsc::Receiver<TransportEvent>) {
        while let Some(event) = events.recv().await {
            match event {
                TransportEvent::Stream {
                    connection,
                    kind: StreamKind::Link,
                    stream,
                } => self.links.incoming(connection, stream).await,
                TransportEvent::Observed { by, address, .. } => {
                    self.observers.add(by, address);
                    self.relays.placed().await;
                }
                TransportEvent::Stream {
                    connection,
                    kind: kind @ (StreamKind::RelayHop | StreamKind::RelayStop),
                    stream,
                } => self.relays.incoming(connection, kind, stream).await,
                TransportEvent::Connected(connection) => {
                    self.observers.connected(connection.peer());
                    self.relays.connected(&connection).await;
                }
                TransportEvent::Moved => {
                    if let Some(portmap) = &self.portmap {
                        portmap.moved().await;
                    }
                    self.relays.moved().await;
                    self.discovery.moved().await;
                }
                TransportEvent::Closed { peer, .. } => self.observers.closed(&peer),
                // The side that picked the survivor makes the new links; the other one waits for them.
                TransportEvent::Draining {
                    connection,
                    survivor,
                    chosen_here: true,
                } => self.links.moved(connection.id(), survivor).await,
                TransportEvent::Draining { .. } => {}
                // A stream of a kind that is not served yet is reset by being dropped.
                TransportEvent::Stream { .. } => {}
            }
        }
    }
}

/// Begins a link on each connection that discovery made.
async fn initiate(links: Links, mut reached: mpsc::Receiver<Reached>) {
    while let Some(reached) = reached.recv().await {
        links.initiate(reached).await;
    }
}

/// Logs reports of failing actors, and keeps the newest for the status.
async fn keep(kept: Arc<Mutex<Vec<Death>>>, mut deaths: mpsc::Receiver<Death>) {
    while let Some(death) = deaths.recv().await {
        tracing::error!(
            actor = death.actor,
            times = death.times,
            reason = death.reason,
            "an actor keeps failing"
        );
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(death);
        let excess = kept.len().saturating_sub(status::DEATHS);
        kept.drain(..excess);
    }
}
