//! Trackers: announces to HTTP(S) trackers, and what they answer (`docs/PROTOCOL.md`, rendezvous).
//!
//! **Owns** what is known of each channel's trackers: one swarm a rendezvous hash (two around a change of
//! period), in it one pure state machine of tiers ([`tiers`]), what an announce looks like
//! ([`announce`]), how an answer is read ([`reply`]), and the HTTP clients ([`http`]).
//! **Mailbox**: channels to watch and to forget, extra announces, questions about the state; bounded, its
//! senders wait. What trackers name goes up through the sender given at the start; requests wait there,
//! not the actor.
//! **Life**: permanent. A restart remembers what was watched and announces anew; a stop says `stopped` to
//! the trackers that know us, within two seconds.
//!
//! One request goes to a host name, by whichever address family connects first; a real client of this
//! kind sends one by each family, which the HTTP client below does not offer.

mod actor;
mod announce;
mod api;
mod http;
pub mod network;
mod reply;
mod tiers;

pub use api::*;
