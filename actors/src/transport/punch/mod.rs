//! Punching: opening NATs with the help of a peer that has links with both ends, or over a circuit (`docs/PROTOCOL.md`,
//! punching).

mod better;
mod exchange;
mod race;
mod tcp;

pub(crate) use better::better;
pub(crate) use exchange::{Via, attempt, datagram, received};
