//! The node's status, and what peers report of its address.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use bitchat_wire::identity::IdentityId;
use libp2p_identity::PeerId;
use tokio::sync::broadcast;

use super::{Node, NodeError, NodeEvent, NodeStatus};
use crate::{
    dht::{DhtStatus, Id, LookupResult},
    kit::{Death, Metrics},
    transport::Connection,
};

/// Kept reports of failing actors.
pub(super) const DEATHS: usize = 16;
/// Peers whose report of this node's address is kept; the registry holds at most a few hundred connections.
const OBSERVERS: usize = 1_024;

/// The addresses at which peers see this node. A peer's report counts as long as it has a connection; two nodes that
/// dial each other at once have two for a while.
#[derive(Default)]
pub(super) struct Observers(Mutex<HashMap<PeerId, Observer>>);

#[derive(Default)]
struct Observer {
    connections: usize,
    sees: Option<SocketAddr>,
}

impl Observers {
    pub(super) fn connected(&self, peer: PeerId) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < OBSERVERS || seen.contains_key(&peer) {
            seen.entry(peer).or_default().connections += 1;
        }
    }

    pub(super) fn add(&self, by: PeerId, address: SocketAddr) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(observer) = seen.get_mut(&by) {
            observer.sees = Some(address);
        }
    }

    pub(super) fn closed(&self, peer: &PeerId) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(observer) = seen.get_mut(peer) {
            observer.connections = observer.connections.saturating_sub(1);
            if observer.connections == 0 {
                seen.remove(peer);
            }
        }
    }

    /// Each address and the number of peers that report it, the most reported first.
    fn votes(&self) -> Vec<(SocketAddr, usize)> {
        let mut votes: BTreeMap<SocketAddr, usize> = BTreeMap::new();
        for address in self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .filter_map(|observer| observer.sees.as_ref())
        {
            *votes.entry(*address).or_insert(0) += 1;
        }
        let mut votes: Vec<_> = votes.into_iter().collect();
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        votes
    }
}

impl Node {
    /// This node's identity.
    pub fn id(&self) -> IdentityId {
        self.inner.local.certificate.identity
    }

    /// The name shown to the members of each channel.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The port of UDP and TCP; 0 if the node does not listen.
    pub fn port(&self) -> u16 {
        self.inner.transport.port()
    }

    /// The metrics of this node.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// The node's status.
    pub async fn status(&self) -> NodeStatus {
        let channels = self.channels().await.unwrap_or_default();
        let mut sources = HashMap::new();
        for channel in &channels {
            if let Some(status) = self.inner.discovery.status(channel.cid).await {
                sources.insert(channel.cid, status.sources);
            }
        }
        let connections = self.inner.transport.connections().await;
        NodeStatus {
            id: self.id(),
            name: self.inner.name.clone(),
            peer_id: self.inner.transport.peer_id(),
            listening: self.inner.transport.local_addresses(),
            proxy: self.inner.transport.proxy(),
            allowed: self.inner.transport.paths(),
            connections: connections.len(),
            paths: connections.iter().map(Connection::path).collect(),
            nat: self.inner.transport.nat(),
            portmap: self.inner.router.status(),
            observed: self.inner.observers.votes(),
            uptime_s: self.inner.started.elapsed().as_secs(),
            disguise: self.inner.disguise,
            dht: self.dht().await.ok(),
            channels,
            sources,
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

    /// The status of this node's part of the DHT.
    pub async fn dht(&self) -> Result<DhtStatus, NodeError> {
        let dht = self.inner.dht.as_ref().ok_or(NodeError::NoDht)?;
        dht.status().await.ok_or(NodeError::Stopping)
    }

    /// Looks an infohash up in the DHT, without announcing it. Takes up to 40 s.
    pub async fn dht_lookup(&self, hash: Id) -> Result<LookupResult, NodeError> {
        let dht = self.inner.dht.as_ref().ok_or(NodeError::NoDht)?;
        Ok(dht.lookup(hash).await)
    }

    /// Subscribes to what happens from now on. A receiver that lags re-reads the store.
    pub fn subscribe(&self) -> broadcast::Receiver<NodeEvent> {
        self.inner.events.subscribe()
    }

    /// Reports of actors that kept failing, oldest first.
    pub fn deaths(&self) -> Vec<Death> {
        self.inner
            .deaths
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_with_two_connections_counts_until_the_last_is_closed() {
        let (observers, peer) = (Observers::default(), PeerId::random());
        let address = SocketAddr::from(([192, 0, 2, 1], 4_000));
        observers.add(peer, address);
        assert!(observers.votes().is_empty(), "it is not connected");
        observers.connected(peer);
        observers.connected(peer);
        observers.add(peer, address);
        observers.closed(&peer);
        assert_eq!(observers.votes(), [(address, 1)]);
        observers.closed(&peer);
        assert!(observers.votes().is_empty());
    }
}
