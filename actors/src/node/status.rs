//! The node in figures.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use bitchat_wire::identity::IdentityId;
use libp2p_identity::PeerId;
use tokio::sync::broadcast;

use super::{Node, NodeEvent, NodeStatus};
use crate::kit::{Death, Metrics};

/// Reports of dying actors that are kept.
pub(super) const DEATHS: usize = 16;
/// Peers whose word on our address is kept; the registry has no more connections than some hundreds.
const OBSERVERS: usize = 1_024;

/// Where peers see us.
#[derive(Default)]
pub(super) struct Observers(Mutex<HashMap<PeerId, SocketAddr>>);

impl Observers {
    pub(super) fn add(&self, by: PeerId, address: SocketAddr) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < OBSERVERS || seen.contains_key(&by) {
            seen.insert(by, address);
        }
    }

    pub(super) fn remove(&self, peer: &PeerId) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(peer);
    }

    /// Each address and how many see us there, most first.
    fn votes(&self) -> Vec<(SocketAddr, usize)> {
        let mut votes: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for address in self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
        {
            *votes.entry(*address).or_insert(0) += 1;
        }
        let mut votes: Vec<_> = votes.into_iter().collect();
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        votes
    }
}

impl Node {
    /// Who we are.
    pub fn id(&self) -> IdentityId {
        self.inner.local.certificate.identity
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.inner.transport.port()
    }

    /// The metrics of this node.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The node in a few figures.
    pub async fn status(&self) -> NodeStatus {
        NodeStatus {
            id: self.id(),
            name: self.inner.name.clone(),
            peer_id: self.inner.transport.peer_id(),
            listening: self.inner.transport.local_addresses(),
            connections: self.inner.transport.connections().await.len(),
            observed: self.inner.observers.votes(),
            uptime_s: self.inner.started.elapsed().as_secs(),
            channels: self.channels().await.unwrap_or_default(),
            deaths: self
                .deaths()
                .iter()
                .map(|death| {
                    format!(
                        "{} failed {} times within a minute: {}",
                        death.actor, death.times, death.reason
                    )
                })
                .collect(),
        }
    }

    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<NodeEvent> {
        self.inner.events.subscribe()
    }

    /// Reports of actors that kept dying, oldest first.
    pub fn deaths(&self) -> Vec<Death> {
        self.inner
            .deaths
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
