//! Public relays: announces this node where it is one, and looks for others where we need some (`docs/PROTOCOL.md`, public
//! relays). Both happen under hashes that everybody knows, at trackers and in the DHT.
//!
//! **Owns** one pure state ([`state`]) that decides when to look, whom of those found to try, and whom to offer to the
//! relays' actor. What strangers name are addresses and nothing else: few are tried, one after the other, and what
//! answers there is a relay only once it has given us a reservation. Members and relays of channel files go before them.
//! **Mailbox**: none; words come by channels of its own: what trackers found, whether we are in need, and what became of
//! a try.
//! **Life**: one task, transient: an end of it costs the public relays and nothing else.
//!
//! Nobody learns a channel's key by this: the hashes are the same for all, and which of several relays are tried first
//! is decided here.

mod api;
mod state;

pub use api::*;
