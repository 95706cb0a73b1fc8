//! The signed record: its bytes, its checks, and the proof of a fork.
//!
//! `E = 1 ‖ epoch u32 ‖ device 32 ‖ seq u64 ‖ prev 32 ‖ lamport u64 ‖ wall_ms u64 ‖ body`.

use bytes::Bytes;

use super::{EventId, log};
use crate::{
    channel::ChannelId,
    identity::{Certificate, DeviceId, DeviceKey, KeyCache},
};

/// Maximum size of a body, in bytes.
pub const MAX_BODY: usize = 98_304;
/// Length of the header, which is all that precedes the body, in bytes.
pub const HEADER_LEN: usize = 93;
/// Exclusive upper bound of Lamport times.
pub const LAMPORT_LIMIT: u64 = 1 << 56;
/// Exclusive upper bound of numbers in a log, so that sums with numbers that others chose never overflow.
pub const SEQ_LIMIT: u64 = 1 << 56;

/// The first byte of every event.
const VERSION: u8 = 1;
/// Label of an event's signature.
pub(super) const SIGNATURE_LABEL: &str = "event";

/// Why an event was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Shorter than a header, or with a body of more than [`MAX_BODY`] bytes.
    #[error("an event of {0} bytes")]
    BadLength(usize),
    /// The version is unknown to this program.
    #[error("an event of version {0}")]
    UnknownVersion(u8),
    /// The device's key is not acceptable.
    #[error("the device's key is not acceptable")]
    BadDevice,
    /// `prev` is zero and the number is not, or the reverse.
    #[error("the event before it is named where there is none, or not named where there is one")]
    BadPrev,
    /// The number reaches [`SEQ_LIMIT`].
    #[error("number {0} is out of range")]
    BadSeq(u64),
    /// The Lamport time reaches [`LAMPORT_LIMIT`].
    #[error("Lamport time {0} is out of range")]
    BadLamport(u64),
    /// The signature does not verify, or does not have 64 bytes.
    #[error("the event's signature does not verify")]
    BadSignature,
    /// The first event of a log does not hold a valid certificate of the log's device.
    #[error("the log's first event holds no valid certificate of its device")]
    BadGenesis,
}

/// The fixed part of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// The channel's epoch.
    pub epoch: u32,
    /// The device that the log belongs to.
    pub device: DeviceId,
    /// The number in that log, from 0.
    pub seq: u64,
    /// The id of the event before it; zeros for the first.
    pub prev: EventId,
    /// Lamport time.
    pub lamport: u64,
    /// The author's clock, in Unix milliseconds.
    pub wall_ms: u64,
}

impl EventHeader {
    /// The event's sort key in the channel's order.
    pub fn order(&self) -> (u64, DeviceId, u64) {
        (self.lamport, self.device, self.seq)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.epoch.to_be_bytes());
        out.extend_from_slice(self.device.as_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.prev.0);
        out.extend_from_slice(&self.lamport.to_be_bytes());
        out.extend_from_slice(&self.wall_ms.to_be_bytes());
    }

    /// Reads and checks the header of E and the length of the body that follows; `key` converts the device's bytes
    /// to its id.
    fn read(
        raw: &[u8],
        key: impl FnOnce([u8; 32]) -> Result<DeviceId, EventError>,
    ) -> Result<Self, EventError> {
        if raw.len() > HEADER_LEN + MAX_BODY {
            return Err(EventError::BadLength(raw.len()));
        }
        let mut rest = raw;
        let short = EventError::BadLength(raw.len());
        let [version] = take(&mut rest).ok_or(short)?;
        if version != VERSION {
            return Err(EventError::UnknownVersion(version));
        }
        let epoch = u32::from_be_bytes(take(&mut rest).ok_or(short)?);
        let device: [u8; 32] = take(&mut rest).ok_or(short)?;
        let seq = u64::from_be_bytes(take(&mut rest).ok_or(short)?);
        let prev = EventId(take(&mut rest).ok_or(short)?);
        let lamport = u64::from_be_bytes(take(&mut rest).ok_or(short)?);
        let wall_ms = u64::from_be_bytes(take(&mut rest).ok_or(short)?);
        if seq >= SEQ_LIMIT {
            return Err(EventError::BadSeq(seq));
        }
        if lamport >= LAMPORT_LIMIT {
            return Err(EventError::BadLamport(lamport));
        }
        if (seq == 0) != (prev == EventId::ZERO) {
            return Err(EventError::BadPrev);
        }
        Ok(Self {
            epoch,
            device: key(device)?,
            seq,
            prev,
            lamport,
            wall_ms,
        })
    }
}

/// Takes the next `N` bytes.
fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// An event whose signature has been checked, or that was signed here or loaded from our own store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    header: EventHeader,
    raw: Bytes,
    signature: [u8; 64],
    id: EventId,
}

impl Event {
    /// Creates and signs an event. Its body is [`genesis_body`](super::genesis_body) if `seq` is 0, otherwise one
    /// that [`Body`](super::Body) encodes.
    #[allow(
        clippy::too_many_arguments,
        reason = "they are the fields of E, each of its own type or meaning"
    )]
    pub fn author(
        cid: &ChannelId,
        device: &DeviceKey,
        epoch: u32,
        seq: u64,
        prev: EventId,
        lamport: u64,
        wall_ms: u64,
        body: &[u8],
    ) -> Result<Self, EventError> {
        let header = EventHeader {
            epoch,
            device: device.id(),
            seq,
            prev,
            lamport,
            wall_ms,
        };
        let mut raw = Vec::with_capacity(HEADER_LEN + body.len());
        header.write(&mut raw);
        raw.extend_from_slice(body);
        let signature = device.sign(SIGNATURE_LABEL, &[&cid.0, &raw]);
        let event = Self::from_store(cid, raw.into(), &signature)?;
        event.check_genesis()?;
        Ok(event)
    }

    /// Decodes `raw` (= E) and checks the signature, `seq 0 <=> prev zero`, seq and lamport < 2^56, and sizes; for seq 0
    /// also the body's certificate.
    pub fn verify(cid: &ChannelId, raw: Bytes, signature: &[u8]) -> Result<Self, EventError> {
        Self::verify_with(cid, raw, signature, &mut KeyCache::default())
    }

    /// As [`Event::verify`], for many events of few devices: each device's key is checked once, and each signature
    /// as strictly as there.
    pub fn verify_with(
        cid: &ChannelId,
        raw: Bytes,
        signature: &[u8],
        keys: &mut KeyCache,
    ) -> Result<Self, EventError> {
        let check = |key| keys.check(key).map_err(|_| EventError::BadDevice);
        let event = Self::decode(cid, raw, signature, check)?;
        keys.verify(
            &event.header.device,
            SIGNATURE_LABEL,
            &[&cid.0, &event.raw],
            &event.signature,
        )
        .map_err(|_| EventError::BadSignature)?;
        event.check_genesis()?;
        Ok(event)
    }

    /// Decodes an event from our own store, which was verified before it was stored: neither the signature nor the
    /// device's key is checked again.
    pub fn from_store(cid: &ChannelId, raw: Bytes, signature: &[u8]) -> Result<Self, EventError> {
        Self::decode(cid, raw, signature, |key| Ok(DeviceId::checked_before(key)))
    }

    fn decode(
        cid: &ChannelId,
        raw: Bytes,
        signature: &[u8],
        key: impl FnOnce([u8; 32]) -> Result<DeviceId, EventError>,
    ) -> Result<Self, EventError> {
        let signature = signature.try_into().map_err(|_| EventError::BadSignature)?;
        let header = EventHeader::read(&raw, key)?;
        let id = EventId::of(cid, &raw);
        Ok(Self {
            header,
            raw,
            signature,
            id,
        })
    }

    fn check_genesis(&self) -> Result<(), EventError> {
        if self.header.seq > 0 {
            return Ok(());
        }
        let certificate = self.certificate().ok_or(EventError::BadGenesis)?;
        certificate.verify().map_err(|_| EventError::BadGenesis)
    }

    /// The header.
    pub fn header(&self) -> &EventHeader {
        &self.header
    }
    /// The id, computed when the event was decoded.
    pub fn id(&self) -> EventId {
        self.id
    }
    /// E, as signed.
    pub fn raw(&self) -> &Bytes {
        &self.raw
    }
    /// The signature over E.
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }
    /// The body: a certificate for seq 0, otherwise a protobuf `EventBody`.
    pub fn body(&self) -> &[u8] {
        self.raw.get(HEADER_LEN..).unwrap_or_default()
    }

    /// The certificate in the first event of a log; `None` for any other event.
    pub fn certificate(&self) -> Option<Certificate> {
        if self.header.seq > 0 {
            return None;
        }
        log::read_genesis(self.header.device, self.body())
    }

    /// Whether the two events prove that their device forked its log: same number, different events. Both must have
    /// been verified for the same channel.
    pub fn forks(&self, other: &Self) -> bool {
        self.header.device == other.header.device
            && self.header.seq == other.header.seq
            && self.id != other.id
    }
}
