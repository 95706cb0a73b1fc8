//! Events: signed records in a device's log (`docs/PROTOCOL.md`, events).
//!
//! `E = 1 ‖ epoch u32 ‖ device 32 ‖ seq u64 ‖ prev 32 ‖ lamport u64 ‖ wall_ms u64 ‖ body`.

use bytes::Bytes;

use crate::{
    channel::ChannelId,
    identity::{Certificate, DeviceId, DeviceKey},
};

/// The largest body, in bytes.
pub const MAX_BODY: usize = 98_304;
/// The length of everything before the body.
pub const HEADER_LEN: usize = 93;
/// No Lamport time reaches this.
pub const LAMPORT_LIMIT: u64 = 1 << 56;

/// `id = H("id"; cid ‖ E)`. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EventId(pub [u8; 32]);

/// Why an event was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// Replace by the real variants.
    #[error("placeholder")]
    Placeholder,
}

/// The fixed part of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventHeader {
    /// The channel's epoch.
    pub epoch: u32,
    /// Whose log.
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

/// An event whose signature was checked (or that was made here, or comes from our own store).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    header: EventHeader,
    raw: Bytes,
    signature: [u8; 64],
    id: EventId,
}

impl Event {
    /// Makes and signs an event.
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
        let _ = (cid, device, epoch, seq, prev, lamport, wall_ms, body);
        todo!()
    }
    /// Decodes `raw` (= E) and checks the signature, `seq 0 <=> prev zero`, lamport < 2^56 and sizes; for seq 0 also the body's certificate.
    pub fn verify(cid: &ChannelId, raw: Bytes, signature: &[u8]) -> Result<Self, EventError> {
        let _ = (cid, raw, signature);
        todo!()
    }
    /// Decodes what the own store kept, without checking the signature again.
    pub fn from_store(cid: &ChannelId, raw: Bytes, signature: &[u8]) -> Result<Self, EventError> {
        let _ = (cid, raw, signature);
        todo!()
    }
    /// The fixed part.
    pub fn header(&self) -> &EventHeader {
        &self.header
    }
    /// The event's id.
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
    /// The body: a certificate for seq 0, else a protobuf `EventBody`.
    pub fn body(&self) -> &[u8] {
        &self.raw[HEADER_LEN..]
    }
    /// The certificate that the first event of a log carries; `None` for any other.
    pub fn certificate(&self) -> Option<Certificate> {
        todo!()
    }
}

/// The body of a log's first event: `identity 32 ‖ created u64 ‖ cert 64`.
pub fn genesis_body(certificate: &Certificate) -> [u8; 104] {
    let _ = certificate;
    todo!()
}
