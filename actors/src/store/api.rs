//! What others ask of the store. All times are Unix milliseconds unless a name says otherwise.

use std::net::SocketAddr;

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::{Certificate, DeviceId, IdentityId},
};

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
