//! The node's layers, and stopping them in order.

use std::time::Duration;

use super::Node;
use crate::{chat::Chat, kit::Scope};

/// How long each layer may take to stop.
const LAYER_STOP: Duration = Duration::from_millis(800);
/// Trackers may take longer: they are sent `stopped`.
const TRACKERS_STOP: Duration = Duration::from_millis(2_200);
/// The router is asked to remove its mapping.
const PORTMAP_STOP: Duration = Duration::from_millis(1_900);

/// The layers, in the order in which they start. Cheap to clone.
#[derive(Clone)]
pub(super) struct Layers {
    pub(super) store: Scope,
    pub(super) transport: Scope,
    pub(super) relay: Scope,
    pub(super) portmap: Scope,
    pub(super) trackers: Scope,
    pub(super) dht: Scope,
    pub(super) lan: Scope,
    pub(super) discovery: Scope,
    pub(super) links: Scope,
    pub(super) channels: Scope,
}

impl Layers {
    pub(super) fn new(base: &Scope) -> Self {
        Self {
            store: base.layer(),
            transport: base.layer(),
            relay: base.layer(),
            portmap: base.layer(),
            trackers: base.layer(),
            dht: base.layer(),
            lan: base.layer(),
            discovery: base.layer(),
            links: base.layer(),
            channels: base.layer(),
        }
    }

    /// Stops all layers, from the top to the bottom. One that has stopped already costs nothing.
    pub(super) async fn stop(&self) {
        for layer in [
            &self.channels,
            &self.links,
            &self.discovery,
            &self.trackers,
            &self.dht,
            &self.relay,
            &self.lan,
            &self.portmap,
            &self.transport,
            &self.store,
        ] {
            if !layer.stop(LAYER_STOP).await {
                tracing::warn!("a layer did not stop in time");
            }
        }
    }
}

impl Node {
    /// Stops in order, within 3 s: channels say goodbye, trackers are notified, connections close, the store is last.
    pub async fn stop(&self) {
        let layers = &self.inner.layers;
        let chats = self.inner.chats.drain();
        // Peers that are reached through this node look for other relays from now on.
        self.inner.relays.drain(Duration::ZERO).await;
        let goodbyes = async {
            futures_util::future::join_all(chats.iter().map(Chat::stop)).await;
            layers.channels.stop(LAYER_STOP).await;
            layers.links.stop(LAYER_STOP).await;
        };
        let trackers = async {
            layers.discovery.stop(LAYER_STOP).await;
            tokio::join!(
                layers.trackers.stop(TRACKERS_STOP),
                layers.dht.stop(LAYER_STOP),
                layers.lan.stop(LAYER_STOP),
                layers.portmap.stop(PORTMAP_STOP)
            );
        };
        tokio::join!(goodbyes, trackers);
        layers.stop().await;
    }
}
