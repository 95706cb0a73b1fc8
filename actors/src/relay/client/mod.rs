//! The requesting half: reservations, circuits to others, and circuits of others to this node (`docs/PROTOCOL.md`,
//! relays).
//!
//! [`state`] decides; each reservation is a task with its stream ([`reserve`]), and so is each circuit until TLS runs on
//! it ([`circuit`]).

pub(super) mod circuit;
mod reserve;
mod state;

pub(super) use reserve::Reservations;
pub use state::MOST_OFFERED;
pub(super) use state::{Effect, Input, Origin, State};
