//! Starts the node's part of the DHT, on the transport's UDP port.

use std::sync::Arc;

use crate::{
    dht::{self, Dht, DhtConfig, Family, Keeper},
    disguise::Disguise,
    kit::Scope,
    transport::{Class, Transport},
};

/// Starts the DHT. Public routers are asked unless the transport listens on loopback alone.
pub(super) async fn start(
    bootstrap: Vec<String>,
    transport: &Transport,
    disguise: Disguise,
    keeper: Arc<dyn Keeper>,
    scope: &Scope,
) -> Dht {
    let udp = transport.udp();
    // Otherwise the first queries would be lost.
    if let Err(error) = udp.writable().await {
        tracing::warn!(%error, "the UDP port cannot be written to");
    }
    let is_there = |family: &Family| udp.reaches(*family == Family::V6);
    let local = transport.local_addresses();
    let reaches_routers = local.iter().any(|address| !address.ip().is_loopback());
    let config = DhtConfig {
        families: Family::ALL.into_iter().filter(is_there).collect(),
        bootstrap,
        routers: reaches_routers
            .then(dht::public_routers)
            .unwrap_or_default(),
        profile: disguise.into(),
    };
    let incoming = udp.subscribe(Class::Krpc);
    // A query that is lost is repeated, or sent to another node.
    let outgoing = Arc::new(move |to, packet: &[u8]| drop(udp.try_send_to(to, packet)));
    Dht::start(config, incoming, outgoing, keeper, scope)
}
