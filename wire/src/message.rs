//! Messages inside a link: protobuf `LinkMessage`, one a frame, with hard caps (`docs/PROTOCOL.md`, messages).

use crate::proto;

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Replace by the real variants.
    #[error("placeholder")]
    Placeholder,
}

/// The protobuf bytes of a message. At most [`crate::link::MAX_MESSAGE`]; callers build messages within the caps.
pub fn encode(kind: proto::link_message::Kind) -> Vec<u8> {
    let _ = kind;
    todo!()
}

/// Decodes a message and checks every cap. `Ok(None)`: a kind that is not known here, to be passed over.
pub fn decode(bytes: &[u8]) -> Result<Option<proto::link_message::Kind>, MessageError> {
    let _ = bytes;
    todo!()
}
