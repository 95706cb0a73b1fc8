//! The body of read marks.

use super::{LAMPORT_LIMIT, SEQ_LIMIT, codec};
use crate::proto::{self, event_body::Kind};

/// A position in the channel's order, up to which its author has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadMark {
    /// Lamport time.
    pub lamport: u64,
    /// Device that wrote the event; not checked to be a key.
    pub device: [u8; 32],
    /// Number in that device's log.
    pub seq: u64,
}

impl ReadMark {
    pub(super) fn read(read: &proto::Read) -> Option<Self> {
        let device = read.device.as_ref().try_into().ok()?;
        if read.lamport >= LAMPORT_LIMIT || read.seq >= SEQ_LIMIT {
            return None;
        }
        Some(Self {
            lamport: read.lamport,
            device,
            seq: read.seq,
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        codec::encode(Kind::Read(proto::Read {
            lamport: self.lamport,
            device: bytes::Bytes::copy_from_slice(&self.device),
            seq: self.seq,
        }))
    }
}
