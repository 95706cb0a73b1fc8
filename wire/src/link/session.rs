//! Frames: `len u32 ‖ ciphertext`, AES-256-GCM, AAD = len, nonce = 0^4 ‖ u64 counter, padded by Padmé.

use crate::crypto::Secret;

/// The longest message in a frame, in bytes.
pub const MAX_MESSAGE: usize = 262_144;
/// The longest frame behind its length, in bytes.
pub const MAX_FRAME: usize = 270_352;

/// Which side of the handshake we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It sent M1. It alone starts renewals.
    Initiator,
    /// It answered.
    Responder,
}

/// Why a frame was refused. Any of these ends the link.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Replace by the real variants.
    #[error("placeholder")]
    Placeholder,
}

/// Checks a frame's length prefix, before anything is allocated.
pub fn frame_len(prefix: [u8; 4]) -> Result<usize, FrameError> {
    let _ = prefix;
    todo!()
}

/// Seals what one side sends.
pub struct Sealer {
    _key: Secret,
}

/// Opens what the other side sends.
pub struct Opener {
    _key: Secret,
}

impl Sealer {
    /// Appends the frame (prefix included) of `message` to `out`.
    pub fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        let _ = (message, out);
        todo!()
    }
    /// Takes the key that a renewal brought; the counter restarts at 0.
    pub fn switch(&mut self, key: super::KeySwitch) {
        let _ = key;
        todo!()
    }
    /// Frames and plaintext bytes sealed under the present key.
    pub fn usage(&self) -> (u64, u64) {
        todo!()
    }
}

impl Opener {
    /// Opens the ciphertext behind a prefix, in place; returns the message.
    pub fn open<'a>(&mut self, ciphertext: &'a mut Vec<u8>) -> Result<&'a [u8], FrameError> {
        let _ = ciphertext;
        todo!()
    }
    /// Takes the key that a renewal brought; the counter restarts at 0.
    pub fn switch(&mut self, key: super::KeySwitch) {
        let _ = key;
        todo!()
    }
    /// Frames and plaintext bytes opened under the present key.
    pub fn usage(&self) -> (u64, u64) {
        todo!()
    }
}
