//! Bodies of a member's profile: name, status line, picture.

use bytes::Bytes;

use super::codec;
use crate::{
    proto::{self, event_body::Kind},
    text,
};

/// Maximum length of a member's name, in bytes.
pub const MAX_PROFILE_NAME: usize = 64;
/// Maximum length of a member's status line, in bytes.
pub const MAX_STATUS: usize = 256;
/// Maximum size of a member's picture, in bytes.
pub const MAX_PICTURE: usize = 49_152;

/// Leading bytes that tell every [`PictureKind`] apart.
const MAGIC: usize = 12;

/// Why a name, status line or picture was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// Empty, longer than [`MAX_PROFILE_NAME`], or with characters that names cannot have.
    #[error("a name has 1 to {MAX_PROFILE_NAME} bytes on one line, without control characters")]
    BadName,
    /// Longer than [`MAX_STATUS`], or with characters that names cannot have.
    #[error("a status has at most {MAX_STATUS} bytes on one line, without control characters")]
    BadStatus,
    /// Larger than [`MAX_PICTURE`], or of a kind that is not a [`PictureKind`].
    #[error("a picture is a PNG, JPEG or WebP file of at most {MAX_PICTURE} bytes")]
    BadPicture,
}

/// A member's picture: a file that is passed on unchanged, at most [`MAX_PICTURE`] bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    kind: PictureKind,
    bytes: Bytes,
}

/// The format of a picture, detected from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PictureKind {
    /// PNG.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    Webp,
}

impl Picture {
    /// Checks size and format only: the code that draws it must treat it as a stranger's file.
    pub fn new(bytes: impl Into<Bytes>) -> Result<Self, ProfileError> {
        let bytes = bytes.into();
        let kind = PictureKind::of(&bytes).ok_or(ProfileError::BadPicture)?;
        if bytes.len() > MAX_PICTURE {
            return Err(ProfileError::BadPicture);
        }
        Ok(Self { kind, bytes })
    }

    /// The format.
    pub fn kind(&self) -> PictureKind {
        self.kind
    }

    /// The content of the file.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} of {} bytes", self.kind, self.bytes.len())
    }
}

impl PictureKind {
    fn of(bytes: &[u8]) -> Option<Self> {
        let magic = bytes.first_chunk::<MAGIC>()?;
        match magic {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => Some(Self::Webp),
            _ => None,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

pub(super) fn read_name(profile: &proto::Profile) -> Option<String> {
    text::clamp_name(&profile.name, MAX_PROFILE_NAME)
}

pub(super) fn name(name: &str) -> Result<Vec<u8>, ProfileError> {
    if !text::is_name(name, MAX_PROFILE_NAME) {
        return Err(ProfileError::BadName);
    }
    Ok(codec::encode(Kind::Profile(proto::Profile {
        name: name.to_owned(),
    })))
}

pub(super) fn read_status(status: &proto::Status) -> String {
    text::clamp_name(&status.text, MAX_STATUS).unwrap_or_default()
}

pub(super) fn status(line: &str) -> Result<Vec<u8>, ProfileError> {
    if !line.is_empty() && !text::is_name(line, MAX_STATUS) {
        return Err(ProfileError::BadStatus);
    }
    Ok(codec::encode(Kind::Status(proto::Status {
        text: line.to_owned(),
    })))
}

/// The outer `None` means an unusable picture, the inner one that the picture was removed.
pub(super) fn read_picture(picture: proto::Picture) -> Option<Option<Picture>> {
    if picture.image.is_empty() {
        return Some(None);
    }
    Picture::new(picture.image).ok().map(Some)
}

pub(super) fn picture(picture: Option<&Picture>) -> Vec<u8> {
    codec::encode(Kind::Picture(proto::Picture {
        image: picture.map(|p| p.bytes.clone()).unwrap_or_default(),
    }))
}
