//! The one port: its sockets, who reads what from them, QUIC's endpoints on them, and the network below them.

pub(crate) mod bind;
pub(crate) mod changes;
mod demux;
pub(crate) mod endpoint;
mod local;
pub(crate) mod runtime;
pub(crate) mod udp;

pub use demux::{Class, PUNCH_LEN, classify};
pub(crate) use local::source_for;
pub use udp::{Datagram, Udp};
