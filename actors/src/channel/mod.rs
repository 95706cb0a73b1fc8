//! The channel: one conversation's logs, members and links (`docs/PROTOCOL.md`, events and sync).
//!
//! A permanent actor a channel. Its mailbox ([`COMMANDS`](actor)) takes what the user wants; links report
//! to a queue of its own, which is read only while few commits are in flight, so that pressure reaches
//! the peer. All protocol logic is in the pure `machine` (with `logs`, `pull`, `push`, `mesh`, `sync`,
//! `forks`, `delivery`, `people`); the shell in `actor` does the I/O. Each life loads what the store has and
//! registers with the links anew.
//!
//! A conversation is more than its texts: [`fold`] says what a text shows after all edits, deletions and
//! reactions, and `conversation` writes these.

mod actor;
mod api;
mod conversation;
mod delivery;
mod effects;
pub mod fold;
mod forks;
mod handle;
mod logs;
mod machine;
mod mentions;
mod mesh;
mod people;
mod pull;
mod push;
#[cfg(any(test, feature = "fuzz"))]
pub mod sim;
mod sync;
mod views;

pub use api::*;
pub(crate) use conversation::{PICTURE, STATUS};
pub use handle::{Channel, ChannelConfig};
