//! The JSON that the local API takes and gives, and that the command line prints with `--json`.
//!
//! Each shape serializes and deserializes, so that the node, the command line, other faces and the tests share
//! one definition. Ids are written in full, times as RFC 3339 in UTC.

mod channel;
mod chat;
mod dht;
mod doctor;
mod event;
mod member;
mod problem;
mod profile;
mod source;
mod status;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tracker;

use std::time::Instant;

pub use self::{
    channel::*, chat::*, dht::*, doctor::*, event::*, member::*, problem::*, profile::*, source::*,
    status::*, tracker::*,
};

/// Whole seconds since that moment.
fn seconds_since(at: Instant, now: Instant) -> u64 {
    now.saturating_duration_since(at).as_secs()
}

/// Whole seconds until that moment; 0 when it has passed.
fn seconds_until(at: Instant, now: Instant) -> u64 {
    at.saturating_duration_since(now).as_secs()
}
