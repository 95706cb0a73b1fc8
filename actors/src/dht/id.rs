//! 160-bit ids of nodes and infohashes, and the XOR distance between them (BEP 5).

use std::fmt;

use rand::{Rng, RngExt};

/// Bytes of an id.
pub const ID_LEN: usize = 20;

/// A node id, an infohash, or any other point of the id space.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub [u8; ID_LEN]);

/// The distance between two ids: their XOR, compared as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Distance(u128, u32);

impl Id {
    /// A uniformly random id.
    pub fn random<R: Rng + ?Sized>(rng: &mut R) -> Self {
        Self(rng.random())
    }

    /// The id with these 20 bytes; `None` for any other length.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The XOR of both ids.
    pub fn distance(&self, other: &Self) -> Distance {
        let ((high, low), (other_high, other_low)) = (self.halves(), other.halves());
        Distance(high ^ other_high, low ^ other_low)
    }

    /// The first 16 bytes and the last four, as numbers.
    fn halves(&self) -> (u128, u32) {
        let [high @ .., a, b, c, d] = self.0;
        (u128::from_be_bytes(high), u32::from_be_bytes([a, b, c, d]))
    }

    /// The number of leading bits that both share: 160 for equal ids.
    pub fn shared_bits(&self, other: &Self) -> usize {
        let Distance(high, low) = self.distance(other);
        let bits = match high {
            0 => 128 + low.leading_zeros(),
            _ => high.leading_zeros(),
        };
        bits as usize
    }

    /// A random id that shares exactly `bits` leading bits with this one (all of it from 160 on).
    pub fn near<R: Rng + ?Sized>(&self, bits: usize, rng: &mut R) -> Self {
        let mut id = Self::random(rng);
        for bit in 0..=bits.min(ID_LEN * 8 - 1) {
            let (byte, mask) = (bit / 8, 0x80_u8 >> (bit % 8));
            // The bit after the shared ones is inverted.
            let own = if bit == bits {
                !self.0[byte]
            } else {
                self.0[byte]
            };
            id.0[byte] = (id.0[byte] & !mask) | (own & mask);
        }
        id
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", hex::encode(self.0))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    proptest! {
        #[test]
        fn an_id_near_another_shares_just_so_many_bits(own: [u8; 20], bits in 0_usize..=160, seed: u64) {
            let near = Id(own).near(bits, &mut StdRng::seed_from_u64(seed));
            prop_assert_eq!(Id(own).shared_bits(&near), bits);
        }

        #[test]
        fn more_shared_bits_are_nearer(own: [u8; 20], a: [u8; 20], b: [u8; 20]) {
            let (own, a, b) = (Id(own), Id(a), Id(b));
            if own.shared_bits(&a) > own.shared_bits(&b) {
                prop_assert!(own.distance(&a) < own.distance(&b));
            }
            prop_assert_eq!(own.distance(&a), a.distance(&own));
        }
    }
}
