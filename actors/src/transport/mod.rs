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

mod addr;
mod admission;
mod api;
mod bind;
mod changes;
mod connection;
mod control;
mod crossed;
mod demux;
mod dial;
mod doubles;
mod flow;
mod handle;
mod life;
mod local;
mod metrics;
mod msg;
mod mux;
mod nat;
pub mod network;
mod paths;
mod proxy;
mod punch;
mod punch_race;
mod punch_tcp;
mod quic;
mod registry;
mod runtime;
mod shared;
mod stream;
mod target;
mod tcp;
#[cfg(test)]
mod tests;
mod tls;
mod udp;
mod watch;

pub use addr::{from_multiaddr, is_dialable, to_multiaddr};
pub use admission::IncomingLimits;
pub use api::*;
pub use connection::{Connection, ConnectionId};
pub use demux::{Class, PUNCH_LEN, classify};
pub use handle::Transport;
pub(crate) use local::source_for;
pub use mux::Duplex;
pub use nat::{NatKind, NatView};
pub use paths::{PathKind, Paths};
#[cfg(feature = "fuzz")]
pub(crate) use proxy::fuzz as fuzz_proxy;
pub use proxy::{Proxy, ProxyError, ProxyStatus, ProxyUrlError};
pub(crate) use punch::datagram as punch;
pub use stream::{RecvHalf, SendHalf, Stream};
pub use target::{Relay, Target};
pub use udp::{Datagram, Udp};
