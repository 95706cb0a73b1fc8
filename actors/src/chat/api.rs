//! What programs see of a conversation.

use bitchat_wire::{
    channel::ChannelId,
    event::{BodyError, EventId, TextError},
    identity::{DeviceId, IdentityId},
};

use super::fold::Reaction;
use crate::{
    channel::{ChannelError, PathView},
    store::StoreError,
};

/// How complete the mesh is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// There are other members, and each of them is linked.
    Full,
    /// Some of the other members are linked.
    Partial,
    /// No other member is linked, or none is known.
    None,
}

/// How far a message of ours has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is on our disk; no member was linked since.
    Waiting,
    /// It was sent on at least one link.
    Sent,
    /// At least one member has it.
    Delivered,
}

/// How many members have an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryState {
    /// The state in one word.
    pub progress: Progress,
    /// The number of members other than the author that acknowledged it.
    pub delivered: usize,
    /// The number of members other than the author.
    pub of: usize,
    /// How many of these have read it, as far as they publish read marks.
    pub read: usize,
}

/// An event as it is shown.
#[derive(Clone, Debug)]
pub struct EventView {
    /// Its cursor in the order of arrival here.
    pub position: u64,
    /// The channel that it belongs to.
    pub cid: ChannelId,
    /// Its id.
    pub id: EventId,
    /// The author's identity.
    pub author: IdentityId,
    /// The author's name, as signed by the author; empty when unknown.
    pub author_name: String,
    /// The author's device that signed it.
    pub device: DeviceId,
    /// Its number in that device's log.
    pub seq: u64,
    /// Lamport time.
    pub lamport: u64,
    /// Unix milliseconds by the author's clock, but never more than 5 minutes past its arrival here.
    pub time_ms: u64,
    /// Its kind and contents; for a text, those shown now.
    pub kind: EventKind,
    /// For a text: the event that it answers, which may be unknown here. `None` if it answers none.
    pub reply_to: Option<EventId>,
    /// For a text: whether its author edited it.
    pub edited: bool,
    /// For a text: whether its author deleted it; its contents are not shown then.
    pub deleted: bool,
    /// For a text: the reactions to it, the earliest first.
    pub reactions: Vec<Reaction>,
    /// For a text: the members that it mentions.
    pub mentions: Vec<IdentityId>,
    /// How many members have it.
    pub state: DeliveryState,
}

/// The kind of an event, with its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The first event of a device's log.
    Joined,
    /// A message.
    Text(String),
    /// The author's name.
    Profile(String),
    /// The author left.
    Left,
    /// The author edited one of its texts. The text's own view shows the result.
    Edit {
        /// The text that it changes.
        target: EventId,
        /// The new contents.
        text: String,
    },
    /// The author deleted one of its texts.
    Delete {
        /// The text that it deletes.
        target: EventId,
    },
    /// The author's reactions to a text; they replace its earlier ones.
    React {
        /// The text that it is about.
        target: EventId,
        /// All of the author's emoji; empty if it has none any more.
        emoji: Vec<String>,
    },
    /// The author's read mark.
    Read,
    /// The author's new picture, or its removal.
    Picture,
    /// The author's status line; empty if it was removed.
    Status(String),
    /// A kind that this program does not know.
    Unknown,
}

/// A member, ourselves included.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Its Bit Chat ID.
    pub id: IdentityId,
    /// The name signed by the member; empty when unknown.
    pub name: String,
    /// The member's status line; empty when there is none.
    pub status: String,
    /// The event that holds the member's picture; `None` without a picture.
    pub picture: Option<EventId>,
    /// Whether it sent a typing notice in the last 10 seconds, and no text since.
    pub typing: bool,
    /// Whether this is us.
    pub me: bool,
    /// Whether a link is up. For ourselves, always true.
    pub online: bool,
    /// The path of its best link; `None` without a link.
    pub path: Option<PathView>,
    /// Whether one of its devices signed two events with one number, and its log was closed.
    pub forked: bool,
}

#[cfg(test)]
impl MemberView {
    /// A member of which only the id is known.
    pub(super) fn unknown(id: IdentityId) -> Self {
        Self {
            id,
            name: String::new(),
            status: String::new(),
            picture: None,
            typing: false,
            me: false,
            online: false,
            path: None,
            forked: false,
        }
    }
}

/// A place in the order of arrival, from which a [`super::Follow`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// The first event that is stored here.
    Start,
    /// The end: only what arrives from now on.
    Now,
    /// The event after this cursor ([`EventView::position`]).
    After(u64),
}

/// Why a chat refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// The text, of this many bytes, is empty or longer than 65,536 bytes.
    #[error("a message has 1 to 65,536 bytes, this one has {0}")]
    BadText(usize),
    /// Something else in the event is out of bounds.
    #[error("{0}")]
    BadBody(BodyError),
    /// There is no event with this id here.
    #[error("no such event in this channel")]
    NoEvent,
    /// No event's id begins with these digits.
    #[error("no event of this channel has an id that begins with {0}")]
    NoMatch(String),
    /// Several events' ids begin with these digits.
    #[error("several ids begin with {0}: use more of it")]
    Ambiguous(String),
    /// Only texts can be edited, deleted and reacted to.
    #[error("that event is not a message")]
    NotText,
    /// Only the author can edit or delete a text.
    #[error("that message is somebody else's: only its author can change it")]
    NotOurs,
    /// The text was deleted.
    #[error("that message was deleted")]
    Deleted,
    /// The channel refused.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<TextError> for ChatError {
    fn from(error: TextError) -> Self {
        BodyError::from(error).into()
    }
}

impl From<BodyError> for ChatError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Text(TextError::Empty) => Self::BadText(0),
            BodyError::Text(TextError::TooLong(len)) => Self::BadText(len),
            error => Self::BadBody(error),
        }
    }
}
