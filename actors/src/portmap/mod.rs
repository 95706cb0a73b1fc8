//! Port mapping: asks the router to forward the node's one port, UDP and TCP, over PCP (RFC 6887), NAT-PMP (RFC 6886) or
//! UPnP's Internet Gateway Device, whichever it supports.
//!
//! **Owns** one plan ([`plan`], pure) that decides when to ask, to renew and to give up, and at most one mapping; each
//! request is a task with sockets of its own ([`ask`]), which never touches the node's port. The router is the gateway of
//! the system's default route ([`gateway`]), and its responses are trusted as little as possible: sizes are bounded, and
//! an external address on a local network is not accepted.
//! **Mailbox**: one message, that the network has changed; bounded, senders wait.
//! **Life**: permanent. A router that does not answer is asked less and less often, finally once an hour, and at once
//! when the network changes. A stop removes the mapping, within about a second; after a crash the router forgets it within
//! the hour, or gives it to the next run.
//!
//! Not started behind a proxy, which nothing may bypass, nor on loopback alone.

mod actor;
mod api;
mod ask;
mod gateway;
mod plan;

use api::Metrics;
pub use api::{Mapping, PortmapStatus, Protocol};
pub(crate) use api::{Portmap, PortmapConfig};
