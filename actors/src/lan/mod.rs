//! The local network: announces channels over multicast DNS, and finds other nodes that announce them
//! (`docs/PROTOCOL.md`, in the local network; RFC 6762, 6763).
//!
//! **Owns** one pure state machine ([`state`]) that decides when to send and which announces to believe, the few DNS
//! records that it uses ([`message`], encoded by the crate `simple-dns`), and a socket for each address of this machine
//! that is used ([`sockets`]). The actor around it ([`actor`]) has the clocks and the datagrams.
//! **Mailbox**: channels to watch and to forget, status requests; bounded, its senders wait. Datagrams arrive over a
//! channel of their own, whose senders drop what does not fit; members go up through the sender that each watch brings.
//! **Life**: permanent. A restart remembers what is watched; a stop sends a goodbye. While nothing is watched it has no
//! socket and sends nothing.
//!
//! Why not a crate for all of it: those that were examined join the group on every interface before they can be
//! configured, keep what strangers send without a bound, and announce a service only together with the name and
//! addresses of a host, which are not needed here: the member is at the address that an announce comes from.

mod actor;
mod api;
mod message;
mod sockets;
mod state;
#[cfg(test)]
mod tests;

pub use api::*;

/// For fuzz targets: reads a datagram.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz_message(data: &[u8]) {
    let _ = message::read(data);
}
