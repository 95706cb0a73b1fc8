//! The transport: connections to peers and their streams (`docs/PROTOCOL.md`, connections).
//!
//! The **registry** is its permanent actor: it owns the table of connections, executes dials and lets strangers in.
//! Its mailbox takes questions of [`Transport`] handles and reports of connection tasks. Each connection, each dial and
//! each stranger's handshake is a transient task in the registry's child scope; whatever ends a connection, its guard
//! writes one line into a ledger, and the registry makes one [`TransportEvent::Closed`] of it. The sockets, keys, bars
//! and the ledger outlive a restart of the registry, connections do not.
//!
//! Pressure: events go through one bounded channel, and a connection that waits for room in it reads nothing
//! meanwhile, so that its peer runs into flow control. Nothing here ever waits for a peer on behalf of another.

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
