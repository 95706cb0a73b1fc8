//! What tests of whole nodes in one process have in common.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use bitchat_actors::node::{Builder, ChannelRequest, Node};
use bitchat_wire::{
    channel::{Policy, Rotation},
    identity::IdentityKey,
};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// A node on loopback, with a database of its own.
pub(crate) fn builder(folder: &Path, name: &str, seed: u8) -> Builder {
    // `RUST_LOG=bitchat_actors=debug` shows what the nodes do.
    if let Some(filter) = std::env::var("RUST_LOG")
        .ok()
        .and_then(|filter| filter.parse::<Targets>().ok())
    {
        let lines = tracing_subscriber::fmt::layer().with_test_writer();
        let _ = tracing_subscriber::registry()
            .with(lines)
            .with(filter)
            .try_init();
    }
    let identity = IdentityKey::from_seed(&[seed; 32]);
    Node::builder(folder.join(format!("{name}.db")), identity)
        .name(name)
        .bind([IpAddr::V4(Ipv4Addr::LOCALHOST)])
}

/// Where a node is reached.
pub(crate) fn address(node: &Node) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, node.port()))
}

/// An open channel without trackers.
pub(crate) fn open_channel(name: &str) -> ChannelRequest {
    ChannelRequest {
        name: name.into(),
        policy: Policy::Open,
        rotation: Rotation::Daily,
        trackers: Vec::new(),
        nodes: Vec::new(),
        relays: Vec::new(),
    }
}
