//! What others see of a channel.

use std::net::SocketAddr;

use bitchat_wire::{
    channel::ChannelId,
    event::EventId,
    identity::{DeviceId, IdentityId},
};

use crate::{discovery::Source, store::StoreError, transport::PathKind};

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
    /// What it is.
    pub kind: EventKind,
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
    /// Whether this is us.
    pub me: bool,
    /// Whether a link is up (oneself: yes).
    pub online: bool,
    /// The best link's path.
    pub path: Option<PathView>,
    /// A device of this member signed two events with one number; its log is closed.
    pub forked: bool,
}

/// How a member is reached.
#[derive(Clone, Debug)]
pub struct PathView {
    /// What kind.
    pub kind: PathKind,
    /// The member's address.
    pub address: SocketAddr,
    /// Who found it.
    pub source: Option<Source>,
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
