//! The three messages that make a link: a SIGMA-I exchange keyed with the channel, X25519 + ML-KEM-768.

use rand_core::CryptoRng;

use crate::{
    channel::EpochKeys,
    identity::{Certificate, DeviceKey},
    link::{Opener, Renewal, Sealer},
};

/// Length of the first message: `1 ‖ tag 32 ‖ pow 8 ‖ eI 32 ‖ ek 1184`.
pub const M1_LEN: usize = 1_257;
/// Length of the second message: `2 ‖ eR 32 ‖ ct 1088 ‖ box2 216`.
pub const M2_LEN: usize = 1_337;
/// Length of the third message: `3 ‖ box3 216`.
pub const M3_LEN: usize = 217;

/// Why a handshake failed. The peer is never told: the stream is reset with code 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// Replace by the real variants.
    #[error("placeholder")]
    Placeholder,
}

/// Which end of the transport connection's TLS session the handshake's initiator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsSide {
    /// It dialled.
    Client,
    /// It accepted.
    Server,
}

/// `B`: what ties a handshake to one TLS session and the two PeerIds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding(pub [u8; 32]);

impl Binding {
    /// The TLS exporter's label.
    pub const EXPORTER_LABEL: &'static [u8] = b"EXPORTER-bitchat-link-1";
    /// `H("binding"; exporter ‖ SHA-256(client PeerId) ‖ SHA-256(server PeerId))`; PeerIds as bytes.
    pub fn new(exporter: &[u8; 32], client_peer_id: &[u8], server_peer_id: &[u8]) -> Self {
        let _ = (exporter, client_peer_id, server_peer_id);
        todo!()
    }
}

/// `HMAC-SHA256(k_tag, B ‖ s)`, s = 0 if the initiator is the TLS client, else 1. A responder makes its table of these once a connection.
pub fn link_tag(keys: &EpochKeys, binding: &Binding, initiator: TlsSide) -> [u8; 32] {
    let _ = (keys, binding, initiator);
    todo!()
}

/// Who we are, as a handshake shows it.
#[derive(Clone, Copy)]
pub struct Local<'a> {
    /// Our device's key.
    pub device: &'a DeviceKey,
    /// Our identity's certificate of it.
    pub certificate: &'a Certificate,
}

/// A finished handshake.
pub struct Established {
    /// The other's identity and device, proven.
    pub peer: Certificate,
    /// Seals what we send.
    pub sealer: Sealer,
    /// Opens what we receive.
    pub opener: Opener,
    /// Renews the keys.
    pub renewal: Renewal,
}

/// The side that opened the stream, waiting for M2.
pub struct Initiator {
    _p: (),
}

/// The other side, waiting for M3.
pub struct Responder {
    _p: (),
}

impl Initiator {
    /// Makes M1.
    pub fn start(
        keys: &EpochKeys,
        binding: Binding,
        side: TlsSide,
        rng: &mut impl CryptoRng,
    ) -> (Self, [u8; M1_LEN]) {
        let _ = (keys, binding, side, rng);
        todo!()
    }
    /// Checks M2 (AEAD, certificate, signature, not ourselves, then `accept`, which holds roster and block list) and only then makes M3.
    pub fn finish(
        self,
        m2: &[u8],
        local: Local<'_>,
        accept: impl FnOnce(&Certificate) -> bool,
    ) -> Result<([u8; M3_LEN], Established), HandshakeError> {
        let _ = (m2, local, accept);
        todo!()
    }
}

impl Responder {
    /// Checks M1 (length, tag, pow, ek modulus, non-zero DH) and makes M2.
    pub fn start(
        keys: &EpochKeys,
        binding: Binding,
        initiator: TlsSide,
        m1: &[u8],
        local: Local<'_>,
        rng: &mut impl CryptoRng,
    ) -> Result<(Self, Box<[u8; M2_LEN]>), HandshakeError> {
        let _ = (keys, binding, initiator, m1, local, rng);
        todo!()
    }
    /// Checks M3 in the same order as the initiator checks M2.
    pub fn finish(
        self,
        m3: &[u8],
        local: Local<'_>,
        accept: impl FnOnce(&Certificate) -> bool,
    ) -> Result<Established, HandshakeError> {
        let _ = (m3, local, accept);
        todo!()
    }
}
