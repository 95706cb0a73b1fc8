//! The local network: announces channels by multicast DNS, and hears who else does (`docs/PROTOCOL.md`, in the local
//! network; RFC 6762, 6763).
//!
//! **Owns** one pure state machine ([`state`]) that decides when to speak and what to believe, the few DNS records
//! that it speaks in ([`message`], their bytes by the crate `simple-dns`), and a socket for each address of this machine that is to speak ([`sockets`]). The
//! shell ([`actor`]) has the clocks and the datagrams.
//! **Mailbox**: channels to watch and to forget, questions about the state; bounded, its senders wait. Datagrams come
//! by a channel of their own, whose senders drop what does not fit; members go up through the sender given at the start.
//! **Life**: permanent. A restart remembers what is watched; a stop says goodbye. While nothing is watched it has no
//! socket and says nothing.
//!
//! Why not a crate for all of it: those that were looked at join the group on every interface before they can be
//! told not to, keep what strangers say without a bound, and announce a service only together with the name and addresses
//! of a host, which nobody needs here: an announce's sender is where the member is.

mod actor;
mod api;
mod message;
mod sockets;
mod state;

pub use api::*;

/// For fuzz targets: reads a datagram.
#[cfg(feature = "fuzz")]
pub(crate) fn fuzz_message(data: &[u8]) {
    let _ = message::read(data);
}
