//! Discovery: merges all sources of addresses and alone decides which to dial (`docs/PROTOCOL.md`, rendezvous).
//!
//! **Owns** the candidates of each wanted channel and the dial budget, in one pure state machine
//! ([`state`]) on top of a book of addresses per channel ([`book`]), a budget of dials ([`budget`]) and a schedule of
//! probes ([`probes`]); and the sources ([`source`]), one file each: trackers, the DHT, the local network, relays. The
//! actor around them ([`actor`]) has the clock and the dials, and asks sources and store.
//! **Mailbox**: channels to look for, sightings, outcomes, status requests; bounded, its senders wait. Sources bring
//! their results over channels of their own. Connections go up through the sender given at the start.
//! **Life**: permanent. A restart looks again for the channels that are wanted; a stop gives up all dials.

mod actor;
mod api;
mod book;
mod budget;
mod probes;
mod source;
mod state;
#[cfg(test)]
mod tests;

pub use api::*;
