//! Messages to and from a relay: `len u32 ‖ protobuf Relay` (`docs/PROTOCOL.md`, relays).

use prost::Message as _;

use crate::{
    channel::{ChannelId, EpochKeys},
    crypto::hash,
    message::MAX_PEER_ID,
    proto::{self, relay::Kind},
};

/// Maximum size of a message, in bytes, without its length prefix.
pub const MAX_RELAY: usize = 4_096;
/// Maximum number of keys that one client registers under.
pub const MAX_KEYS: usize = 64;
/// Maximum number of peers in one `met`.
pub const MAX_MET: usize = 32;

/// Why a message was refused. Any of these resets the stream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The length prefix, or the message itself, exceeds [`MAX_RELAY`].
    #[error("a relay message of {0} bytes is longer than {MAX_RELAY}")]
    TooLong(usize),
    /// The message is not valid protobuf.
    #[error("a relay message that is not protobuf")]
    Malformed,
    /// A field is too long, too short, or repeated too often.
    #[error("{0} out of bounds in a relay message")]
    OutOfBounds(&'static str),
}

impl From<Kind> for proto::Relay {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind) }
    }
}

/// The well-known keys under whose rendezvous hashes public relays are announced and looked up: those of epoch 0 of a
/// channel whose id and secret are both `H("relay"; "public")`.
pub fn public_keys() -> EpochKeys {
    let known = hash("relay", &[b"public"]);
    EpochKeys::derive(ChannelId(known), 0, &known)
}

/// Encodes a message with its length prefix. Callers keep to the caps.
pub fn encode(kind: Kind) -> Vec<u8> {
    let message = proto::Relay::from(kind);
    let len = message.encoded_len();
    let mut out = Vec::with_capacity(4 + len);
    // No message comes near 4 GiB; a receiver refuses anything above 4 KiB.
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&message.encode_to_vec());
    out
}

/// Checks a length prefix before anything is allocated.
pub fn check_len(prefix: [u8; 4]) -> Result<usize, RelayError> {
    let len = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if len > MAX_RELAY {
        Err(RelayError::TooLong(len))
    } else {
        Ok(len)
    }
}

/// Decodes the bytes after the prefix. `Ok(None)` means a kind that this program does not know, to be ignored.
pub fn decode(bytes: &[u8]) -> Result<Option<Kind>, RelayError> {
    if bytes.len() > MAX_RELAY {
        return Err(RelayError::TooLong(bytes.len()));
    }
    let message = proto::Relay::decode(bytes).map_err(|_| RelayError::Malformed)?;
    let peer = |bytes: &[u8]| {
        let good = !bytes.is_empty() && bytes.len() <= MAX_PEER_ID;
        good.then_some(())
            .ok_or(RelayError::OutOfBounds("a PeerId"))
    };
    let key = |bytes: &[u8]| {
        (bytes.len() == 32)
            .then_some(())
            .ok_or(RelayError::OutOfBounds("a key"))
    };
    match &message.kind {
        Some(Kind::Register(register)) => {
            if register.keys.len() > MAX_KEYS {
                return Err(RelayError::OutOfBounds("the keys"));
            }
            register.keys.iter().try_for_each(|bytes| key(bytes))?;
        }
        Some(Kind::Met(met)) => {
            key(&met.key)?;
            if met.peers.len() > MAX_MET {
                return Err(RelayError::OutOfBounds("the peers"));
            }
            met.peers.iter().try_for_each(|bytes| peer(bytes))?;
        }
        Some(Kind::Connect(connect)) => peer(&connect.peer)?,
        Some(Kind::Incoming(incoming)) => peer(&incoming.peer)?,
        _ => {}
    }
    Ok(message.kind)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::proto::refused::Reason;

    fn peer(len: usize) -> bytes::Bytes {
        vec![7; len].into()
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        for kind in [
            Kind::Reserve(proto::Reserve {}),
            Kind::Reserved(proto::Reserved {
                circuit_bytes: 1 << 40,
                circuit_seconds: 3_600,
                bytes_a_second: 0,
            }),
            Kind::Register(proto::Register {
                keys: vec![peer(32); MAX_KEYS],
            }),
            Kind::Met(proto::Met {
                key: peer(32),
                peers: vec![peer(MAX_PEER_ID); MAX_MET],
            }),
            Kind::Connect(proto::Connect { peer: peer(38) }),
            Kind::Incoming(proto::Incoming { peer: peer(1) }),
            Kind::Accepted(proto::Accepted {}),
            Kind::Refused(proto::Refused {
                reason: Reason::Full.into(),
                retry_seconds: 30,
            }),
            Kind::Leaving(proto::Leaving {}),
        ] {
            let bytes = encode(kind.clone());
            let (prefix, body) = bytes.split_first_chunk::<4>().unwrap();
            assert_eq!(check_len(*prefix), Ok(body.len()));
            assert_eq!(decode(body), Ok(Some(kind)));
        }
    }

    /// Computed by another program.
    #[test]
    fn the_hashes_of_public_relays_are_known_to_all() {
        let keys = public_keys();
        assert_eq!(
            keys.cid.to_string(),
            "9e5546a98e17a7ec5c16de01b5e10916693dc320f216283f2d56726fdbd5920e"
        );
        assert_eq!(
            keys.rendezvous_hash(20_000).to_string(),
            "03ab3e6022cf93ccbbac828536acbcfc2ee3d5db"
        );
    }

    #[test]
    fn hostile_bytes_are_refused_and_unknown_kinds_passed_over() {
        assert_eq!(check_len([0, 0, 0x10, 1]), Err(RelayError::TooLong(4_097)));
        assert_eq!(decode(&[0; MAX_RELAY + 1]), Err(RelayError::TooLong(4_097)));
        assert_eq!(decode(&[0x0a, 0x7f, 0]), Err(RelayError::Malformed));
        assert_eq!(decode(&[]), Ok(None));
        assert_eq!(decode(&[0xfa, 0x01, 2, 1, 1]), Ok(None));
        for kind in [
            Kind::Connect(proto::Connect { peer: peer(0) }),
            Kind::Connect(proto::Connect { peer: peer(65) }),
            Kind::Incoming(proto::Incoming { peer: peer(65) }),
            Kind::Register(proto::Register {
                keys: vec![peer(31)],
            }),
            Kind::Register(proto::Register {
                keys: vec![peer(32); MAX_KEYS + 1],
            }),
            Kind::Met(proto::Met {
                key: peer(33),
                peers: vec![],
            }),
            Kind::Met(proto::Met {
                key: peer(32),
                peers: vec![peer(2); MAX_MET + 1],
            }),
        ] {
            let refused = decode(&encode(kind)[4..]);
            assert!(
                matches!(refused, Err(RelayError::OutOfBounds(_))),
                "{refused:?}"
            );
        }
    }
}
