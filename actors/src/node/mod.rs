//! The node: wires the actors together, in order, and stops them in the reverse order.

mod api;
mod channels;
mod conversation;
mod start;
mod status;

pub use api::*;
pub use start::Node;
