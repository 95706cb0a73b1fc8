//! What a channel gives to links, and what it gets from them.

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
    /// Signs our events and handshakes.
    pub key: DeviceKey,
    /// Says whose device it is.
    pub certificate: Certificate,
}

/// Whom a channel lets link, once they proved to hold its key.
#[derive(Clone, Default)]
pub enum Accept {
    /// Everybody.
    #[default]
    Anyone,
    /// Only these.
    Roster(Arc<HashSet<IdentityId>>),
}

impl Accept {
    pub(crate) fn allows(&self, identity: &IdentityId) -> bool {
        match self {
            Self::Anyone => true,
            Self::Roster(roster) => roster.contains(identity),
        }
    }
}

/// A channel that may be linked.
#[derive(Clone)]
pub struct Registration {
    /// Which.
    pub cid: ChannelId,
    /// The keys of its present epoch.
    pub keys: EpochKeys,
    /// Who we are.
    pub local: Arc<LocalDevice>,
    /// Whom it lets in.
    pub accept: Accept,
    /// What `hello` says of our program.
    pub agent: String,
    /// Where its links report.
    pub events: mpsc::Sender<LinkEvent>,
    /// Notified when a link's writer has taken messages: there is room again.
    pub room: Arc<Notify>,
}

/// What a link tells its channel.
pub enum LinkEvent {
    /// A member is linked.
    Up(Box<LinkUp>),
    /// A message came.
    Message {
        /// On which link.
        link: LinkId,
        /// What it says.
        message: Inbound,
    },
    /// The link ended: the last word of each link.
    Closed {
        /// Which.
        link: LinkId,
        /// Why.
        reason: CloseReason,
    },
}

/// A new link.
pub struct LinkUp {
    /// How to use it.
    pub handle: LinkHandle,
    /// Whose device is at the other end.
    pub peer: Certificate,
    /// Whether we sent the first message.
    pub initiator: bool,
    /// How the member was found; `None` when it came to us, or the link moved here.
    pub source: Option<FoundBy>,
    /// What the member's program calls itself (hostile text).
    pub agent: String,
}

/// A message from a member, decoded within its caps; signatures of events are verified.
#[derive(Debug)]
pub enum Inbound {
    /// Events, pushed or asked for.
    Events {
        /// In the order sent.
        events: Vec<Event>,
        /// Whether they answer our `want`.
        backfill: bool,
    },
    /// What the member has.
    Claims {
        /// By device.
        claims: Vec<proto::Claim>,
        /// From `have`, not `ack`.
        initial: bool,
    },
    /// To whom the member is linked.
    Peers(proto::Peers),
    /// The ids of a log's events.
    Ids(proto::Ids),
    /// Two events that a device signed with one number.
    Fork(Box<(Event, Event)>),
    /// The member types.
    Typing,
}

impl Inbound {
    /// What a message without signatures in it says to the channel; `None` for other kinds.
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
    /// The member said so.
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
            Self::Protocol(why) => write!(f, "protocol broken by the peer: {why}"),
            Self::Dropped => f.write_str("dropped"),
        }
    }
}

/// How a channel uses a link. Cheap to clone.
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
    /// Its number.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// The connection it runs on.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Hands over an encoded message. Holders of a credit always find room: a link begins with
    /// [`LINK_MAILBOX`](super::LINK_MAILBOX) credits, a message costs one, [`LinkHandle::take_credits`] returns them.
    pub fn try_send(&self, message: Bytes) -> bool {
        self.live.try_send(message).is_ok()
    }

    /// How many messages the writer took since the last call.
    pub fn take_credits(&self) -> usize {
        self.taken.swap(0, Ordering::Relaxed)
    }

    /// Claims to be sent when the writer has room: newer ones of a device replace older ones.
    pub fn ack(&self, claims: impl IntoIterator<Item = proto::Claim>) {
        self.acks.put(claims);
    }

    /// Says goodbye and closes. Only the first call counts.
    pub fn close(&self, reason: proto::bye::Reason) {
        self.close.send_if_modified(|present| {
            let first = present.is_none();
            if first {
                *present = Some(reason);
            }
            first
        });
    }

    /// The time from here to the member's reader and back; `None` when the link ends first, or has no room now.
    pub async fn ping(&self) -> Option<Duration> {
        let begin = Instant::now();
        let (nonce, answered) = self.pings.begin();
        let ping = message::encode(Kind::Ping(proto::Ping { nonce }));
        self.live.try_send(ping.into()).ok()?;
        answered.await.ok()?;
        Some(begin.elapsed())
    }

    /// Renews the keys now rather than when they are due.
    pub fn renew(&self) {
        self.renew.notify_one();
    }
}
