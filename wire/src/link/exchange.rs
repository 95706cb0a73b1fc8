//! The ephemeral key exchange that handshake and renewal share: X25519 and ML-KEM-768 side by side.
//!
//! Randomness is drawn in a fixed order, so that the test vectors can specify it: the offering side
//! draws its X25519 scalar (32), then `d ‖ z` of the KEM key (64, FIPS 203, algorithm 16); the
//! answering side its X25519 scalar (32), then the encapsulated `m` (32, FIPS 203, algorithm 17).

use ml_kem::{
    B32, Ciphertext, Decapsulate, DecapsulationKey768, EncapsulationKey768, KeyExport, MlKem768,
    Seed,
};
use rand_core::CryptoRng;
use x25519_dalek::{PublicKey, SharedSecret, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

/// Length of an X25519 public key, in bytes.
pub(super) const DH_LEN: usize = 32;
/// Length of an ML-KEM-768 encapsulation key, in bytes.
pub(super) const EK_LEN: usize = 1_184;
/// Length of an ML-KEM-768 ciphertext, in bytes.
pub(super) const CT_LEN: usize = 1_088;

/// The shared secret: `X25519 ‖ KEM secret`, wiped when dropped.
pub(super) type Shared = Zeroizing<[u8; 64]>;

/// Why the other side's half of an exchange was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExchangeError {
    /// A coefficient of its encapsulation key is not below q (FIPS 203, section 7.2).
    KemKey,
    /// Its X25519 point is of low order.
    Point,
}

/// The offering side's secrets, wiped when dropped.
pub(super) struct Ephemeral {
    dh: StaticSecret,
    /// Boxed: several kilobytes that would otherwise be moved through every future.
    kem: Box<DecapsulationKey768>,
}

/// The offering side's half, as sent.
pub(super) struct Offer {
    pub(super) dh: [u8; DH_LEN],
    pub(super) ek: Box<[u8; EK_LEN]>,
}

/// The answering side's half, as sent.
pub(super) struct Answer {
    pub(super) dh: [u8; DH_LEN],
    pub(super) ct: Box<[u8; CT_LEN]>,
}

impl Ephemeral {
    pub(super) fn generate(rng: &mut impl CryptoRng) -> (Self, Offer) {
        let dh = scalar(rng);
        let mut seed = Zeroizing::new([0; 64]);
        rng.fill_bytes(seed.as_mut());
        let kem = Box::new(DecapsulationKey768::from_seed(Seed::from(*seed)));
        let mut ek = Box::new([0; EK_LEN]);
        ek.copy_from_slice(&kem.encapsulation_key().to_bytes());
        let offer = Offer {
            dh: PublicKey::from(&dh).to_bytes(),
            ek,
        };
        (Self { dh, kem }, offer)
    }

    pub(super) fn finish(
        self,
        dh: &[u8; DH_LEN],
        ct: &[u8; CT_LEN],
    ) -> Result<Shared, ExchangeError> {
        let shared = agree(&self.dh, dh)?;
        let ct = <&Ciphertext<MlKem768>>::from(ct);
        Ok(join(&shared, self.kem.decapsulate(ct)))
    }
}

/// Checks an offer, the KEM key first, and answers it.
pub(super) fn answer(
    dh: &[u8; DH_LEN],
    ek: &[u8; EK_LEN],
    rng: &mut impl CryptoRng,
) -> Result<(Answer, Shared), ExchangeError> {
    let ek = EncapsulationKey768::new(ek.into()).map_err(|_| ExchangeError::KemKey)?;
    let own = scalar(rng);
    let shared = agree(&own, dh)?;
    let mut m = Zeroizing::new([0; 32]);
    rng.fill_bytes(m.as_mut());
    let (sent, secret) = ek.encapsulate_deterministic(<&B32>::from(&*m));
    let mut ct = Box::new([0; CT_LEN]);
    ct.copy_from_slice(&sent);
    let answer = Answer {
        dh: PublicKey::from(&own).to_bytes(),
        ct,
    };
    Ok((answer, join(&shared, secret)))
}

fn scalar(rng: &mut impl CryptoRng) -> StaticSecret {
    let mut bytes = Zeroizing::new([0; 32]);
    rng.fill_bytes(bytes.as_mut());
    StaticSecret::from(*bytes)
}

fn agree(own: &StaticSecret, other: &[u8; DH_LEN]) -> Result<SharedSecret, ExchangeError> {
    let shared = own.diffie_hellman(&PublicKey::from(*other));
    if shared.was_contributory() {
        Ok(shared)
    } else {
        Err(ExchangeError::Point)
    }
}

fn join(dh: &SharedSecret, mut kem: ml_kem::SharedKey) -> Shared {
    let mut out = Shared::new([0; 64]);
    out[..32].copy_from_slice(dh.as_bytes());
    out[32..].copy_from_slice(&kem);
    kem.as_mut_slice().zeroize();
    out
}
