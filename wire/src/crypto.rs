//! The labelled primitives that the whole protocol is made of (`docs/PROTOCOL.md`, notation).
//!
//! `L(x) = "bitchat/1 " ‖ x ‖ 0x00`.

use zeroize::Zeroizing;

/// A 32-byte secret, wiped when dropped. Never printed.
pub type Secret = Zeroizing<[u8; 32]>;

/// `H(x; d) = SHA-256(L(x) ‖ d)`, `d` being the concatenation of `parts`.
pub fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let _ = (label, parts);
    todo!()
}

/// `X(k, x; d, n) = HKDF-Expand-SHA256(k, L(x) ‖ d, n)`, filling `out` (n = its length, at most 8,160).
pub fn expand(key: &[u8; 32], label: &str, parts: &[&[u8]], out: &mut [u8]) {
    let _ = (key, label, parts, out);
    todo!()
}

/// `HKDF-Extract(salt, ikm)`, `ikm` being the concatenation of `parts`.
pub fn extract(salt: &[u8; 32], parts: &[&[u8]]) -> Secret {
    let _ = (salt, parts);
    todo!()
}
