//! Identities, device keys, certificates and safety numbers (`docs/PROTOCOL.md`, identity and devices).
//!
//! A public key in one of these types was checked when it was made: canonical, torsion-free and not
//! of small order. So equal bytes mean equal keys, and every member accepts the same signatures.

use std::{collections::HashMap, fmt, str::FromStr};

use bech32::{Bech32m, Hrp};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use rand_core::CryptoRng;
use sha2::{Digest, Sha512};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::crypto::{Secret, message};

/// The human part of a Bit Chat ID (BIP 350).
const HUMAN_PART: Hrp = Hrp::parse_unchecked("bitchat");
/// `bitchat`, `1`, 52 characters of data and 6 of checksum.
const ID_LEN: usize = 66;

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
    #[error("not a Bit Chat ID: it starts with \"bitchat1\" and has {ID_LEN} characters")]
    BadId,
    /// A secret with oneself was asked for.
    #[error("this is your own identity")]
    Oneself,
}

/// A person's public key: a long-term Ed25519 key. Shown as its Bit Chat ID (bech32m, `bitchat1...`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId([u8; 32]);

/// A device's public key. Logs belong to devices. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId([u8; 32]);

impl IdentityId {
    /// Accepts only 32 bytes that are a canonical, torsion-free, strong key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        check_key(bytes).map(Self)
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
        verify(&self.0, label, parts, signature)
    }
}

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HUMAN_PART, &self.0).map_err(|_| fmt::Error)
    }
}

/// Eight characters behind the `bitchat1` that all share: the whole ID has no place in a log.
impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.to_string();
        let start = HUMAN_PART.as_bytes().len() + 1;
        f.write_str(whole.get(start..start + 8).unwrap_or_default())
    }
}

impl FromStr for IdentityId {
    type Err = IdentityError;

    /// Takes lower case, or upper case throughout (as QR codes prefer); refuses any other form.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.len() != ID_LEN || !text.is_ascii() {
            return Err(IdentityError::BadId);
        }
        let lower = text.to_ascii_lowercase();
        if text != lower && text != text.to_ascii_uppercase() {
            return Err(IdentityError::BadId);
        }
        // `decode` takes either checksum and ignores padding bits: encoding again leaves one form.
        let (_, bytes) = bech32::decode(&lower).map_err(|_| IdentityError::BadId)?;
        let id = Self::from_bytes(&bytes).map_err(|_| IdentityError::BadId)?;
        if id.to_string() != lower {
            return Err(IdentityError::BadId);
        }
        Ok(id)
    }
}

impl DeviceId {
    /// Accepts only 32 bytes that are a canonical, torsion-free, strong key.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdentityError> {
        check_key(bytes).map(Self)
    }

    /// Bytes that were accepted as a key before.
    pub(crate) fn checked_before(bytes: [u8; 32]) -> Self {
        Self(bytes)
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
        verify(&self.0, label, parts, signature)
    }
}

/// Device keys that one who is hostile may make us check: beyond, all are forgotten and checked anew.
const CACHED_KEYS: usize = 256;

/// Device keys that were checked already, which costs as much as verifying a signature. Bounded.
#[derive(Default)]
pub struct KeyCache(HashMap<[u8; 32], VerifyingKey>);

impl KeyCache {
    /// The same as [`DeviceId::from_bytes`].
    pub fn check(&mut self, bytes: [u8; 32]) -> Result<DeviceId, IdentityError> {
        if !self.0.contains_key(&bytes) {
            let key = checked(&bytes)?;
            if self.0.len() >= CACHED_KEYS {
                self.0.clear();
            }
            self.0.insert(bytes, key);
        }
        Ok(DeviceId(bytes))
    }

    /// The same as [`DeviceId::verify`].
    pub fn verify(
        &self,
        device: &DeviceId,
        label: &str,
        parts: &[&[u8]],
        signature: &[u8; 64],
    ) -> Result<(), IdentityError> {
        match self.0.get(&device.0) {
            Some(key) => verify_by(key, label, parts, signature),
            None => device.verify(label, parts, signature),
        }
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// Eight digits only: the whole id has no place in a log.
impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

/// A person's secret key, wiped when dropped.
pub struct IdentityKey(SigningKey);

/// A device's secret key, wiped when dropped.
pub struct DeviceKey(SigningKey);

impl IdentityKey {
    /// A new key: its seed is 32 bytes of `rng`.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(generate(rng))
    }

    /// The key with this 32-byte seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to be kept.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn id(&self) -> IdentityId {
        IdentityId(self.0.verifying_key().to_bytes())
    }

    /// `Sig(identity, label; parts)`.
    pub fn sign(&self, label: &str, parts: &[&[u8]]) -> [u8; 64] {
        sign(&self.0, label, parts)
    }

    /// `cert = Sig(identity, "device"; device ‖ u64 created)`; `created` in Unix seconds.
    pub fn certify(&self, device: &DeviceId, created: u64) -> Certificate {
        Certificate {
            identity: self.id(),
            device: *device,
            created,
            signature: self.sign("device", &[device.as_bytes(), &created.to_be_bytes()]),
        }
    }

    /// The first secret of the direct channel with `other`: X25519 (RFC 7748) of the two
    /// identities, mapped from Ed25519. The same for both; refused with oneself.
    pub fn direct_secret(&self, other: &IdentityId) -> Result<Secret, IdentityError> {
        if *other == self.id() {
            return Err(IdentityError::Oneself);
        }
        let scalar = Zeroizing::new(self.0.to_scalar_bytes());
        let point = VerifyingKey::from_bytes(&other.0)
            .map_err(|_| IdentityError::BadKey)?
            .to_montgomery();
        let shared = StaticSecret::from(*scalar).diffie_hellman(&PublicKey::from(point.to_bytes()));
        if !shared.was_contributory() {
            return Err(IdentityError::BadKey);
        }
        Ok(Secret::new(shared.to_bytes()))
    }
}

impl DeviceKey {
    /// A new key: its seed is 32 bytes of `rng`.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(generate(rng))
    }

    /// The key with this 32-byte seed (RFC 8032, section 5.1.5).
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The seed, to be kept.
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public half.
    pub fn id(&self) -> DeviceId {
        DeviceId(self.0.verifying_key().to_bytes())
    }

    /// `Sig(device, label; parts)`.
    pub fn sign(&self, label: &str, parts: &[&[u8]]) -> [u8; 64] {
        sign(&self.0, label, parts)
    }
}

/// An identity's signed word that a device is its own.
#[derive(Clone, Copy, PartialEq, Eq)]
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
        self.identity.verify(
            "device",
            &[self.device.as_bytes(), &self.created.to_be_bytes()],
            &self.signature,
        )
    }
}

/// Without the signature, which tells a reader nothing.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("identity", &self.identity)
            .field("device", &self.device)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

/// The 60 digits that two people compare by voice, in twelve groups of five, with a space between.
/// The same for both: the lower identity's half comes first.
pub fn safety_number(a: &IdentityId, b: &IdentityId) -> String {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    let mut groups = Vec::with_capacity(12);
    for id in [low, high] {
        let digest = Sha512::digest(message("safety", &[id.as_bytes()]));
        for chunk in digest[..30].chunks_exact(5) {
            let number = chunk
                .iter()
                .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
            groups.push(format!("{:05}", number % 100_000));
        }
    }
    groups.join(" ")
}

fn check_key(bytes: &[u8]) -> Result<[u8; 32], IdentityError> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| IdentityError::BadKey)?;
    checked(&bytes).map(|_| bytes)
}

fn checked(bytes: &[u8; 32]) -> Result<VerifyingKey, IdentityError> {
    let key = VerifyingKey::from_bytes(bytes).map_err(|_| IdentityError::BadKey)?;
    let point = key.to_edwards();
    if point.compress().to_bytes() != *bytes || point.is_small_order() || !point.is_torsion_free() {
        return Err(IdentityError::BadKey);
    }
    Ok(key)
}

fn verify(
    key: &[u8; 32],
    label: &str,
    parts: &[&[u8]],
    signature: &[u8; 64],
) -> Result<(), IdentityError> {
    let key = VerifyingKey::from_bytes(key).map_err(|_| IdentityError::BadKey)?;
    verify_by(&key, label, parts, signature)
}

fn verify_by(
    key: &VerifyingKey,
    label: &str,
    parts: &[&[u8]],
    signature: &[u8; 64],
) -> Result<(), IdentityError> {
    key.verify_strict(&message(label, parts), &Signature::from_bytes(signature))
        .map_err(|_| IdentityError::BadSignature)
}

fn sign(key: &SigningKey, label: &str, parts: &[&[u8]]) -> [u8; 64] {
    key.sign(&message(label, parts)).to_bytes()
}

fn generate(rng: &mut impl CryptoRng) -> SigningKey {
    let mut seed = Zeroizing::new([0; 32]);
    rng.fill_bytes(seed.as_mut());
    SigningKey::from_bytes(&seed)
}
