//! Records that the store takes and returns. All times are Unix milliseconds unless a name says otherwise.

use std::net::SocketAddr;

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::{Certificate, DeviceId, IdentityId},
};
use zeroize::Zeroizing;

/// A channel of this profile.
#[derive(Clone)]
pub struct ChannelRecord {
    /// The id, derived from the file.
    pub cid: ChannelId,
    /// The bytes of the channel file; they hold the channel's secret.
    pub file: Vec<u8>,
    /// When the channel was created or first joined here.
    pub joined_ms: u64,
}

/// A device key of a channel's own.
#[derive(Clone)]
pub struct DeviceRecord {
    /// The key's seed (a secret).
    pub seed: Zeroizing<[u8; 32]>,
    /// When it was generated, in Unix seconds.
    pub created: u64,
    /// The highest Lamport time in the channel when it was last left; 0 if it never was.
    pub lamport: u64,
}

/// The state of one device's log in one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHead {
    /// The device and its identity, as certified in event 0.
    pub certificate: Certificate,
    /// The lowest number that is kept: history below it was pruned.
    pub floor: u64,
    /// The number of the next event.
    pub next: u64,
    /// The id of the last event.
    pub head: EventId,
    /// The Lamport time of the last event.
    pub lamport: u64,
    /// The number from which on the log is closed, because a fork was proven; `None`: open.
    pub closed_at: Option<u64>,
}

/// An event to append to its log.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The event: verified, or signed here.
    pub event: Event,
    /// When it arrived here.
    pub arrival_ms: u64,
    /// The caller's idempotency key, for an event made here.
    pub key: Option<String>,
    /// The identity of the device that signed it.
    pub identity: IdentityId,
}

/// How much of a device's log a member's device has, as that member acknowledged on its own link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Delivery {
    /// The device that has the events.
    pub member: DeviceId,
    /// The identity of `member`.
    pub identity: IdentityId,
    /// The device whose log it is.
    pub author: DeviceId,
    /// `member` has all events below this number.
    pub next: u64,
}

/// An address at which a member was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownPeer {
    /// The member reached there.
    pub identity: IdentityId,
    /// The address that was dialled.
    pub address: SocketAddr,
    /// When a connection to it last succeeded.
    pub last_ok_ms: u64,
}
