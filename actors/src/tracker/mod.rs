//! Trackers: announces to HTTP(S) and UDP trackers, and their answers (`docs/PROTOCOL.md`, rendezvous).
//!
//! **Owns** the state of each channel's trackers: one swarm per rendezvous hash (two around a change of period), each
//! with a pure state machine of tiers ([`tiers`]); the bytes of announces ([`announce`], with the facts of
//! [`crate::disguise`]) and of answers ([`reply`]), the HTTP client ([`http`]), and the exchange with UDP trackers
//! ([`udp`]), which leaves from the node's one UDP port.
//! **Mailbox**: channels to watch and to forget, extra announces, status requests; bounded, its senders wait. Peers go
//! up through the sender that each watch brings; requests wait for it, not the actor.
//! **Life**: permanent. A restart announces again what is watched; a stop sends `stopped` to the trackers that know us,
//! within two seconds.
//!
//! A tracker is asked once over each address family that it and we have, if the client that we look like does so, and
//! over one family otherwise.

mod actor;
mod announce;
mod api;
mod ask;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod http;
mod race;
mod reply;
mod scrapes;
mod swarm;
#[cfg(test)]
mod tests;
mod tiers;
mod udp;
mod udp_client;

pub use api::*;
