//! Announces this node as a public relay.

use std::time::Duration;

use tokio::sync::mpsc;

use super::places::{self, Places};
use crate::{
    dht::{self, Dht, Id},
    tracker::{TrackerPeers, Trackers},
    transport::{NatKind, NatView, Transport},
};

/// How often to check whether others can reach this node, and what has to be announced where.
const REVIEW: Duration = Duration::from_secs(30);

/// The announcer of this node.
pub(super) struct Announcer {
    /// Whether to announce at once, and not only when others are known to reach this node.
    pub(super) at_once: bool,
    pub(super) transport: Transport,
    pub(super) trackers: Trackers,
    pub(super) dht: Option<Dht>,
    pub(super) places: Places,
    /// Receives the responses of trackers.
    pub(super) found: mpsc::Sender<TrackerPeers>,
}

impl Announcer {
    /// Announces. Never ends.
    pub(super) async fn run(self) {
        // The peers that the DHT finds are not needed here; the search asks for them by lookups.
        let (ignored, _) = mpsc::channel(1);
        let mut announced: Vec<Vec<String>> = Vec::new();
        let mut hashes: Vec<Id> = Vec::new();
        loop {
            let begun = !announced.is_empty() || !hashes.is_empty();
            if self.at_once || begun || self.is_reached() {
                let tiers = self.places.tiers();
                if tiers != announced {
                    tracing::info!(
                        trackers = tiers.len(),
                        "this relay is announced to everybody"
                    );
                    let watch = places::watch(tiers.clone(), self.found.clone());
                    self.trackers.watch(watch).await;
                    announced = tiers;
                }
                if let Some(dht) = &self.dht {
                    let due = places::hashes();
                    let port = self
                        .transport
                        .outer_port()
                        .borrow()
                        .unwrap_or(self.transport.port());
                    for hash in due.iter().filter(|hash| !hashes.contains(hash)) {
                        let watch = dht::Watch {
                            hash: *hash,
                            port,
                            found: ignored.clone(),
                        };
                        dht.watch(watch).await;
                    }
                    for hash in hashes.iter().filter(|hash| !due.contains(hash)) {
                        dht.unwatch(*hash).await;
                    }
                    hashes = due;
                }
            }
            tokio::time::sleep(REVIEW).await;
        }
    }

    /// Whether others are known to reach this node.
    fn is_reached(&self) -> bool {
        let reached =
            |view: &NatView| view.reached || view.mapped.is_some() || view.kind == NatKind::Open;
        self.transport.nat().iter().any(reached)
    }
}
