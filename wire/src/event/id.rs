//! Event ids.

use std::fmt;

use crate::{channel::ChannelId, crypto};

/// The hash that identifies an event: `H("id"; cid ‖ E)`. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 32]);

impl EventId {
    /// The predecessor that the first event of a log names.
    pub const ZERO: Self = Self([0; 32]);

    /// Computes the id of the event with these bytes (E) in this channel.
    pub fn of(cid: &ChannelId, raw: &[u8]) -> Self {
        Self(crypto::hash("id", &[&cid.0, raw]))
    }
}
impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}
impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
