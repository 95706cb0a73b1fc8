//! The one port: its sockets, the distribution of its datagrams, QUIC's endpoints on it, and changes of the network.

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
