//! A way in through the router: asks it to map the node's one port, UDP and TCP, by PCP (RFC 6887), NAT-PMP (RFC 6886) or
//! UPnP's Internet Gateway Device, whichever it speaks.
//!
//! **Owns** one plan ([`plan`], pure) that decides when to ask, to renew and to give up, and at most one mapping; each
//! question is a task of its own with sockets of its own ([`ask`]), which never touches the node's port. The router is
//! that of the system's default route ([`gateway`]), and what it says is believed as little as possible: sizes are
//! bounded, and an outer address that lies on a local network is no way in.
//! **Mailbox**: one word, that the network is another; bounded, its senders wait.
//! **Life**: permanent. While the router does not answer it is asked ever less often, once an hour in the end, and at once
//! when the network changes. A stop removes the mapping, within a second or so; a crash leaves it to the router, which
//! forgets it within the hour, or gives it to the next run.
//!
//! Not started behind a proxy, where nothing may leave beside it, and not on loopback alone.

mod actor;
mod api;
mod ask;
mod gateway;
mod plan;

pub use api::*;
