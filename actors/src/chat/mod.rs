//! Chat: what the events of a channel mean to people (`docs/PROTOCOL.md`, 9.3).
//!
//! **Owns** texts, edits, deletions, reactions, profiles, typing notices and read marks. `fold` decides what a text shows after
//! all edits, deletions and reactions; `people` keeps what is known of members, as a [`Reader`](crate::channel::Reader) of the
//! channel; `views` shows events.
//!
//! **Mailbox and life.** [`Chat`] is a handle to one channel and to a permanent actor, which publishes our read marks at their
//! pace; its mailbox takes 64 commands. [`Chats`] holds the chats of a node. A chat starts and stops with its channel.

mod actor;
mod api;
mod chats;
mod draft;
mod fold;
mod follow;
mod handle;
mod mentions;
mod own;
mod people;
mod profile;
mod reader;
mod reading;
mod snapshot;
pub(crate) mod tables;
mod views;

#[cfg(test)]
mod tests;

pub use api::*;
pub use chats::Chats;
pub use draft::Draft;
pub use fold::Reaction;
pub use follow::{Follow, News};
pub use handle::Chat;
pub use profile::Profile;
pub use snapshot::Snapshot;
pub use tables::PageQuery;
