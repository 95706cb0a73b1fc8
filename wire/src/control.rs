//! Messages of a connection's control stream: `len u32 ‖ protobuf Control` (`docs/PROTOCOL.md`, control).

use crate::proto;

/// The longest control message, in bytes.
pub const MAX_CONTROL: usize = 4_096;

/// Why a control message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// Replace by the real variants.
    #[error("placeholder")]
    Placeholder,
}

/// The bytes of a message, its length before it.
pub fn encode(message: &proto::Control) -> Vec<u8> {
    let _ = message;
    todo!()
}

/// Checks a length prefix before anything is allocated.
pub fn check_len(prefix: [u8; 4]) -> Result<usize, ControlError> {
    let _ = prefix;
    todo!()
}

/// Decodes the bytes behind the prefix. `Ok(None)`: a kind that is not known here, to be passed over.
pub fn decode(bytes: &[u8]) -> Result<Option<proto::control::Kind>, ControlError> {
    let _ = bytes;
    todo!()
}
