//! Trackers: announces to HTTP(S) trackers, and what they answer (`docs/PROTOCOL.md`, rendezvous).
//!
//! **Owns** what is known of each channel's trackers: one swarm a rendezvous hash (two around a change of
//! period), in it one pure state machine of tiers ([`tiers`]), what an announce looks like
//! ([`announce`]), how an answer is read ([`reply`]), the HTTP clients ([`http`]), and the exchange with UDP
//! trackers ([`udp`]), which leaves from the node's one UDP port.
//! **Mailbox**: channels to watch and to forget, extra announces, questions about the state; bounded, its
//! senders wait. What trackers name goes up through the sender given at the start; requests wait there,
//! not the actor.
//! **Life**: permanent. A restart remembers what was watched and announces anew; a stop says `stopped` to
//! the trackers that know us, within two seconds.
//!
//! A UDP tracker is asked once by each address family, as real clients do. One HTTP request goes to a host name, by
//! whichever family connects first, since the HTTP client below offers nothing else.

mod actor;
mod announce;
mod api;
mod ask;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod http;
mod reply;
mod tiers;
mod udp;
mod udp_client;

pub use api::*;
