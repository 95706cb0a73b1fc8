//! Trackers: announces to HTTP(S) trackers, and what they answer (`docs/PROTOCOL.md`, rendezvous).
//!
//! **Owns** what is known of each channel's trackers: one swarm a rendezvous hash (two around a change of
//! period), in it one pure state machine of tiers ([`tiers`]), what an announce looks like
//! ([`announce`], with the facts of [`crate::disguise`]), how an answer is read ([`reply`]), the HTTP client
//! ([`http`]), and the exchange with UDP trackers ([`udp`]), which leaves from the node's one UDP port.
//! **Mailbox**: channels to watch and to forget, extra announces, questions about the state; bounded, its
//! senders wait. What trackers name goes up through the sender given at the start; requests wait there,
//! not the actor.
//! **Life**: permanent. A restart remembers what was watched and announces anew; a stop says `stopped` to
//! the trackers that know us, within two seconds.
//!
//! A tracker is asked once by each address family that it and we have, where the client that we look like does so,
//! and by one otherwise.

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
mod tiers;
mod udp;
mod udp_client;

pub use api::*;
