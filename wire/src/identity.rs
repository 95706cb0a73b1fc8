//! Identities, device keys, certificates and safety numbers (`docs/PROTOCOL.md`, identity and devices).
//!
//! Public keys are checked when a value of these types is created: canonical, torsion-free and not of
//! small order. So equal bytes mean equal keys, and every member accepts the same signatures.

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
    /// A shared secret with one's own identity was requested.
    #[error("this is your own identity")]
    Oneself,
}

/// A person's public key: a long-term Ed25519 key. Shown as its Bit Chat ID (bech32m, `bitchat1...`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityId([u8; 32]);

/// A device's public key. Logs belong to devices. Shown as hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId([u8; 32]);

/// What identities' and devices' public keys have in common.
macro_rules! public_key {
    ($id:ident) => {
        impl $id {
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
    };
}
public_key!(IdentityId);
public_key!(DeviceId);

impl fmt::Display for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        bech32::encode_lower_to_fmt::<Bech32m, _>(f, HUMAN_PART, &self.0).map_err(|_| fmt::Error)
    }
}

/// Shows eight characters after the `bitchat1` that all IDs share: the whole ID has no place in a log.
impl fmt::Debug for IdentityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.to_string();
        let start = HUMAN_PART.as_bytes().len() + 1;
        f.write_str(whole.get(start..start + 8).unwrap_or_default())
    }
}

impl FromStr for IdentityId {
    type Err = IdentityError;

    /// Accepts lower case, or upper case throughout (as QR codes prefer); refuses any other form.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if text.len() != ID_LEN || !text.is_ascii() {
            return Err(IdentityError::BadId);
        }
        let lower = text.to_ascii_lowercase();
        if text != lower && text != text.to_ascii_uppercase() {
            return Err(IdentityError::BadId);
        }
        // `decode` accepts either checksum and ignores padding bits: encoding again leaves one form.
        let (_, bytes) = bech32::decode(&lower).map_err(|_| IdentityError::BadId)?;
        let id = Self::from_bytes(&bytes).map_err(|_| IdentityError::BadId)?;
        if id.to_string() != lower {
            return Err(IdentityError::BadId);
        }
        Ok(id)
    }
}

impl DeviceId {
    /// Wraps bytes that were accepted as a key before.
    pub(crate) fn checked_before(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// Capacity of [`KeyCache`]. A hostile peer can make us check any number of keys; a full cache is cleared.
const CACHED_KEYS: usize = 256;

/// A bounded cache of device keys that have been checked: a check costs as much as verifying a signature.
#[derive(Default)]
pub struct KeyCache(HashMap<[u8; 32], VerifyingKey>);

impl KeyCache {
    /// Checks a key, with the same result as [`DeviceId::from_bytes`].
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

    /// Verifies a signature, with the same result as [`DeviceId::verify`].
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

/// Shows eight digits only: the whole id has no place in a log.
impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..4]))
    }
}

/// A person's secret key, wiped when dropped.
pub struct IdentityKey(SigningKey);

/// A device's secret key, wiped when dropped.
pub struct DeviceKey(SigningKey);

/// What identities' and devices' secret keys have in common.
macro_rules! secret_key {
    ($key:ident, $id:ident) => {
        impl $key {
            /// Generates a key, whose seed is 32 bytes of `rng`.
            pub fn generate(rng: &mut impl CryptoRng) -> Self {
                let mut seed = Zeroizing::new([0; 32]);
                rng.fill_bytes(seed.as_mut());
                Self::from_seed(&seed)
            }

            /// The key with this 32-byte seed (RFC 8032, section 5.1.5).
            pub fn from_seed(seed: &[u8; 32]) -> Self {
                Self(SigningKey::from_bytes(seed))
            }

            /// The seed, for storage.
            pub fn seed(&self) -> Zeroizing<[u8; 32]> {
                Zeroizing::new(self.0.to_bytes())
            }

            /// The public key.
            pub fn id(&self) -> $id {
                $id(self.0.verifying_key().to_bytes())
            }

            /// Signs: `Sig(self, label; parts)`.
            pub fn sign(&self, label: &str, parts: &[&[u8]]) -> [u8; 64] {
                self.0.sign(&message(label, parts)).to_bytes()
            }
        }
    };
}
secret_key!(IdentityKey, IdentityId);
secret_key!(DeviceKey, DeviceId);

impl IdentityKey {
    /// Certifies a device: `cert = Sig(identity, "device"; device ‖ u64 created)`; `created` in Unix seconds.
    pub fn certify(&self, device: &DeviceId, created: u64) -> Certificate {
        Certificate {
            identity: self.id(),
            device: *device,
            created,
            signature: self.sign("device", &[device.as_bytes(), &created.to_be_bytes()]),
        }
    }

    /// The initial secret of the direct channel with `other`: X25519 (RFC 7748) of the two
    /// identities, mapped from Ed25519. Both compute the same; refused for one's own identity.
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

/// An identity's signed statement that a device belongs to it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Certificate {
    /// The certifying identity.
    pub identity: IdentityId,
    /// The certified device.
    pub device: DeviceId,
    /// Creation time of the device by its own clock, in Unix seconds.
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

/// Leaves out the signature, which is of no use to a reader.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("identity", &self.identity)
            .field("device", &self.device)
            .field("created", &self.created)
            .finish_non_exhaustive()
    }
}

/// The 60 digits that two people compare by voice, in twelve groups of five separated by spaces.
/// Both get the same: the lower identity's half comes first.
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
