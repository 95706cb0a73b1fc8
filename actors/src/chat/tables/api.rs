//! What queries take and return. All times are Unix milliseconds unless a name says otherwise.

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::IdentityId,
};

/// An event of a channel, with what counts about it.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its place in the order of arrival here: the cursor of event streams. Grows, never reused.
    pub position: u64,
    /// The channel of its log.
    pub cid: ChannelId,
    /// The event as signed.
    pub event: Event,
    /// The identity of the device that signed it.
    pub author: IdentityId,
    /// When it arrived here.
    pub arrival_ms: u64,
    /// For a text, the edit, deletion and reactions that count; empty for all other events.
    pub references: Vec<Reference>,
}

/// An event about a text: its author's latest edit or deletion, or the latest reactions of an identity.
#[derive(Clone, Debug)]
pub struct Reference {
    /// The edit, deletion or reactions.
    pub event: Event,
    /// The identity of the device that signed it.
    pub author: IdentityId,
}

/// A page of a channel's events to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// Only what comes before this event in the channel's order (lamport, device, seq); `None`: the latest page.
    pub before: Option<EventId>,
    /// At most this many events (capped at 1,000).
    pub limit: usize,
    /// Only texts, without profiles, first events and the like.
    pub conversation_only: bool,
}
