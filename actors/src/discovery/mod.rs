//! Discovery: merges all sources of addresses and alone decides whom to dial (`docs/PROTOCOL.md`, rendezvous).
//!
//! **Owns** the candidates of each wanted channel and the dial budget, in one pure state machine
//! ([`state`]) on top of a book of addresses a channel ([`book`]) and a budget of dials ([`budget`]), a verdict on each
//! source ([`sources`]), and the infohashes that the DHT watches for them
//! ([`hashes`]); the shell ([`actor`]) has the clock, the dials and the questions to trackers, DHT, local network and store.
//! **Mailbox**: channels to look for, hints, outcomes, questions; bounded, its senders wait. What
//! trackers find comes by a channel of its own, and so does what DHT and local network find. Connections go up through the sender given at the start.
//! **Life**: permanent. A restart remembers which channels are wanted and begins to look anew; a stop
//! gives up all dials.

mod actor;
mod api;
#[cfg(test)]
mod belief_tests;
mod book;
mod budget;
mod hashes;
mod probes;
mod sources;
mod state;

pub use api::*;
