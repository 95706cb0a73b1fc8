//! Bodies that belong to the log itself: the genesis that opens it and the leave that ends it.

use super::codec;
use crate::{
    identity::{Certificate, DeviceId, IdentityId},
    proto::{self, event_body::Kind},
};

/// The length of the body of a log's first event.
pub const GENESIS_LEN: usize = 104;

/// Encodes the body of a log's first event: `identity 32 ‖ created u64 ‖ cert 64`.
pub fn genesis_body(certificate: &Certificate) -> [u8; GENESIS_LEN] {
    let mut body = [0; GENESIS_LEN];
    body[..32].copy_from_slice(certificate.identity.as_bytes());
    body[32..40].copy_from_slice(&certificate.created.to_be_bytes());
    body[40..].copy_from_slice(&certificate.signature);
    body
}

/// Decodes the body of the first event of `device`'s log, without verifying the certificate.
pub(super) fn read_genesis(device: DeviceId, body: &[u8]) -> Option<Certificate> {
    let (identity, rest) = body.split_first_chunk::<32>()?;
    let (created, signature) = rest.split_first_chunk::<8>()?;
    Some(Certificate {
        identity: IdentityId::from_bytes(identity).ok()?,
        device,
        created: u64::from_be_bytes(*created),
        signature: signature.try_into().ok()?,
    })
}

/// Encodes a leave.
pub(super) fn leave() -> Vec<u8> {
    codec::encode(Kind::Leave(proto::Leave {}))
}
