//! The inputs of the channel's machine, and its effects.

use std::time::Instant;

use bitchat_wire::{
    event::{Event, EventId},
    identity::{Certificate, IdentityId},
    proto::{self, bye::Reason},
};
use bytes::Bytes;
use libp2p_identity::PeerId;

use super::{ChannelError, device::Device};
use crate::{
    link::{Inbound, LinkId},
    store::{Delivery, NewEvent},
    transport::{ConnectionId, Target},
};

/// The time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// Monotonic.
    pub(super) at: Instant,
    /// Unix milliseconds.
    pub(super) wall_ms: u64,
}

/// Something that happened to a channel.
pub(super) enum Input {
    /// A link came up.
    Up(Box<Up>),
    /// A link ended.
    Down(LinkId),
    /// A member's message arrived.
    Message(LinkId, Inbound),
    /// A link's writer took this many messages.
    Room(LinkId, usize),
    /// The user appends an event to our log.
    Append {
        /// Identifies the request in [`Effect::Appended`].
        token: u64,
        /// The event's body.
        body: Vec<u8>,
        /// The user's idempotency key.
        key: Option<String>,
    },
    /// The user is typing.
    Typing,
    /// A commit ended; the positions of its events.
    Committed(u64, Vec<u64>),
    /// Ids of a log were compared with a link's: this is our first event that differs.
    FirstDifference(LinkId, Event),
    /// A fork was proven, by these two events.
    Proven(Box<(Event, Event)>),
    /// Our advertised addresses changed. Those that members see for themselves are not among them.
    Reachable(Vec<Target>),
    /// Time passed.
    Tick,
}

/// A link that came up.
pub(super) struct Up {
    pub(super) link: LinkId,
    pub(super) peer: Certificate,
    pub(super) peer_id: PeerId,
    pub(super) remote: Target,
    /// Whether others can dial it at `remote`, as far as we know.
    pub(super) dialable: bool,
    pub(super) connection: ConnectionId,
    /// Whether the handshake was started by the client of the TLS session.
    pub(super) client_initiated: bool,
    /// Whether its connection was already draining when it came up.
    pub(super) draining: bool,
    /// Messages that the link's mailbox takes.
    pub(super) credits: usize,
}

/// What the shell is to do.
#[derive(Debug)]
pub(super) enum Effect {
    /// Commits events, then reports [`Input::Committed`]. In order.
    Commit(u64, Vec<NewEvent>),
    /// Hands a message to a link; a credit was spent for it.
    Send(LinkId, Bytes),
    /// Gives a link claims to send when it has room.
    Ack(LinkId, Vec<proto::Claim>),
    /// Closes a link.
    Close(LinkId, Reason),
    /// Answers an [`Input::Append`].
    Appended(u64, Result<EventId, ChannelError>),
    /// Stores delivery marks.
    KeepMarks(Vec<Delivery>),
    /// Sends a link our ids of a log's events `from..to`.
    SendIds(LinkId, Device, u64, u64),
    /// Compares a link's ids with ours.
    Compare(LinkId, proto::Ids),
    /// Compares an event with ours of the same number.
    CompareEvent(Box<Event>),
    /// Stores a proof and closes the log.
    CloseLog(Box<(Event, Event)>),
    /// Passes addresses of a peer to discovery: the peer, its addresses, whether local ones may be tried, and the PeerId
    /// of the member that sent them.
    Hint(PeerId, Vec<Target>, bool, PeerId),
    /// Notifies the channel's users.
    Notify(Notice),
}

/// A change that users may want to know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    /// An event is on the disk, at this position.
    Committed(u64),
    /// A member has our events below this number.
    Delivered(IdentityId, u64),
    /// A member is linked now (true), or no longer.
    Member(IdentityId, bool),
    /// A device of this identity has forked its log.
    Forked(IdentityId),
    /// A member is typing.
    Typing(IdentityId),
    /// An event was refused, for this reason.
    Refused(&'static str),
}
