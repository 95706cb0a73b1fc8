//! The three messages that establish a link: a SIGMA-I exchange keyed with the channel, X25519 + ML-KEM-768.
//!
//! Pure: the caller moves the bytes, keeps the deadline and the limits on rates and pending
//! handshakes, and on any error resets the stream with code 0 and sends nothing.

use std::fmt;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce, Tag};
use rand_core::CryptoRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    Opener, Renewal, Role, Sealer,
    exchange::{self, Answer, CT_LEN, DH_LEN, EK_LEN, Ephemeral, ExchangeError, Shared},
    parts::Parts,
};
use crate::{
    channel::EpochKeys,
    crypto::{Secret, expand_key, extract, hash, mac},
    identity::{Certificate, DeviceId, DeviceKey, IdentityError, IdentityId},
};

/// Length of the first message: `1 ‖ tag 32 ‖ pow 8 ‖ eI 32 ‖ ek 1184`.
pub const M1_LEN: usize = 1_257;
/// Length of the second message: `2 ‖ eR 32 ‖ ct 1088 ‖ box2 216`.
pub const M2_LEN: usize = 1_337;
/// Length of the third message: `3 ‖ box3 216`.
pub const M3_LEN: usize = 217;

/// `identity 32 ‖ device 32 ‖ created u64 ‖ cert 64 ‖ sig 64`.
const CREDENTIAL_LEN: usize = 200;
/// A credential and its GCM tag.
const BOX_LEN: usize = CREDENTIAL_LEN + 16;

/// Why a handshake failed. The peer does not learn the reason: the stream is reset with code 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The message does not have the length and number of the one that was expected.
    #[error("not the handshake message that was expected")]
    Malformed,
    /// The tag is not this channel's on this connection: a stranger, or a relayed message.
    #[error("the tag does not prove the channel's key on this connection")]
    Tag,
    /// The proof of work is not zero, as it must be outside inboxes.
    #[error("an unexpected proof of work")]
    ProofOfWork,
    /// The ML-KEM key has a coefficient that is not below q.
    #[error("not a valid ML-KEM-768 key")]
    KemKey,
    /// The X25519 point is of low order.
    #[error("the X25519 exchange gave no secret")]
    Point,
    /// The sealed credential does not open: another key, or changed in transit.
    #[error("the sealed credential does not open")]
    Sealed,
    /// The credential's keys or its certificate are not valid.
    #[error("the device's certificate is not valid")]
    Certificate,
    /// The device did not sign this handshake.
    #[error("the device's signature of the handshake is not valid")]
    Signature,
    /// The other side is this device.
    #[error("this device is at the other end")]
    Oneself,
    /// The caller does not accept this identity or device.
    #[error("this identity or device is not accepted here")]
    Refused,
}

impl From<ExchangeError> for HandshakeError {
    fn from(error: ExchangeError) -> Self {
        match error {
            ExchangeError::KemKey => Self::KemKey,
            ExchangeError::Point => Self::Point,
        }
    }
}

/// The initiator's role in the TLS session of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsSide {
    /// The TLS client: it dialled.
    Client,
    /// The TLS server: it accepted.
    Server,
}

/// The binding `B`, which ties a handshake to one TLS session and the two PeerIds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(pub [u8; 32]);

impl Binding {
    /// The label of the TLS exporter (RFC 8446, section 7.5); its context is empty, its length 32.
    pub const EXPORTER_LABEL: &'static [u8] = b"EXPORTER-bitchat-link-1";

    /// Computes `B = H("binding"; exporter ‖ SHA-256(client PeerId) ‖ SHA-256(server PeerId))`; PeerIds as bytes.
    pub fn new(exporter: &[u8; 32], client_peer_id: &[u8], server_peer_id: &[u8]) -> Self {
        let client = Sha256::digest(client_peer_id);
        let server = Sha256::digest(server_peer_id);
        Self(hash("binding", &[exporter, &client, &server]))
    }
}

/// The tag of a first message: `HMAC-SHA256(k_tag, B ‖ s)`, s = 0 if the initiator is the TLS client, otherwise 1.
/// A responder computes its table of these once per connection.
pub fn link_tag(keys: &EpochKeys, binding: &Binding, initiator: TlsSide) -> [u8; 32] {
    let side = match initiator {
        TlsSide::Client => 0,
        TlsSide::Server => 1,
    };
    mac(&keys.tag, &[&binding.0, &[side]])
}

/// Reads the tag of a first message, with which a responder finds the channel in its table; `None` if this
/// is not a first message.
pub fn m1_tag(m1: &[u8]) -> Option<[u8; 32]> {
    if m1.len() != M1_LEN || m1[0] != 1 {
        return None;
    }
    m1[1..33].try_into().ok()
}

/// Our identity and device, as the handshake proves them.
#[derive(Clone, Copy)]
pub struct Local<'a> {
    /// Our device's key.
    pub device: &'a DeviceKey,
    /// Our identity's certificate of it.
    pub certificate: &'a Certificate,
}

/// A finished handshake.
pub struct Established {
    /// The peer's identity and device, proven.
    pub peer: Certificate,
    /// Seals outgoing frames.
    pub sealer: Sealer,
    /// Opens incoming frames.
    pub opener: Opener,
    /// Renews the keys.
    pub renewal: Renewal,
}

/// Shows the peer, never a key.
impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// The side that opened the stream, while it waits for M2.
pub struct Initiator {
    /// `k_link`.
    salt: Secret,
    th1: [u8; 32],
    ephemeral: Ephemeral,
}

/// The other side, while it waits for M3.
pub struct Responder {
    prk: Secret,
    th3: [u8; 32],
}

impl Initiator {
    /// Creates M1. `side` is our own role in the TLS session.
    pub fn start(
        keys: &EpochKeys,
        binding: Binding,
        side: TlsSide,
        rng: &mut impl CryptoRng,
    ) -> (Self, [u8; M1_LEN]) {
        let (ephemeral, offer) = Ephemeral::generate(rng);
        let m1: [u8; M1_LEN] = concat(&[
            &[1],
            &link_tag(keys, &binding, side),
            &[0; 8],
            &offer.dh,
            offer.ek.as_slice(),
        ]);
        let state = Self {
            salt: keys.link.clone(),
            th1: th1(keys, &binding, &m1),
            ephemeral,
        };
        (state, m1)
    }

    /// Checks M2 (AEAD, certificate, signature, not ourselves, then `accept`, which checks expected
    /// identity, roster and block list) and only then creates M3.
    pub fn finish(
        self,
        m2: &[u8],
        local: Local<'_>,
        accept: impl FnOnce(&Certificate) -> bool,
    ) -> Result<([u8; M3_LEN], Established), HandshakeError> {
        let mut parts = Parts::of(m2, 2, M2_LEN).ok_or(HandshakeError::Malformed)?;
        let (dh, ct): (&[u8; DH_LEN], &[u8; CT_LEN]) = (parts.take(), parts.take());
        let box2: &[u8; BOX_LEN] = parts.take();

        let shared = self.ephemeral.finish(dh, ct)?;
        let prk = prk(&self.salt, &shared);
        let th2 = hash("th2", &[&self.th1, dh, ct]);
        let peer = open(&prk, Role::Responder, &th2, box2, local, accept)?;
        let th3 = hash("th3", &[&th2, box2]);
        let box3 = seal(&prk, Role::Initiator, &th3, local);
        let established = establish(Role::Initiator, &prk, &th3, &box3, peer);
        Ok((concat(&[&[3], &box3]), established))
    }
}

impl Responder {
    /// Checks M1 (length, tag, pow, ek modulus, non-zero DH) and creates M2. `initiator` is the role
    /// of M1's sender in the TLS session.
    pub fn start(
        keys: &EpochKeys,
        binding: Binding,
        initiator: TlsSide,
        m1: &[u8],
        local: Local<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Box<[u8; M2_LEN]>), HandshakeError> {
        let mut parts = Parts::of(m1, 1, M1_LEN).ok_or(HandshakeError::Malformed)?;
        let (tag, pow): (&[u8; 32], &[u8; 8]) = (parts.take(), parts.take());
        let (dh, ek): (&[u8; DH_LEN], &[u8; EK_LEN]) = (parts.take(), parts.take());

        let expected = link_tag(keys, &binding, initiator);
        if !bool::from(expected.ct_eq(tag)) {
            return Err(HandshakeError::Tag);
        }
        if *pow != [0; 8] {
            return Err(HandshakeError::ProofOfWork);
        }
        let (Answer { dh, ct }, shared) = exchange::answer(dh, ek, rng)?;

        let prk = prk(&keys.link, &shared);
        let th2 = hash("th2", &[&th1(keys, &binding, m1), &dh, ct.as_slice()]);
        let box2 = seal(&prk, Role::Responder, &th2, local);
        let th3 = hash("th3", &[&th2, &box2]);
        let m2 = Box::new(concat(&[&[2], &dh, ct.as_slice(), &box2]));
        Ok((Self { prk, th3 }, m2))
    }

    /// Checks M3 in the same order as the initiator checks M2.
    pub fn finish(
        self,
        m3: &[u8],
        local: Local<'_>,
        accept: impl FnOnce(&Certificate) -> bool,
    ) -> Result<Established, HandshakeError> {
        let mut parts = Parts::of(m3, 3, M3_LEN).ok_or(HandshakeError::Malformed)?;
        let box3: &[u8; BOX_LEN] = parts.take();
        let peer = open(&self.prk, Role::Initiator, &self.th3, box3, local, accept)?;
        Ok(establish(Role::Responder, &self.prk, &self.th3, box3, peer))
    }
}

fn th1(keys: &EpochKeys, binding: &Binding, m1: &[u8]) -> [u8; 32] {
    let epoch = keys.epoch.to_be_bytes();
    hash("link", &[&keys.cid.0, &epoch, &binding.0, m1])
}

/// Derives the keys, salted with `k_link`: both exchanges are worthless without the channel's key.
fn prk(salt: &Secret, shared: &Shared) -> Secret {
    extract(salt, &[shared.as_slice()])
}

fn establish(
    role: Role,
    prk: &Secret,
    th3: &[u8; 32],
    own_or_their_box3: &[u8; BOX_LEN],
    peer: Certificate,
) -> Established {
    let th4 = hash("th4", &[th3, own_or_their_box3]);
    let root = expand_key(prk, "root", &[&th4]);
    Established {
        peer,
        sealer: Sealer::new(&root, role),
        opener: Opener::new(&root, role.other()),
        renewal: Renewal::new(role, peer.device, root, th4),
    }
}

/// The labels of one side's box key and signature.
fn labels(sender: Role) -> (&'static str, &'static str) {
    match sender {
        Role::Initiator => ("M3", "link I"),
        Role::Responder => ("M2", "link R"),
    }
}

/// An all-zero nonce: each box key seals exactly one box.
fn cipher(
    prk: &Secret,
    label: &str,
    th: &[u8; 32],
) -> (Aes256Gcm, Nonce<aes_gcm::aead::consts::U12>) {
    let key = expand_key(prk, label, &[th]);
    (Aes256Gcm::new((&*key).into()), Nonce::default())
}

/// Seals our credential under the transcript `th`.
fn seal(prk: &Secret, sender: Role, th: &[u8; 32], local: Local<'_>) -> [u8; BOX_LEN] {
    let (box_label, sig_label) = labels(sender);
    let own = local.certificate;
    let (identity, device) = (own.identity.as_bytes(), own.device.as_bytes());
    let sig = local.device.sign(sig_label, &[th, identity, device]);
    let mut out: [u8; BOX_LEN] = concat(&[
        identity,
        device,
        &own.created.to_be_bytes(),
        &own.signature,
        &sig,
        &[0; 16],
    ]);
    let (aes, nonce) = cipher(prk, box_label, th);
    let (text, tag) = out.split_at_mut(CREDENTIAL_LEN);
    let made = aes
        .encrypt_inout_detached(&nonce, th, text.into())
        .expect("200 bytes are within GCM's limit");
    tag.copy_from_slice(&made);
    out
}

/// Opens the peer's credential and checks all of it, in the protocol's order.
fn open(
    prk: &Secret,
    sender: Role,
    th: &[u8; 32],
    sealed: &[u8; BOX_LEN],
    local: Local<'_>,
    accept: impl FnOnce(&Certificate) -> bool,
) -> Result<Certificate, HandshakeError> {
    let (box_label, sig_label) = labels(sender);
    let (aes, nonce) = cipher(prk, box_label, th);
    let mut text = [0; CREDENTIAL_LEN];
    text.copy_from_slice(&sealed[..CREDENTIAL_LEN]);
    let mut tag = Tag::default();
    tag.copy_from_slice(&sealed[CREDENTIAL_LEN..]);
    aes.decrypt_inout_detached(&nonce, th, text.as_mut_slice().into(), &tag)
        .map_err(|_| HandshakeError::Sealed)?;

    let mut parts = Parts::new(&text);
    let bad = |_: IdentityError| HandshakeError::Certificate;
    let peer = Certificate {
        identity: IdentityId::from_bytes(parts.take::<32>()).map_err(bad)?,
        device: DeviceId::from_bytes(parts.take::<32>()).map_err(bad)?,
        created: u64::from_be_bytes(*parts.take()),
        signature: *parts.take(),
    };
    let sig: &[u8; 64] = parts.take();
    peer.verify().map_err(bad)?;
    let (identity, device) = (peer.identity.as_bytes(), peer.device.as_bytes());
    peer.device
        .verify(sig_label, &[th, identity, device], sig)
        .map_err(|_| HandshakeError::Signature)?;
    if peer.device == local.device.id() {
        return Err(HandshakeError::Oneself);
    }
    if !accept(&peer) {
        return Err(HandshakeError::Refused);
    }
    Ok(peer)
}

/// Concatenates parts whose lengths add up to `N`.
fn concat<const N: usize>(parts: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    let mut rest = out.as_mut_slice();
    for part in parts {
        let (head, tail) = rest.split_at_mut(part.len());
        head.copy_from_slice(part);
        rest = tail;
    }
    debug_assert!(rest.is_empty(), "the parts fill the message");
    out
}
