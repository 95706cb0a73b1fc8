//! Identities, device keys, certificates and safety numbers (`docs/PROTOCOL.md`, identity and devices).

use std::{fmt, str::FromStr};

use rand_core::CryptoRng;
use zeroize::Zeroizing;

/// Why a key, certificate, signature or Bit Chat ID was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The 32 bytes are not a canonical, torsion-free, strong Ed25519 public key.
    #[error("not an acceptable public key")]
    BadKey,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
    /// The text is not a Bit Chat ID.
    #[error(
        "not a Bit Chat ID: it starts with \"bitchat1\" and has {expected} characters",
        expected = 66
    )]
    BadId,
}

/// A person's public key: a long-term Ed25519 key. Shown as its Bit Chat ID (bech32m, `bitchat1...`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId([u8; 32]);

/// A device's public key. Logs belong to devices. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId([u8; 32]);

impl IdentityId {
    /// Accepts only canonical, torsion-free, strong keys (CRYPTO notation).
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let _ = bytes;
        todo!()
    }
    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Checks `Sig(self, label; parts)` with `verify_strict`.
    pub fn verify(
        &self,
        label: &str,
        parts: &[&[u8]],
        signature: &[u8; 64],
    ) -> Result<(), IdentityError> {
        let _ = (label, parts, signature);
        todo!()
    }
}
impl fmt::Display for IdentityId {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl fmt::Debug for IdentityId {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl FromStr for IdentityId {
    type Err = IdentityError;
    fn from_str(_s: &str) -> Result<Self, IdentityError> {
        todo!()
    }
}
impl DeviceId {
    /// Accepts only canonical, torsion-free, strong keys.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        let _ = bytes;
        todo!()
    }
    /// The key's 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// Checks `Sig(self, label; parts)` with `verify_strict`.
    pub fn verify(
        &self,
        label: &str,
        parts: &[&[u8]],
        signature: &[u8; 64],
    ) -> Result<(), IdentityError> {
        let _ = (label, parts, signature);
        todo!()
    }
}
impl fmt::Display for DeviceId {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}
impl fmt::Debug for DeviceId {
    fn fmt(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        todo!()
    }
}

/// A person's secret key.
pub struct IdentityKey(ed25519_dalek::SigningKey);

/// A device's secret key.
pub struct DeviceKey(ed25519_dalek::SigningKey);

impl IdentityKey {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let _ = rng;
        todo!()
    }
    /// The key with this 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let _ = seed;
        todo!()
    }
    /// The seed, to be kept.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        todo!()
    }
    /// The public half.
    pub fn id(&self) -> IdentityId {
        todo!()
    }
    /// `Sig(identity, label; parts)`.
    pub fn sign(&self, label: &str, parts: &[&[u8]]) -> [u8; 64] {
        let _ = (label, parts);
        todo!()
    }
    /// `cert = Sig(identity, "device"; device ‖ u64 created)`; `created` in Unix seconds.
    pub fn certify(&self, device: &DeviceId, created: u64) -> Certificate {
        let _ = (device, created);
        todo!()
    }
}
impl DeviceKey {
    /// A new key.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        let _ = rng;
        todo!()
    }
    /// The key with this 32-byte seed.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let _ = seed;
        todo!()
    }
    /// The seed, to be kept.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        todo!()
    }
    /// The public half.
    pub fn id(&self) -> DeviceId {
        todo!()
    }
    /// `Sig(device, label; parts)`.
    pub fn sign(&self, label: &str, parts: &[&[u8]]) -> [u8; 64] {
        let _ = (label, parts);
        todo!()
    }
}

/// An identity's signed word that a device is its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Who certifies.
    pub identity: IdentityId,
    /// What is certified.
    pub device: DeviceId,
    /// When the device was made, in Unix seconds, by its own clock.
    pub created: u64,
    /// `Sig(identity, "device"; device ‖ u64 created)`.
    pub signature: [u8; 64],
}
impl Certificate {
    /// Checks the signature.
    pub fn verify(&self) -> Result<(), IdentityError> {
        todo!()
    }
}

/// The 60 digits that two people compare by voice, in twelve groups of five. The same for both.
pub fn safety_number(a: &IdentityId, b: &IdentityId) -> String {
    let _ = (a, b);
    todo!()
}
