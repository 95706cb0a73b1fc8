//! Messages of a connection's control stream: `len u32 ‖ protobuf Control` (`docs/PROTOCOL.md`, control).

use prost::Message as _;

use crate::{
    message::MAX_ADDRESS,
    proto::{self, control::Kind},
};

/// Maximum size of a control message, in bytes, without its length prefix.
pub const MAX_CONTROL: usize = 4_096;

/// Maximum number of addresses in one punch.
pub const MAX_PUNCH_ADDRESSES: usize = 8;
/// Maximum number of TCP addresses in one punch: one of each family.
pub const MAX_PUNCH_TCP: usize = 2;
/// Maximum length of a PeerId, in bytes.
pub const MAX_PEER_ID: usize = 64;

/// Why a control message was refused. Any of these closes the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ControlError {
    /// The length prefix, or the message itself, exceeds [`MAX_CONTROL`].
    #[error("a control message of {0} bytes is longer than {MAX_CONTROL}")]
    TooLong(usize),
    /// The message is not valid protobuf.
    #[error("a control message that is not protobuf")]
    Malformed,
    /// The observed address has no bytes, or more than [`MAX_ADDRESS`].
    #[error("an observed address of {0} bytes")]
    BadAddress(usize),
    /// A punch lacks a field, or has too many or too long ones.
    #[error("a malformed punch")]
    BadPunch,
}

impl From<Kind> for proto::Control {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

/// Encodes a message with its length prefix. Callers keep addresses within [`MAX_ADDRESS`].
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

/// Decodes the bytes after the prefix. `Ok(None)` means a kind that this program does not know, to be ignored.
pub fn decode(bytes: &[u8]) -> Result<Option<Kind>, ControlError> {
    if bytes.len() > MAX_CONTROL {
        return Err(ControlError::TooLong(bytes.len()));
    }
    let message = proto::Control::decode(bytes).map_err(|_| ControlError::Malformed)?;
    match &message.kind {
        Some(Kind::Observed(observed)) => {
            let len = observed.address.len();
            if len == 0 || len > MAX_ADDRESS {
                return Err(ControlError::BadAddress(len));
            }
        }
        Some(Kind::PunchTo(to)) if to.peer.is_empty() || !is_punch(&to.peer, &to.punch) => {
            return Err(ControlError::BadPunch);
        }
        Some(Kind::PunchFrom(from))
            if from.seen.len() > MAX_ADDRESS || !is_punch(&from.peer, &from.punch) =>
        {
            return Err(ControlError::BadPunch);
        }
        _ => {}
    }
    Ok(message.kind)
}

fn is_punch(peer: &[u8], punch: &Option<proto::Punch>) -> bool {
    let address = |bytes: &bytes::Bytes| !bytes.is_empty() && bytes.len() <= MAX_ADDRESS;
    peer.len() <= MAX_PEER_ID
        && punch.as_ref().is_some_and(|punch| {
            punch.addresses.len() <= MAX_PUNCH_ADDRESSES
                && punch.addresses.iter().all(address)
                && punch.tcp_addresses.len() <= MAX_PUNCH_TCP
                && punch.tcp_addresses.iter().all(address)
        })
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

    fn punch_to(peer: usize, addresses: usize, len: usize) -> proto::PunchTo {
        proto::PunchTo {
            peer: vec![1; peer].into(),
            punch: Some(proto::Punch {
                id: 7,
                answer: true,
                nat: proto::punch::Nat::Symmetric.into(),
                addresses: vec![vec![4; len].into(); addresses],
                ..proto::Punch::default()
            }),
        }
    }

    fn by_tcp(addresses: usize, len: usize) -> proto::PunchTo {
        let punch = proto::Punch {
            tcp_addresses: vec![vec![4; len].into(); addresses],
            ..proto::Punch::default()
        };
        proto::PunchTo {
            punch: Some(punch),
            ..punch_to(38, 0, 0)
        }
    }

    #[test]
    fn punches_are_bounded() {
        let refused = |to: proto::PunchTo| {
            let bytes = encode(&Kind::PunchTo(to).into());
            assert_eq!(decode(&bytes[4..]), Err(ControlError::BadPunch));
        };
        refused(punch_to(0, 1, 8));
        refused(punch_to(MAX_PEER_ID + 1, 1, 8));
        refused(punch_to(38, MAX_PUNCH_ADDRESSES + 1, 8));
        refused(punch_to(38, 1, MAX_ADDRESS + 1));
        refused(punch_to(38, 1, 0));
        refused(by_tcp(MAX_PUNCH_TCP + 1, 8));
        refused(by_tcp(1, MAX_ADDRESS + 1));
        refused(by_tcp(1, 0));
        refused(proto::PunchTo {
            punch: None,
            ..punch_to(38, 0, 0)
        });
        let from = proto::PunchFrom {
            seen: vec![4; MAX_ADDRESS + 1].into(),
            punch: Some(proto::Punch::default()),
            ..proto::PunchFrom::default()
        };
        let bytes = encode(&Kind::PunchFrom(from).into());
        assert_eq!(decode(&bytes[4..]), Err(ControlError::BadPunch));
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
            Kind::PunchTo(punch_to(MAX_PEER_ID, MAX_PUNCH_ADDRESSES, MAX_ADDRESS)).into(),
            Kind::PunchTo(by_tcp(MAX_PUNCH_TCP, MAX_ADDRESS)).into(),
            Kind::PunchFrom(proto::PunchFrom {
                punch: Some(proto::Punch::default()),
                ..proto::PunchFrom::default()
            })
            .into(),
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
