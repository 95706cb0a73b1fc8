//! What others ask of the store. All times are Unix milliseconds unless a name says otherwise.

use std::{net::SocketAddr, path::Path};

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::{Certificate, DeviceId, IdentityId},
};

use crate::kit::Scope;

/// Why the store did not do it. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database was written by a newer program.
    #[error(
        "the database is of version {found}, this program knows up to {known}: use the newer program, or another home"
    )]
    Newer {
        /// `user_version` found.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// No room on the disk.
    #[error("the disk is full: free some space, then try again")]
    DiskFull,
    /// An event does not follow the last one of its log: the caller's view is stale.
    #[error("event {seq} does not follow the log of its device")]
    Gap {
        /// The refused event's number.
        seq: u64,
    },
    /// The idempotency key was used: this is what it made.
    #[error("this key was used already")]
    KeyUsed(EventId),
    /// No such channel.
    #[error("no such channel")]
    NoChannel,
    /// The store's thread is gone or busy for too long.
    #[error("the store does not answer")]
    Gone,
    /// Anything else that SQLite says.
    #[error("the database failed: {0}")]
    Database(String),
}

/// A channel of this profile.
#[derive(Clone)]
pub struct ChannelRecord {
    /// Its id.
    pub cid: ChannelId,
    /// The bytes of its file (a secret).
    pub file: Vec<u8>,
    /// When it was created or joined here.
    pub joined_ms: u64,
}

/// The state of one device's log in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// Whose device, as certified in event 0.
    pub certificate: Certificate,
    /// History below it was pruned.
    pub floor: u64,
    /// The number of the next event.
    pub next: u64,
    /// The id of the last event.
    pub head: EventId,
    /// The Lamport time of the last event.
    pub lamport: u64,
    /// A fork was proven: from this number on the log is closed.
    pub closed_at: Option<u64>,
}

/// An event to be kept.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event, verified or our own.
    pub event: Event,
    /// When it arrived here.
    pub arrival_ms: u64,
    /// For our own: the caller's idempotency key.
    pub key: Option<String>,
    /// Who wrote it.
    pub identity: IdentityId,
}

/// An event as the log shows it.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its place in the order of arrival here: the cursor of event streams. Grows, never reused.
    pub position: u64,
    /// The channel.
    pub cid: ChannelId,
    /// The event.
    pub event: Event,
    /// Who wrote it.
    pub author: IdentityId,
    /// When it arrived here.
    pub arrival_ms: u64,
}

/// How far one member device has another device's log, by its own word on its own link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// Who has it.
    pub member: DeviceId,
    /// The member's identity.
    pub identity: IdentityId,
    /// Whose log.
    pub author: DeviceId,
    /// It has all below this number.
    pub next: u64,
}

/// An address at which a member was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPeer {
    /// Who.
    pub identity: IdentityId,
    /// Where.
    pub address: SocketAddr,
    /// When it last worked.
    pub last_ok_ms: u64,
}

/// A page of a channel's log to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageQuery {
    /// Only what comes before this event in the channel's order (lamport, device, seq).
    pub before: Option<EventId>,
    /// At most this many (capped at 1,000).
    pub limit: usize,
    /// Only conversation (text) events, not profiles and first events.
    pub conversation_only: bool,
}

/// A handle to the store. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    _p: (),
}

#[expect(unused_variables, reason = "skeleton")]
impl Store {
    /// Opens (or makes) the database and starts its threads in `scope`; migrates it, after a copy.
    pub async fn open(path: &Path, scope: &Scope) -> Result<Self, StoreError> {
        todo!()
    }

    // -- settings of the node (device key, reset key, port) ------------------------------------

    /// A named value.
    pub async fn value(
        &self,
        name: &str,
    ) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, StoreError> {
        todo!()
    }
    /// Keeps a named value.
    pub async fn set_value(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        todo!()
    }

    // -- channels ------------------------------------------------------------------------------

    /// Keeps a channel; its file is replaced when the channel is there already.
    pub async fn put_channel(&self, channel: ChannelRecord) -> Result<(), StoreError> {
        todo!()
    }
    /// All channels.
    pub async fn channels(&self) -> Result<Vec<ChannelRecord>, StoreError> {
        todo!()
    }
    /// Forgets a channel and all that belongs to it.
    pub async fn remove_channel(&self, cid: ChannelId) -> Result<(), StoreError> {
        todo!()
    }

    // -- logs ------------------------------------------------------------------------------------

    /// The logs of a channel.
    pub async fn heads(&self, cid: ChannelId) -> Result<Vec<LogHead>, StoreError> {
        todo!()
    }
    /// Commits events, all or none; each must follow its log ([`StoreError::Gap`]). Returns their
    /// positions once they are on the disk. Calls are committed in the order in which they were made,
    /// many in one transaction; when one fails, so does every later one that builds on it.
    pub fn append(
        &self,
        cid: ChannelId,
        events: Vec<NewEvent>,
    ) -> impl Future<Output = Result<Vec<u64>, StoreError>> + Send + 'static + use<> {
        async { todo!() }
    }
    /// Events `from..to` of a log, in order, stopping before `max_bytes` of raw events are passed (but
    /// always at least one, if there is one).
    pub async fn events(
        &self,
        cid: ChannelId,
        device: DeviceId,
        from: u64,
        to: u64,
        max_bytes: usize,
    ) -> Result<Vec<Event>, StoreError> {
        todo!()
    }
    /// The ids of events `from..to` of a log, at most 256.
    pub async fn event_ids(
        &self,
        cid: ChannelId,
        device: DeviceId,
        from: u64,
        to: u64,
    ) -> Result<Vec<EventId>, StoreError> {
        todo!()
    }
    /// What an idempotency key made.
    pub async fn by_key(&self, cid: ChannelId, key: &str) -> Result<Option<EventId>, StoreError> {
        todo!()
    }
    /// One event.
    pub async fn entry(&self, cid: ChannelId, id: EventId) -> Result<Option<LogEntry>, StoreError> {
        todo!()
    }
    /// A page of the log, oldest first.
    pub async fn page(
        &self,
        cid: ChannelId,
        query: PageQuery,
    ) -> Result<Vec<LogEntry>, StoreError> {
        todo!()
    }
    /// What arrived after `position`, in that order, at most `limit`; of one channel or of all.
    pub async fn since(
        &self,
        cid: Option<ChannelId>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<LogEntry>, StoreError> {
        todo!()
    }
    /// The newest position of all.
    pub async fn last_position(&self) -> Result<u64, StoreError> {
        todo!()
    }

    // -- delivery --------------------------------------------------------------------------------

    /// Keeps delivery marks (they only grow; lower ones are ignored).
    pub fn set_deliveries(
        &self,
        cid: ChannelId,
        marks: Vec<Delivery>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send + 'static + use<> {
        async { todo!() }
    }
    /// All delivery marks of a channel.
    pub async fn deliveries(&self, cid: ChannelId) -> Result<Vec<Delivery>, StoreError> {
        todo!()
    }

    // -- forks -----------------------------------------------------------------------------------

    /// Keeps the proof that a device signed two events with one number, takes the events from the lowest
    /// such number on out of the log (they are kept as evidence), and closes the log there.
    pub async fn close_log(&self, cid: ChannelId, a: Event, b: Event) -> Result<(), StoreError> {
        todo!()
    }
    /// The proofs of a channel: pairs of events of one device and number.
    pub async fn forks(&self, cid: ChannelId) -> Result<Vec<(Event, Event)>, StoreError> {
        todo!()
    }

    // -- names and the peer cache ------------------------------------------------------------------

    /// The latest profile name each member signed in this channel.
    pub async fn names(&self, cid: ChannelId) -> Result<Vec<(IdentityId, String)>, StoreError> {
        todo!()
    }
    /// Remembers where a member was reached (at most 8 addresses a member, 1,024 a channel; oldest go).
    pub async fn remember_peer(&self, cid: ChannelId, peer: KnownPeer) -> Result<(), StoreError> {
        todo!()
    }
    /// Remembered addresses, the latest success first.
    pub async fn known_peers(&self, cid: ChannelId) -> Result<Vec<KnownPeer>, StoreError> {
        todo!()
    }
}
