//! Epoch keys and rendezvous hashes (`docs/PROTOCOL.md`, channels and their secrets).

use crate::crypto::Secret;

/// The epoch number of an invite-only channel's lobby.
pub const LOBBY_EPOCH: u32 = 0xffff_ffff;

/// A channel's id, covering its whole `info`: storage, keys and signatures use it. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelId(pub [u8; 32]);

/// The 20 bytes announced to trackers and the DHT for one period. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RendezvousHash(pub [u8; 20]);

/// The keys of one epoch of a channel, wiped when dropped.
#[derive(Clone)]
pub struct EpochKeys {
    /// The channel.
    pub cid: ChannelId,
    /// The epoch.
    pub epoch: u32,
    /// Proves membership in a handshake's first message.
    pub tag: Secret,
    /// Salts the handshake.
    pub link: Secret,
    /// Makes rendezvous hashes.
    pub rendezvous: Secret,
    /// Makes registrations at relays.
    pub relay: Secret,
    /// Makes mailbox tags.
    pub mail: Secret,
}

impl ChannelId {
    /// `H("channel"; raw bencoded info)`.
    pub fn of_info(raw_info: &[u8]) -> Self {
        let _ = raw_info;
        todo!()
    }
}
impl std::fmt::Display for ChannelId {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
impl std::fmt::Debug for ChannelId {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
impl std::fmt::Display for RendezvousHash {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}
impl std::fmt::Debug for RendezvousHash {
    fn fmt(&self, _f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        todo!()
    }
}

impl EpochKeys {
    /// `K_e = HKDF-Extract(salt = cid, ikm = secret)`; the five keys are `X(K_e, name; u32 epoch)`.
    pub fn derive(cid: ChannelId, epoch: u32, secret: &[u8; 32]) -> Self {
        let _ = (cid, epoch, secret);
        todo!()
    }
    /// The period in which `unix` (seconds) lies: `floor((unix + off) / 86,400)`.
    pub fn period(&self, unix: u64) -> u64 {
        let _ = unix;
        todo!()
    }
    /// The second at which `period` begins.
    pub fn period_start(&self, period: u64) -> u64 {
        let _ = period;
        todo!()
    }
    /// The hash of one period.
    pub fn rendezvous_hash(&self, period: u64) -> RendezvousHash {
        let _ = period;
        todo!()
    }
    /// The hashes to announce at `unix`: the current one first, then a neighbour within 3,600 s of a boundary.
    pub fn announced(&self, unix: u64) -> Vec<RendezvousHash> {
        let _ = unix;
        todo!()
    }
}
