//! Frames: `len u32 ‖ ciphertext`, AES-256-GCM, AAD = len, nonce = 0^4 ‖ u64 counter, padded by Padmé.
//!
//! Each direction has its own key and its own counter from 0, so that frames after a lost, repeated,
//! reordered or reflected one do not open. The content is padded, so that lengths reveal little.

use aes_gcm::{AeadInOut, Aes256Gcm, KeyInit, Nonce, Tag, aead::consts::U12};

use crate::crypto::{Secret, expand_key};

/// Maximum length of a message in a frame, in bytes.
pub const MAX_MESSAGE: usize = 262_144;
/// Minimum length of a frame after its length prefix, in bytes.
pub const MIN_FRAME: usize = MIN_PLAINTEXT + TAG_LEN;
/// Maximum length of a frame after its length prefix, in bytes.
pub const MAX_FRAME: usize = 270_352;
/// Maximum number of frames that one key seals.
pub const MAX_KEY_FRAMES: u64 = 1 << 24;
/// Maximum amount of plaintext that one key seals, in bytes, lengths and padding included.
pub const MAX_KEY_BYTES: u64 = 1 << 30;

/// Minimum length of a plaintext, in bytes.
const MIN_PLAINTEXT: usize = 64;
/// The length of `len` and of `n`, in bytes.
const PREFIX_LEN: usize = 4;
/// GCM's tag, in bytes.
const TAG_LEN: usize = 16;

/// The next key of one direction, which a [`Sealer`] or an [`Opener`] switches to at the moment that the protocol fixes.
pub struct KeySwitch {
    pub(super) sender: Role,
    pub(super) key: Secret,
}

/// A side of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that sent M1. Only it starts renewals.
    Initiator,
    /// The side that answered M1.
    Responder,
}

impl Role {
    /// The opposite role.
    pub fn other(self) -> Self {
        match self {
            Self::Initiator => Self::Responder,
            Self::Responder => Self::Initiator,
        }
    }
}

/// Why a frame was refused. Each of these ends the link, except `TooLong`, which concerns only the
/// message to be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The message to be sent is longer than [`MAX_MESSAGE`].
    #[error("the message is longer than {MAX_MESSAGE} bytes")]
    TooLong,
    /// The length is not within [`MIN_FRAME`] and [`MAX_FRAME`].
    #[error("a frame's length is out of bounds")]
    Length,
    /// The frame does not open: changed, repeated, out of order, or sealed with another key.
    #[error("a frame does not open")]
    Sealed,
    /// The frame opens, but does not contain a correctly padded message.
    #[error("a frame is not padded correctly")]
    Padding,
    /// The key has reached [`MAX_KEY_FRAMES`] or [`MAX_KEY_BYTES`].
    #[error("the link's key is used up")]
    Exhausted,
    /// An earlier frame was refused, so nothing more is opened.
    #[error("the link is closed after a bad frame")]
    Closed,
}

/// Checks a frame's length prefix, before anything is allocated.
pub fn frame_len(prefix: [u8; 4]) -> Result<usize, FrameError> {
    match usize::try_from(u32::from_be_bytes(prefix)) {
        Ok(len) if (MIN_FRAME..=MAX_FRAME).contains(&len) => Ok(len),
        _ => Err(FrameError::Length),
    }
}

/// Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with
/// PURBs", 2019, section 4): the next length whose lower bits are zero, so that an observer learns
/// O(log log len) bits; at most 12 % more.
pub(crate) fn padme(len: usize) -> usize {
    if len < 2 {
        return len;
    }
    let exponent = len.ilog2();
    let kept = exponent.ilog2() + 1;
    let mask = (1 << (exponent - kept.min(exponent))) - 1;
    (len + mask) & !mask
}

/// The length of the plaintext around a message of `n` bytes, at most [`MAX_MESSAGE`].
fn padded(n: usize) -> usize {
    padme((PREFIX_LEN + n).max(MIN_PLAINTEXT))
}

/// The key of one direction and its usage. The cipher wipes its key schedule when dropped.
struct Key {
    aes: Aes256Gcm,
    frames: u64,
    bytes: u64,
}

impl Key {
    fn new(key: &Secret) -> Self {
        Self {
            aes: Aes256Gcm::new((&**key).into()),
            frames: 0,
            bytes: 0,
        }
    }

    /// Counts a frame of `plaintext` bytes and returns its nonce.
    fn next(&mut self, plaintext: usize) -> Result<Nonce<U12>, FrameError> {
        let bytes = self.bytes.saturating_add(plaintext as u64);
        if self.frames >= MAX_KEY_FRAMES || bytes > MAX_KEY_BYTES {
            return Err(FrameError::Exhausted);
        }
        let mut nonce = Nonce::default();
        nonce[4..].copy_from_slice(&self.frames.to_be_bytes());
        self.frames += 1;
        self.bytes = bytes;
        Ok(nonce)
    }
}

/// Derives the key of the frames that `sender` sends.
pub(super) fn frame_key(root: &Secret, sender: Role) -> Secret {
    let label = match sender {
        Role::Initiator => "I",
        Role::Responder => "R",
    };
    expand_key(root, label, &[])
}

/// Seals the frames of one direction.
pub struct Sealer {
    sender: Role,
    key: Key,
}

/// Opens the frames of the other direction.
pub struct Opener {
    sender: Role,
    key: Key,
    closed: bool,
}

impl Sealer {
    pub(super) fn new(root: &Secret, sender: Role) -> Self {
        Self {
            sender,
            key: Key::new(&frame_key(root, sender)),
        }
    }

    /// Appends the frame of `message`, prefix included, to `out`; on an error `out` is unchanged.
    pub fn seal(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
        if message.len() > MAX_MESSAGE {
            return Err(FrameError::TooLong);
        }
        let plaintext = padded(message.len());
        let nonce = self.key.next(plaintext)?;
        let prefix = to_u32(plaintext + TAG_LEN).to_be_bytes();
        out.reserve(PREFIX_LEN + plaintext + TAG_LEN);
        out.extend_from_slice(&prefix);
        let start = out.len();
        out.extend_from_slice(&to_u32(message.len()).to_be_bytes());
        out.extend_from_slice(message);
        out.resize(start + plaintext, 0);
        let tag = self
            .key
            .aes
            .encrypt_inout_detached(&nonce, &prefix, out[start..].as_mut().into())
            .expect("a frame is within GCM's limit");
        out.extend_from_slice(&tag);
        Ok(())
    }

    /// Switches to the key of a renewal; the counter restarts at 0.
    pub fn switch(&mut self, key: KeySwitch) {
        debug_assert_eq!(self.sender, key.sender, "a switch of the other direction");
        self.key = Key::new(&key.key);
    }

    /// Frames and plaintext bytes (padding included) sealed with the current key.
    pub fn usage(&self) -> (u64, u64) {
        (self.key.frames, self.key.bytes)
    }
}

impl Opener {
    pub(super) fn new(root: &Secret, sender: Role) -> Self {
        Self {
            sender,
            key: Key::new(&frame_key(root, sender)),
            closed: false,
        }
    }

    /// Opens the ciphertext after a prefix in place and returns the message. After an error the
    /// buffer is empty and no further frame opens.
    pub fn open<'a>(&mut self, ciphertext: &'a mut Vec<u8>) -> Result<&'a [u8], FrameError> {
        match self.try_open(ciphertext) {
            Ok(n) => Ok(&ciphertext[PREFIX_LEN..PREFIX_LEN + n]),
            Err(error) => {
                self.closed = true;
                ciphertext.clear();
                Err(error)
            }
        }
    }

    fn try_open(&mut self, ciphertext: &mut Vec<u8>) -> Result<usize, FrameError> {
        if self.closed {
            return Err(FrameError::Closed);
        }
        if !(MIN_FRAME..=MAX_FRAME).contains(&ciphertext.len()) {
            return Err(FrameError::Length);
        }
        let prefix = to_u32(ciphertext.len()).to_be_bytes();
        let plaintext = ciphertext.len() - TAG_LEN;
        let nonce = self.key.next(plaintext)?;
        let mut tag = Tag::default();
        tag.copy_from_slice(&ciphertext[plaintext..]);
        ciphertext.truncate(plaintext);
        self.key
            .aes
            .decrypt_inout_detached(&nonce, &prefix, ciphertext.as_mut_slice().into(), &tag)
            .map_err(|_| FrameError::Sealed)?;

        let (n, rest) = ciphertext.split_first_chunk().ok_or(FrameError::Padding)?;
        let n = usize::try_from(u32::from_be_bytes(*n)).map_err(|_| FrameError::Padding)?;
        if n > MAX_MESSAGE || padded(n) != plaintext || rest[n..].iter().any(|byte| *byte != 0) {
            return Err(FrameError::Padding);
        }
        Ok(n)
    }

    /// Switches to the key of a renewal; the counter restarts at 0.
    pub fn switch(&mut self, key: KeySwitch) {
        debug_assert_eq!(self.sender, key.sender, "a switch of the other direction");
        self.key = Key::new(&key.key);
    }

    /// Frames and plaintext bytes (padding included) opened with the current key.
    pub fn usage(&self) -> (u64, u64) {
        (self.key.frames, self.key.bytes)
    }
}

fn to_u32(len: usize) -> u32 {
    u32::try_from(len).expect("lengths are below MAX_FRAME")
}

#[cfg(test)]
mod tests;
