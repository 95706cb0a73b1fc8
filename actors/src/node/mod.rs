//! The node: wires the actors together, in order, and stops them in the reverse order.

mod api;

pub use api::*;
