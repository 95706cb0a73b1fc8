//! The transport: connections to peers and their streams (`docs/PROTOCOL.md`, connections).
//!
//! Its permanent actor is the **registry**: it owns the table of connections, starts dials, and registers connections
//! whose handshake is done. Its mailbox takes requests from [`Transport`] handles and reports from connection tasks.
//! Each connection, each dial and each incoming handshake is a transient task in the registry's child scope. However a
//! connection ends, its guard writes one entry into a ledger, from which the registry makes one
//! [`TransportEvent::Closed`]. Sockets, keys, bars and the ledger survive a restart of the registry; connections do
//! not.
//!
//! Backpressure: events go through one bounded channel. A connection that waits for room in it stops reading, so its
//! peer is slowed by flow control. Nothing here waits for one peer on behalf of another.
//!
//! The files and folders are rooms with ranks: each imports lower ones only (`tests/tests/tree/transport.rs`).

mod address;
mod admission;
mod api;
mod connection;
mod dial;
mod handle;
mod life;
mod metrics;
mod msg;
mod nat;
mod proxy;
mod punch;
mod quic;
mod registry;
mod shared;
mod socket;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;

pub use address::{
    PathKind, Paths, Relay, Target, from_multiaddr, is_dialable, network, to_multiaddr,
};
pub use admission::IncomingLimits;
pub use api::*;
pub use connection::{Connection, ConnectionId, Duplex, RecvHalf, SendHalf, Stream};
pub use handle::Transport;
pub use nat::{NatKind, NatView};
#[cfg(feature = "fuzz")]
pub(crate) use proxy::fuzz as fuzz_proxy;
pub use proxy::{Proxy, ProxyError, ProxyStatus, ProxyUrlError};
pub(crate) use punch::datagram as punch;
pub(crate) use socket::source_for;
pub use socket::{Class, Datagram, PUNCH_LEN, Udp, classify};
