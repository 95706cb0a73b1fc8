//! The node: wires the actors together, in order, and stops them in the reverse order.

mod api;
mod builder;
mod channels;
mod dht;
mod identity;
pub(crate) mod indexes;
mod layers;
mod outer;
mod portmap;
mod public_relays;
mod relay;
mod relay_check;
mod route;
mod start;
mod status;
mod trackers;

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use bitchat_wire::identity::IdentityKey;
use tokio::sync::broadcast;

pub use api::*;
pub use builder::Builder;
pub use relay::{Announce, RELAY_KEYS, RelayBuilder, RelayNode, relay_peer};
pub use relay_check::{RelayCheck, check_relay};

use self::{layers::Layers, portmap::Router, status::Observers};
use crate::{
    chat::Chats,
    dht::Dht,
    discovery::Discovery,
    disguise::Disguise,
    kit::{Death, Metrics},
    link::{Links, LocalDevice},
    relay::Relays,
    store::Store,
    transport::Transport,
};

/// A running node. Cheap to clone; [`Node::stop`] ends it for all clones.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: Metrics,
    store: Store,
    transport: Transport,
    relays: Relays,
    router: Router,
    dht: Option<Dht>,
    discovery: Discovery,
    links: Links,
    identity: IdentityKey,
    name: String,
    agent: String,
    local: Arc<LocalDevice>,
    disguise: Disguise,
    chats: Chats,
    /// Held while a channel's file is changed, so that changes do not overlap.
    editing: tokio::sync::Mutex<()>,
    events: broadcast::Sender<NodeEvent>,
    observers: Arc<Observers>,
    deaths: Arc<Mutex<Vec<Death>>>,
    started: Instant,
    layers: Layers,
}
