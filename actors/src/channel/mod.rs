//! The channel: one conversation's logs, members and links (`docs/PROTOCOL.md`, events and sync).
//!
//! A permanent actor a channel. Its mailbox ([`COMMANDS`](actor)) takes what the user wants; links report
//! to a queue of its own, which is read only while few commits are in flight, so that pressure reaches
//! the peer. All protocol logic is in the pure `machine` (with `logs`, `pull`, `push`, `mesh`, `sync`,
//! `forks`, `delivery`); the shell in `actor` does the I/O. Each life loads what the store has and
//! registers with the links anew.

mod actor;
mod api;
mod delivery;
mod forks;
mod handle;
mod logs;
mod machine;
mod mesh;
mod pull;
mod push;
#[cfg(test)]
mod sim;
mod sync;
mod views;

pub use api::*;
pub use handle::{Channel, ChannelConfig};
