//! What goes into the channel's machine, and what comes out of it.

use std::time::Instant;

use bitchat_wire::{
    event::{Event, EventId},
    identity::{Certificate, IdentityId},
    proto::{self, bye::Reason},
};
use bytes::Bytes;
use libp2p_identity::PeerId;

use super::{ChannelError, logs::Device};
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

/// What happens to a channel.
pub(super) enum Input {
    /// A link came up.
    Up(Box<Up>),
    /// A link ended.
    Down(LinkId),
    /// A member says something.
    Message(LinkId, Inbound),
    /// A link's writer took so many messages.
    Room(LinkId, usize),
    /// The user says something.
    Say {
        /// To be answered with [`Effect::Said`].
        token: u64,
        /// The event's body.
        body: Vec<u8>,
        /// The user's idempotency key.
        key: Option<String>,
    },
    /// The user is writing.
    Typing,
    /// A commit was done; positions of its events.
    Committed(u64, Vec<u64>),
    /// Ids were compared: ours differ first at this event of ours.
    FirstDifference(LinkId, Event),
    /// A fork was proven.
    Proven(Box<(Event, Event)>),
    /// Others can reach us there, and at what they see for themselves.
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
    /// Whether others can dial it there, as far as we know.
    pub(super) dialable: bool,
    pub(super) connection: ConnectionId,
    /// The handshake was started by the client of the TLS session.
    pub(super) client_initiated: bool,
    /// Its connection was to end already when it came up.
    pub(super) draining: bool,
    /// Messages that the link's mailbox takes.
    pub(super) credits: usize,
}

/// What the shell is to do.
#[derive(Debug)]
pub(super) enum Effect {
    /// Commit, then tell [`Input::Committed`]. In order.
    Commit(u64, Vec<NewEvent>),
    /// Hand a message to a link; a credit was spent.
    Send(LinkId, Bytes),
    /// Claims for a link to send when it has room.
    Ack(LinkId, Vec<proto::Claim>),
    /// End a link.
    Close(LinkId, Reason),
    /// Answer the user.
    Said(u64, Result<EventId, ChannelError>),
    /// Keep delivery marks.
    Keep(Vec<Delivery>),
    /// Send our ids of a log's events `from..to` to a link.
    SendIds(LinkId, Device, u64, u64),
    /// Compare a link's ids with ours.
    Compare(LinkId, proto::Ids),
    /// Compare an event with ours of the same number.
    CompareEvent(Box<Event>),
    /// Keep a proof and close the log.
    CloseLog(Box<(Event, Event)>),
    /// A member, whose own PeerId comes last, named another's addresses.
    Hint(PeerId, Vec<Target>, bool, PeerId),
    /// Tell whoever listens.
    Note(Note),
}

/// What users may want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Note {
    Committed(u64),
    Delivered(IdentityId, u64),
    Member(IdentityId, bool),
    Forked(IdentityId),
    Typing(IdentityId),
    /// Something was refused for a reason that a user should know.
    Refused(&'static str),
}
