//! Ids that are bound to addresses (BEP 42), so that a node cannot take any place in the id space at will.

use std::net::IpAddr;

use rand::{Rng, RngExt};

use super::{Id, network::is_local};

/// The bits of an IPv4 address that count.
const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
/// The bits of the first half of an IPv6 address that count.
const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];
/// The first five bits of the third byte are bound: 21 bits with the two bytes before.
const BOUND_BITS: u8 = 0xf8;

/// Whether a node at `ip` may have this id. On local networks any id is valid.
pub(super) fn is_valid(id: &Id, ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    if is_local(ip) {
        return true;
    }
    let bound = prefix(ip, id.0[19]);
    id.0[..2] == bound[..2] && id.0[2] & BOUND_BITS == bound[2] & BOUND_BITS
}

/// A random id that is valid at `ip`.
pub(super) fn id_for<R: Rng + ?Sized>(ip: IpAddr, rng: &mut R) -> Id {
    let ip = ip.to_canonical();
    let mut id = Id::random(rng);
    if is_local(ip) {
        return id;
    }
    id.0[19] = rng.random();
    let bound = prefix(ip, id.0[19]);
    id.0[..2].copy_from_slice(&bound[..2]);
    id.0[2] = (bound[2] & BOUND_BITS) | (id.0[2] & !BOUND_BITS);
    id
}

/// The first bytes of an id at `ip` whose last byte is `random`.
fn prefix(ip: IpAddr, random: u8) -> [u8; 4] {
    let mut octets = [0; 8];
    let len = match ip {
        IpAddr::V4(ip) => {
            octets[..4].copy_from_slice(&ip.octets());
            mask(&mut octets, &MASK_V4)
        }
        IpAddr::V6(ip) => {
            octets.copy_from_slice(&ip.octets()[..8]);
            mask(&mut octets, &MASK_V6)
        }
    };
    octets[0] |= (random & 7) << 5;
    crc32c(&octets[..len]).to_be_bytes()
}

fn mask(octets: &mut [u8], mask: &[u8]) -> usize {
    for (octet, mask) in octets.iter_mut().zip(mask) {
        *octet &= mask;
    }
    mask.len()
}

/// CRC-32C (Castagnoli), bit by bit: at most eight bytes need no table.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let odd = crc & 1 == 1;
            crc >>= 1;
            if odd {
                crc ^= 0x82f6_3b78;
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn the_test_vectors_of_bep_42() {
        for (ip, id) in [
            ("124.31.75.21", "5fbfbff10c5d6a4ec8a88e4c6ab4c28b95eee401"),
            ("21.75.31.124", "5a3ce9c14e7a08645677bbd1cfe7d8f956d53256"),
            ("65.23.51.170", "a5d43220bc8f112a3d426c84764f8c2a1150e616"),
            ("84.124.73.14", "1b0321dd1bb1fe518101ceef99462b947a01ff41"),
            ("43.213.53.83", "e56f6cbf5b7c4be0237986d5243b87aa6d51305a"),
        ] {
            let mut id = Id::read(&hex::decode(id).unwrap()).unwrap();
            let ip = ip.parse().unwrap();
            assert!(is_valid(&id, ip), "{ip}");
            let bound = prefix(ip, id.0[19]);
            assert_eq!(bound[..2], id.0[..2]);
            assert_eq!(bound[2] & BOUND_BITS, id.0[2] & BOUND_BITS);
            id.0[2] ^= 0x08;
            assert!(!is_valid(&id, ip), "{ip}");
            id.0[2] ^= 0x0b;
            assert!(
                is_valid(&id, ip),
                "the last three bits of the third byte are free"
            );
        }
    }

    #[test]
    fn the_check_value_of_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn local_networks_are_exempt() {
        for ip in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.3.4",
            "169.254.0.9",
            "::1",
            "fd00::1",
            "fe80::2",
        ] {
            assert!(is_valid(&Id([7; 20]), ip.parse().unwrap()), "{ip}");
        }
        assert!(!is_valid(&Id([7; 20]), "9.9.9.9".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn an_id_for_an_address_is_valid_there(ip: IpAddr, seed: u64) {
            let id = id_for(ip, &mut StdRng::seed_from_u64(seed));
            prop_assert!(is_valid(&id, ip));
        }
    }
}
