//! An independent implementation of the notation, from its definition, with which the crate is compared.

use std::convert::Infallible;

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit};
use hmac::{Hmac, Mac};
use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

pub(crate) fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// `L(x)`.
pub(crate) fn label(name: &str) -> Vec<u8> {
    cat(&[b"bitchat/1 ", name.as_bytes(), &[0]])
}

/// `H(x; d)`.
pub(crate) fn h(name: &str, data: &[u8]) -> [u8; 32] {
    sha256(&cat(&[&label(name), data]))
}

pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    Sha256::digest(data).into()
}

pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap();
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// `HKDF-Extract(salt, ikm)`.
pub(crate) fn extract(salt: &[u8], ikm: &[u8]) -> [u8; 32] {
    hmac(salt, ikm)
}

/// `X(k, x; d)`: one block of RFC 5869's expansion; shorter outputs are cut from it.
pub(crate) fn x(key: &[u8], name: &str, data: &[u8]) -> [u8; 32] {
    hmac(key, &cat(&[&label(name), data, &[1]]))
}

/// AES-256-GCM: ciphertext and tag.
pub(crate) fn gcm(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], text: &[u8]) -> Vec<u8> {
    let mut out = text.to_vec();
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(&nonce.into(), aad, out.as_mut_slice().into())
        .unwrap();
    out.extend_from_slice(&tag);
    out
}

/// Padmé, by the paper's formula, in floating point.
pub(crate) fn padme(len: usize) -> usize {
    let exponent = (len as f64).log2().floor();
    let kept = exponent.log2().floor() + 1.0;
    let unit = 2f64.powf(exponent - kept) as usize;
    len.div_ceil(unit) * unit
}

/// A whole frame, prefix included.
pub(crate) fn frame(key: &[u8; 32], counter: u64, message: &[u8]) -> Vec<u8> {
    let mut text = cat(&[&(message.len() as u32).to_be_bytes(), message]);
    text.resize(padme(text.len().max(64)), 0);
    let prefix = (text.len() as u32 + 16).to_be_bytes();
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&counter.to_be_bytes());
    cat(&[&prefix, &gcm(key, nonce, &prefix, &text)])
}

/// A generator that returns given bytes in order, all of which must be used.
pub(crate) struct Stated(Vec<u8>);

impl Stated {
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        Self(cat(parts))
    }
}

impl Drop for Stated {
    fn drop(&mut self) {
        assert!(
            self.0.is_empty() || std::thread::panicking(),
            "less randomness was drawn than is stated"
        );
    }
}

impl TryRng for Stated {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("only bytes are drawn")
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Stated {}
