//! Messages of a connection's control stream: `len u32 ‖ protobuf Control` (`docs/PROTOCOL.md`, control).

use prost::Message as _;

use crate::{
    message::MAX_ADDRESS,
    proto::{self, control::Kind},
};

/// The longest control message, in bytes, its length prefix not counted.
pub const MAX_CONTROL: usize = 4_096;

/// Why a control message was refused. Any of these closes the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The length prefix, or the message itself, passes [`MAX_CONTROL`].
    #[error("a control message of {0} bytes is longer than {MAX_CONTROL}")]
    TooLong(usize),
    /// Not protobuf.
    #[error("a control message that is not protobuf")]
    Malformed,
    /// The observed address has no bytes, or more than [`MAX_ADDRESS`].
    #[error("an observed address of {0} bytes")]
    BadAddress(usize),
}

impl From<Kind> for proto::Control {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

/// The bytes of a message, its length before it. Callers keep addresses within [`MAX_ADDRESS`].
pub fn encode(message: &proto::Control) -> Vec<u8> {
    let len = message.encoded_len();
    let mut out = Vec::with_capacity(4 + len);
    // No control message comes near 4 GiB; a receiver refuses anything above 4 KiB.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&message.encode_to_vec());
    out
}

/// Checks a length prefix before anything is allocated.
pub fn check_len(prefix: [u8; 4]) -> Result<usize, ControlError> {
    let len = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if len > MAX_CONTROL {
        Err(ControlError::TooLong(len))
    } else {
        Ok(len)
    }
}

/// Decodes the bytes behind the prefix. `Ok(None)`: a kind that is not known here, to be passed over.
pub fn decode(bytes: &[u8]) -> Result<Option<Kind>, ControlError> {
    if bytes.len() > MAX_CONTROL {
        return Err(ControlError::TooLong(bytes.len()));
    }
    let message = proto::Control::decode(bytes).map_err(|_| ControlError::Malformed)?;
    if let Some(Kind::Observed(observed)) = &message.kind {
        let len = observed.address.len();
        if len == 0 || len > MAX_ADDRESS {
            return Err(ControlError::BadAddress(len));
        }
    }
    Ok(message.kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn observed(len: usize) -> proto::Control {
        let address = vec![4; len].into();
        proto::Control {
            kind: Some(Kind::Observed(proto::Observed {
                address,
                port: 4001,
            })),
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for message in [
            observed(8),
            observed(MAX_ADDRESS),
            Kind::Drain(proto::Drain {}).into(),
            Kind::Probe(proto::Probe { nonce: u64::MAX }).into(),
            Kind::Echo(proto::Echo { nonce: 0 }).into(),
            Kind::Selected(proto::Selected {}).into(),
            Kind::Stalled(proto::Stalled {}).into(),
            Kind::Unanswered(proto::Unanswered {}).into(),
        ] {
            let bytes = encode(&message);
            let (prefix, body) = bytes.split_first_chunk::<4>().unwrap();
            assert_eq!(check_len(*prefix), Ok(body.len()));
            assert_eq!(decode(body), Ok(message.kind));
        }
    }

    #[test]
    fn hostile_bytes_are_refused_and_unknown_kinds_passed_over() {
        assert_eq!(check_len([0, 0, 0x10, 0]), Ok(MAX_CONTROL));
        assert_eq!(
            check_len([0, 0, 0x10, 1]),
            Err(ControlError::TooLong(4_097))
        );
        assert_eq!(
            check_len([255; 4]),
            Err(ControlError::TooLong(u32::MAX as usize))
        );
        assert_eq!(
            decode(&vec![0; MAX_CONTROL + 1]),
            Err(ControlError::TooLong(4_097))
        );
        assert_eq!(decode(&[0x0a, 0x7f, 0]), Err(ControlError::Malformed));
        assert_eq!(
            decode(&encode(&observed(0))[4..]),
            Err(ControlError::BadAddress(0))
        );
        assert_eq!(
            decode(&encode(&observed(129))[4..]),
            Err(ControlError::BadAddress(129))
        );
        assert_eq!(decode(&[]), Ok(None));
        assert_eq!(
            decode(&[0xfa, 0x01, 2, 1, 1]),
            Ok(None),
            "field 31 is of a later version"
        );
    }
}
