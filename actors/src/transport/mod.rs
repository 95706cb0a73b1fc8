//! The transport: connections to peers and their streams.

mod api;

pub use api::*;
