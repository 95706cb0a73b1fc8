//! What others see of a channel.

use std::time::Duration;

use bitchat_wire::{
    channel::ChannelId,
    event::{BodyError, EventId},
    identity::{DeviceId, IdentityId},
};

use super::fold::Reaction;
use crate::{
    discovery::Source,
    store::StoreError,
    transport::{PathKind, Relay, Target},
};

/// How much of the mesh is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mesh {
    /// Every other known member is linked, and there is one.
    Full,
    /// Some are.
    Partial,
    /// None is, or none is known.
    None,
}

/// How far a message of ours has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is kept here; nobody was linked.
    Waiting,
    /// It was handed to at least one link.
    Sent,
    /// At least one member has it.
    Delivered,
}

/// How many members have an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryState {
    /// In one word.
    pub progress: Progress,
    /// Members (identities other than the author) that have it, by their own word.
    pub delivered: usize,
    /// Members other than the author.
    pub of: usize,
    /// Of these, how many say that they have read so far. Members say so only if they want to.
    pub read: usize,
}

/// An event as users see it.
#[derive(Clone, Debug)]
pub struct EventView {
    /// Its cursor in the order of arrival here.
    pub position: u64,
    /// The channel.
    pub cid: ChannelId,
    /// Its id.
    pub id: EventId,
    /// Who wrote it.
    pub author: IdentityId,
    /// The author's name, as signed by the author; empty when unknown.
    pub author_name: String,
    /// On which device.
    pub device: DeviceId,
    /// Its number in that device's log.
    pub seq: u64,
    /// Lamport time.
    pub lamport: u64,
    /// Unix milliseconds by the author's clock, but never more than 5 minutes past its arrival here.
    pub time_ms: u64,
    /// What it is; a text as it is shown now.
    pub kind: EventKind,
    /// Of a text: the event that it answers, which may be unknown here.
    pub reply_to: Option<EventId>,
    /// Of a text: its author changed it.
    pub edited: bool,
    /// Of a text: its author took it back, and its words are not shown.
    pub deleted: bool,
    /// Of a text: what members feel about it, the earliest first.
    pub reactions: Vec<Reaction>,
    /// Of a text: the members that it mentions.
    pub mentions: Vec<IdentityId>,
    /// How far it has come.
    pub state: DeliveryState,
}

/// What an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// The first event of a device's log.
    Joined,
    /// A line of talk.
    Text(String),
    /// The author's name.
    Profile(String),
    /// The author left.
    Left,
    /// The author changes one of its texts. What the text shows now is in the text's own view.
    Edit {
        /// The text.
        target: EventId,
        /// What it says from here on.
        text: String,
    },
    /// The author takes one of its texts back.
    Delete {
        /// The text.
        target: EventId,
    },
    /// All that the author now feels about a text.
    React {
        /// The text.
        target: EventId,
        /// Nothing any more, when empty.
        emoji: Vec<String>,
    },
    /// The author says how far it has read.
    Read,
    /// The author has another picture, or none.
    Picture,
    /// A line about the author; empty: none any more.
    Status(String),
    /// A kind that this program does not know.
    Unknown,
}

/// A member, oneself included.
#[derive(Clone, Debug)]
pub struct MemberView {
    /// Who.
    pub id: IdentityId,
    /// The name signed by the member; empty when unknown.
    pub name: String,
    /// The member's line about itself; empty when there is none.
    pub status: String,
    /// The event that holds the member's picture.
    pub picture: Option<EventId>,
    /// The member was heard typing in the last 10 seconds.
    pub typing: bool,
    /// Whether this is us.
    pub me: bool,
    /// Whether a link is up (oneself: yes).
    pub online: bool,
    /// The best link's path.
    pub path: Option<PathView>,
    /// A device of this member signed two events with one number; its log is closed.
    pub forked: bool,
}

#[cfg(test)]
impl MemberView {
    /// Of somebody of whom nothing is known but who it is.
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

/// How a member is reached.
#[derive(Clone, Debug)]
pub struct PathView {
    /// What kind.
    pub kind: PathKind,
    /// The member's address.
    pub address: Target,
    /// The relay that it goes through.
    pub via: Option<Relay>,
    /// Who found it; `None`: it came to us.
    pub source: Option<Source>,
    /// From the first word of its address, or the loss of the link there, to the connection.
    pub took: Option<Duration>,
    /// Round trip, in milliseconds.
    pub rtt_ms: f64,
}

/// What happened in the channels of a node. A receiver that lags re-reads the store from its last position.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// An event was committed.
    Committed {
        /// Where.
        cid: ChannelId,
        /// Its cursor.
        position: u64,
    },
    /// More members have our events: the delivery state of events of ours below `next` may have changed.
    Delivered {
        /// Where.
        cid: ChannelId,
        /// The member.
        member: IdentityId,
        /// It has all of our events below this number.
        next: u64,
    },
    /// A member's first link came up, or its last one went down.
    Member {
        /// Where.
        cid: ChannelId,
        /// Who.
        member: IdentityId,
        /// Up or down.
        online: bool,
    },
    /// A member is writing. To be shown for 10 seconds, or until a text of that member comes.
    Typing {
        /// Where.
        cid: ChannelId,
        /// Who.
        member: IdentityId,
    },
    /// A device was proven to have signed two events with one number.
    Forked {
        /// Where.
        cid: ChannelId,
        /// Whose device.
        member: IdentityId,
    },
    /// A channel was joined or left.
    Channels,
}

/// Why a channel did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The text is empty or longer than 65,536 bytes.
    #[error("a message has 1 to 65,536 bytes, this one has {0}")]
    BadText(usize),
    /// Something else of it does not fit.
    #[error("{0}")]
    BadBody(BodyError),
    /// The event that is to be answered, changed, judged or shown is not here.
    #[error("no such event in this channel")]
    NoEvent,
    /// Only texts are edited, deleted and reacted to.
    #[error("that event is no message")]
    NotText,
    /// Only one's own texts are edited and deleted.
    #[error("that message is somebody else's: only its author can change it")]
    NotOurs,
    /// It was deleted.
    #[error("that message was deleted")]
    Deleted,
    /// Our own log was closed by a fork: this device can write no more here.
    #[error(
        "this device's log was closed, because it signed two different events with one number (was its database restored from a copy?)"
    )]
    Closed,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store refused a moment ago, and is not asked again at once.
    #[error("{0}")]
    Trouble(String),
    /// The channel has stopped or is too busy.
    #[error("the channel does not answer")]
    Gone,
}
