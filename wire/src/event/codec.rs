//! The protobuf encoding that all bodies but the genesis share.

use bytes::Bytes;
use prost::Message as _;

use super::EventId;
use crate::proto::{self, event_body::Kind};

/// Encodes a body.
pub(super) fn encode(kind: Kind) -> Vec<u8> {
    proto::EventBody { kind: Some(kind) }.encode_to_vec()
}

/// Decodes a body; `None` if it is not valid protobuf or of a kind that a later version added.
pub(super) fn decode(body: &[u8]) -> Option<Kind> {
    proto::EventBody::decode(body).ok()?.kind
}

/// Reads an id; `None` if it does not have 32 bytes.
pub(super) fn read_id(bytes: &[u8]) -> Option<EventId> {
    bytes.try_into().ok().map(EventId)
}

/// An id as protobuf carries it.
pub(super) fn id_bytes(id: EventId) -> Bytes {
    Bytes::copy_from_slice(&id.0)
}
