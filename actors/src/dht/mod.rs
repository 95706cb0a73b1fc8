//! The mainline DHT: a node of our own (`docs/PROTOCOL.md`, rendezvous; BEP 5, 32, 42, 43, 45).
//!
//! **Owns** one pure state machine ([`state`]) with an id and a routing table for each of IPv4 and IPv6 ([`table`],
//! [`bucket`]), what others announced here ([`peers`], [`token`]), the lookups under way ([`lookup`], [`pending`]),
//! what we announce ([`announce`]), and limits for all of it ([`limits`]). The actor around it ([`actor`]) has the
//! clock and the datagrams, and keeps nodes between runs ([`Keeper`]).
//! **Mailbox**: infohashes to watch and to forget, lookups, nodes to begin with, status requests; bounded, its senders
//! wait. Datagrams arrive over a channel of their own, whose sender drops what does not fit; peers go up through the
//! sender that each watch brings.
//! **Life**: permanent. A restart remembers what is watched and begins with the nodes that were kept; a stop stores
//! them once more.

mod actor;
mod announce;
mod api;
mod bootstrap;
mod bucket;
mod candidate;
mod drive;
mod id;
mod inbound;
pub mod krpc;
mod limits;
mod lookup;
mod metrics;
mod network;
mod peers;
mod pending;
mod profile;
mod saved;
mod security;
mod server;
mod state;
mod table;
#[cfg(test)]
mod tests;
mod token;
mod votes;

pub use api::*;
pub use id::{ID_LEN, Id};
pub use lookup::LookupCost;
pub use network::Family;
pub use profile::Profile;
pub use saved::{Keeper, Saved};
pub use table::TableCounts;
