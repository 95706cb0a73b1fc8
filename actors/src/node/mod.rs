//! The node: wires the actors together, in order, and stops them in the reverse order.

mod api;
mod channels;
mod dht;
mod disguise;
mod offers;
mod outer;
mod portmap;
mod relay;
mod relay_check;
mod start;
mod status;
mod trackers;

pub use api::*;
pub use relay::{Announce, RELAY_KEYS, RelayBuilder, RelayNode, relay_peer};
pub use relay_check::{RelayCheck, check_relay};
pub use start::Node;
