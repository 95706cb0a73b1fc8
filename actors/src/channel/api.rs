//! What a channel shows to the modules above it.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use bitchat_wire::{
    channel::ChannelId,
    event::Event,
    identity::{DeviceId, IdentityId},
};
use futures_util::future::BoxFuture;

use crate::{
    discovery::Provenance,
    store::{LogHead, StoreError},
    transport::{PathKind, Relay, Target},
};

/// A capability's view of a channel: it is shown every event after its commit, and keeps what it needs of them.
///
/// All methods are called by the channel's actor, in the order in which things happened. They must return at once; only the
/// futures may wait.
pub trait Reader: Send {
    /// Loads the reader's state at the start of a life of the channel, before anything is committed. `heads` are the logs
    /// that the store has. Returns bodies of events that our own log lacks; the channel appends them after the log's first
    /// event and before anything else.
    fn load<'a>(
        &'a mut self,
        heads: &'a [LogHead],
    ) -> BoxFuture<'a, Result<Vec<Vec<u8>>, StoreError>>;

    /// Takes an event of `who`, our own included, once it is on the disk.
    fn committed(&mut self, who: IdentityId, event: &Event);

    /// Takes an ephemeral signal that a member sent.
    fn signal(&mut self, who: IdentityId, signal: Signal);

    /// Notes that a member's last link went down.
    fn gone(&mut self, who: IdentityId);

    /// Recomputes what is known of `who` from the store, after a proven fork removed events from the log of one of its
    /// devices.
    fn removed(&mut self, who: IdentityId) -> BoxFuture<'static, ()>;
}

/// Builds a [`Reader`] for each life of a channel.
pub type ReaderFactory = Arc<dyn Fn() -> Box<dyn Reader> + Send + Sync>;

/// An ephemeral signal to the members that are linked: in no log, and lost to whoever is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// Our user is typing. Sent at most every 5 seconds.
    Typing,
}

/// A channel at one moment.
#[derive(Clone, Debug)]
pub struct State {
    /// Every identity that has a log or a link here, and our own; in the order of their ids.
    pub members: Vec<MemberState>,
    /// Delivery marks: for each author's device, below which number each member has its events.
    pub marks: HashMap<[u8; 32], BTreeMap<IdentityId, u64>>,
    /// Our identity.
    pub me: IdentityId,
    /// Our device.
    pub my_device: DeviceId,
    /// Our events below this number were sent on at least one link.
    pub sent_to: u64,
    /// Why arriving events cannot be stored at the moment (the disk is full, for example); `None` if they can.
    pub trouble: Option<String>,
}

/// One identity in a [`State`].
#[derive(Clone, Debug)]
pub struct MemberState {
    /// Its Bit Chat ID.
    pub id: IdentityId,
    /// Whether a link is up. For ourselves, always true.
    pub online: bool,
    /// The path of its best link; `None` without a link.
    pub path: Option<PathView>,
    /// Whether the log of one of its devices was closed by a fork.
    pub forked: bool,
}

/// How a member is reached.
#[derive(Clone, Debug)]
pub struct PathView {
    /// The kind of connection.
    pub kind: PathKind,
    /// The member's address.
    pub address: Target,
    /// The relay that carries the connection; `None` if it is direct.
    pub via: Option<Relay>,
    /// The source that found the address; `None` if the member connected to us.
    pub source: Option<Provenance>,
    /// Time to the connection, counted from when the address was learned or the link there was lost; `None` if the
    /// member connected to us.
    pub took: Option<Duration>,
    /// Round-trip time, in milliseconds.
    pub rtt_ms: f64,
}

/// A change in one of a node's channels. A receiver that lags re-reads the store from its last position.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// An event was committed.
    Committed {
        /// The event's channel.
        cid: ChannelId,
        /// The event's cursor.
        position: u64,
    },
    /// A member has more of our events: the delivery state of those below `next` may have changed.
    Delivered {
        /// The channel of the events.
        cid: ChannelId,
        /// The member that has them.
        member: IdentityId,
        /// The number below which it has all of our events.
        next: u64,
    },
    /// A member's first link came up, or its last one went down.
    Member {
        /// The channel of the link.
        cid: ChannelId,
        /// The member.
        member: IdentityId,
        /// True if the link came up.
        online: bool,
    },
    /// A member is typing. To be shown for 10 seconds, or until a text of that member arrives.
    Typing {
        /// The channel in which it types.
        cid: ChannelId,
        /// The member.
        member: IdentityId,
    },
    /// A device was proven to have signed two events with one number.
    Forked {
        /// The channel of the log.
        cid: ChannelId,
        /// The owner of the device.
        member: IdentityId,
    },
    /// A channel was joined or left.
    Channels,
}

impl ChannelEvent {
    /// The channel that it is about; `None` if it is about all of them.
    pub fn channel(&self) -> Option<ChannelId> {
        match self {
            Self::Committed { cid, .. }
            | Self::Delivered { cid, .. }
            | Self::Member { cid, .. }
            | Self::Typing { cid, .. }
            | Self::Forked { cid, .. } => Some(*cid),
            Self::Channels => None,
        }
    }
}

/// Why a channel refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The event's body, of this many bytes, is longer than an event may be.
    #[error("an event of {0} bytes is too long")]
    TooLong(usize),
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
