//! The interface between channels and links: registration, events, and the handle to a link.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    event::Event,
    identity::{Certificate, DeviceKey, IdentityId},
    message,
    proto::{self, link_message::Kind},
};
use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};

use super::{Acks, pings::Pings};
use crate::{discovery::FoundBy, transport::Connection};

/// A link's number within this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// Our device's key and our identity's certificate of it.
pub struct LocalDevice {
    /// The key that signs our events and handshakes.
    pub key: DeviceKey,
    /// The certificate of the device's identity.
    pub certificate: Certificate,
}

/// Which identities may link for a channel, once they have proved that they hold its key.
#[derive(Clone, Default)]
pub enum Accept {
    /// All identities.
    #[default]
    Anyone,
    /// Only the identities on this roster.
    Roster(Arc<HashSet<IdentityId>>),
}

impl Accept {
    /// Whether an identity may link.
    pub(crate) fn allows(&self, identity: &IdentityId) -> bool {
        match self {
            Self::Anyone => true,
            Self::Roster(roster) => roster.contains(identity),
        }
    }
}

/// A channel for which members may link.
#[derive(Clone)]
pub struct Registration {
    /// The channel's id.
    pub cid: ChannelId,
    /// The keys of its current epoch.
    pub keys: EpochKeys,
    /// Our device.
    pub local: Arc<LocalDevice>,
    /// Which identities may link.
    pub accept: Accept,
    /// Our program's name and version, as sent in `hello`.
    pub agent: String,
    /// The queue to which its links report.
    pub events: mpsc::Sender<LinkEvent>,
    /// Notified when a link's writer has taken messages, so that there is room again.
    pub room: Arc<Notify>,
}

/// A report of a link to its channel.
pub enum LinkEvent {
    /// A member is linked.
    Up(Box<LinkUp>),
    /// A message arrived.
    Message {
        /// The link it arrived on.
        link: LinkId,
        /// Its content.
        message: Inbound,
    },
    /// The link ended. Every link that came up reports this once, as its last event.
    Closed {
        /// The link that ended.
        link: LinkId,
        /// Why it ended.
        reason: CloseReason,
    },
}

/// A new link.
pub struct LinkUp {
    /// The handle for using it.
    pub handle: LinkHandle,
    /// The certificate of the device at the other end.
    pub peer: Certificate,
    /// Whether we sent the handshake's first message.
    pub initiator: bool,
    /// How the member was found; `None` if it connected to us, or the link moved here.
    pub source: Option<FoundBy>,
    /// The name and version of the member's program, as it sent them. Untrusted text.
    pub agent: String,
}

/// A message from a member, decoded within its caps; signatures of events are verified.
#[derive(Debug)]
pub enum Inbound {
    /// Events, pushed or requested.
    Events {
        /// The events in the order sent.
        events: Vec<Event>,
        /// Whether they answer our `want`.
        backfill: bool,
    },
    /// What the member claims to have.
    Claims {
        /// One claim per device.
        claims: Vec<proto::Claim>,
        /// Whether they come from `have`, not `ack`.
        initial: bool,
    },
    /// The member's links.
    Peers(proto::Peers),
    /// Ids of a log's events.
    Ids(proto::Ids),
    /// Two events that a device signed with one number.
    Fork(Box<(Event, Event)>),
    /// The member is typing.
    Typing,
}

impl Inbound {
    /// The channel's view of a message that carries no signatures; `None` for other kinds.
    pub(crate) fn unsigned(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Have(have) => Self::Claims {
                claims: have.claims,
                initial: true,
            },
            Kind::Ack(ack) => Self::Claims {
                claims: ack.claims,
                initial: false,
            },
            Kind::Peers(peers) => Self::Peers(peers),
            Kind::Ids(ids) => Self::Ids(ids),
            Kind::Typing(_) => Self::Typing,
            _ => return None,
        })
    }
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// We closed it.
    Ours(proto::bye::Reason),
    /// The member closed it.
    Theirs(proto::bye::Reason),
    /// The stream or connection broke.
    Broken(String),
    /// The member broke the protocol.
    Protocol(String),
    /// The link's task was dropped or panicked.
    Dropped,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ours(reason) => write!(f, "closed here ({reason:?})"),
            Self::Theirs(reason) => write!(f, "closed there ({reason:?})"),
            Self::Broken(why) => write!(f, "broken: {why}"),
            Self::Protocol(why) => write!(f, "the peer broke the protocol: {why}"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

/// A channel's handle to a link. Cheap to clone.
#[derive(Clone)]
pub struct LinkHandle {
    pub(super) id: LinkId,
    pub(super) live: mpsc::Sender<Bytes>,
    pub(super) acks: Arc<Acks>,
    pub(super) taken: Arc<AtomicUsize>,
    pub(super) close: watch::Sender<Option<proto::bye::Reason>>,
    pub(super) renew: Arc<Notify>,
    pub(super) pings: Arc<Pings>,
    pub(super) connection: Connection,
}

impl LinkHandle {
    /// The link's number.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// The connection that it runs on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Queues an encoded message; false if there is no room or the link has ended. A caller that holds a credit always
    /// finds room: a link begins with [`LINK_MAILBOX`](super::LINK_MAILBOX) credits, a message costs one, and
    /// [`LinkHandle::take_credits`] returns them.
    pub fn try_send(&self, message: Bytes) -> bool {
        self.live.try_send(message).is_ok()
    }

    /// Number of messages that the writer took since the last call.
    pub fn take_credits(&self) -> usize {
        self.taken.swap(0, Ordering::Relaxed)
    }

    /// Sends claims when the writer has room. Newer claims of a device replace older ones.
    pub fn ack(&self, claims: impl IntoIterator<Item = proto::Claim>) {
        self.acks.put(claims);
    }

    /// Sends a goodbye and closes the link. Only the first call counts.
    pub fn close(&self, reason: proto::bye::Reason) {
        self.close.send_if_modified(|present| {
            let first = present.is_none();
            if first {
                *present = Some(reason);
            }
            first
        });
    }

    /// Measures the time to the member's reader and back; `None` if the link ends first, or has no room now.
    pub async fn ping(&self) -> Option<Duration> {
        let begin = Instant::now();
        let (nonce, answered) = self.pings.begin();
        let ping = message::encode(Kind::Ping(proto::Ping { nonce }));
        self.live.try_send(ping.into()).ok()?;
        answered.await.ok()?;
        Some(begin.elapsed())
    }

    /// Renews the link's keys now rather than when they are due.
    pub fn renew(&self) {
        self.renew.notify_one();
    }
}
