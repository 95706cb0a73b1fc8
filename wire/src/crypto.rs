//! The labelled primitives that the whole protocol is built from (`docs/PROTOCOL.md`, notation).
//!
//! Every use of a hash, a key derivation or a signature starts with a label of its own,
//! `L(x) = "bitchat/1 " ‖ x ‖ 0x00`, so that the output of one use cannot pass for that of another.

use hkdf::{Hkdf, HkdfExtract};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

/// Prefix of every label.
const PREFIX: &[u8] = b"bitchat/1 ";

/// A 32-byte secret, wiped when dropped. Never printed.
pub type Secret = Zeroizing<[u8; 32]>;

/// Hashes: `H(x; d) = SHA-256(L(x) ‖ d)`, `d` being the concatenation of `parts`.
pub fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for part in labelled(label, parts) {
        sha.update(part);
    }
    sha.finalize().into()
}

/// Derives a key: `X(k, x; d, n) = HKDF-Expand-SHA256(k, L(x) ‖ d, n)` (RFC 5869, section 2.3). Fills `out`
/// (n = its length, at most 8,160 bytes).
pub fn expand(key: &[u8; 32], label: &str, parts: &[&[u8]], out: &mut [u8]) {
    let info: Vec<&[u8]> = labelled(label, parts).collect();
    Hkdf::<Sha256>::from_prk(key)
        .expect("32 bytes are as long as the hash")
        .expand_multi_info(&info, out)
        .expect("every caller asks for less than 8,160 bytes");
}

/// Derives a secret of 32 bytes: `X(k, x; d)`.
pub fn expand_key(key: &[u8; 32], label: &str, parts: &[&[u8]]) -> Secret {
    let mut out = Secret::default();
    expand(key, label, parts, out.as_mut());
    out
}

/// Extracts a key: `HKDF-Extract(salt, ikm)` (RFC 5869, section 2.2), `ikm` being the concatenation of `parts`.
pub fn extract(salt: &[u8; 32], parts: &[&[u8]]) -> Secret {
    let mut state = HkdfExtract::<Sha256>::new(Some(salt));
    for part in parts {
        state.input_ikm(part);
    }
    let (mut prk, _) = state.finalize();
    let mut out = Secret::default();
    out.copy_from_slice(&prk);
    prk.as_mut_slice().zeroize();
    out
}

/// Authenticates: `HMAC-SHA256(key, d)` (RFC 2104), without a label; `d` is the concatenation of `parts`.
pub fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut state =
        <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        state.update(part);
    }
    state.finalize().into_bytes().into()
}

/// `L(x) ‖ d` in one buffer, as signing requires.
pub(crate) fn message(label: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for part in labelled(label, parts) {
        out.extend_from_slice(part);
    }
    out
}

fn labelled<'a>(label: &'a str, parts: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    debug_assert!(!label.contains('\0'), "a label ends at its first zero byte");
    [PREFIX, label.as_bytes(), &[0]]
        .into_iter()
        .chain(parts.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_concatenated() {
        assert_eq!(hash("x", &[b"ab", b"c"]), hash("x", &[b"abc"]));
        assert_eq!(
            hash("x", &[b"abc"]),
            <[u8; 32]>::from(Sha256::digest(b"bitchat/1 x\0abc"))
        );
        assert_ne!(hash("x", &[b"abc"]), hash("xa", &[b"bc"]));
        let key = [7; 32];
        assert_eq!(
            extract(&key, &[b"ab", b"c"]),
            Secret::new(mac(&key, &[b"abc"]))
        );
    }

    /// RFC 5869, test case 1: extraction, checked against the RFC's own PRK.
    #[test]
    fn extract_is_hmac_of_the_input() {
        // RFC 4231, test case 2 has a short key; HKDF and HMAC pad keys with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        assert_eq!(
            hex::encode(mac(&key, &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        let mut salt = [0; 32];
        for (i, byte) in salt.iter_mut().take(13).enumerate() {
            *byte = i as u8;
        }
        assert_eq!(
            hex::encode(*extract(&salt, &[&[0x0b; 22]])),
            "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"
        );
    }

    #[test]
    fn expansion_is_the_first_hkdf_block() {
        let key = [9; 32];
        let mut info = message("relay", &[b"data"]);
        info.push(1);
        assert_eq!(
            *expand_key(&key, "relay", &[b"da", b"ta"]),
            mac(&key, &[&info])
        );
        let mut short = [0; 20];
        expand(&key, "relay", &[b"data"], &mut short);
        assert_eq!(short, mac(&key, &[&info])[..20]);
    }
}
