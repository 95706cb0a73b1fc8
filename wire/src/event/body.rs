//! What an event says (`docs/PROTOCOL.md`, events: bodies).
//!
//! Strict where we write, lenient where we read: a body that this program cannot make sense of is
//! [`Body::Unknown`], and its event stays in the log like any other. If some members refused what
//! others keep, their logs would part.

use prost::Message as _;

use super::{Event, EventId, LAMPORT_LIMIT, SEQ_LIMIT};
use crate::{
    identity::Certificate,
    proto::{self, event_body::Kind},
    text,
};

/// Bytes of a text.
pub const MAX_TEXT: usize = 65_536;
/// Bytes of the name that a member goes by.
pub const MAX_PROFILE_NAME: usize = 64;
/// Bytes of a member's status line.
pub const MAX_STATUS: usize = 256;
/// Bytes of a member's picture.
pub const MAX_PICTURE: usize = 49_152;
/// Identities that a text mentions.
pub const MAX_MENTIONS: usize = 32;
/// Emoji of one identity on one event.
pub const MAX_EMOJI: usize = 8;
/// Bytes of one emoji: some are sequences of many characters.
pub const MAX_EMOJI_BYTES: usize = 32;

const ID_LEN: usize = 32;
/// What the shortest of [`PictureKind`]s is told by.
const MAGIC: usize = 12;

/// Why a body was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Nothing to say.
    #[error("the message is empty")]
    EmptyText,
    /// Longer than [`MAX_TEXT`].
    #[error(
        "the message has {0} bytes, and at most {MAX_TEXT} can be sent at once: send it in parts"
    )]
    TextTooLong(usize),
    /// Empty, longer than [`MAX_PROFILE_NAME`], or with characters that names cannot have.
    #[error("a name has 1 to {MAX_PROFILE_NAME} bytes on one line, without control characters")]
    BadName,
    /// Longer than [`MAX_STATUS`], or with characters that names cannot have.
    #[error("a status has at most {MAX_STATUS} bytes on one line, without control characters")]
    BadStatus,
    /// Too large, or of a kind that others do not show.
    #[error("a picture is a PNG, JPEG or WebP file of at most {MAX_PICTURE} bytes")]
    BadPicture,
    /// No emoji.
    #[error(
        "a reaction is an emoji of 1 to {MAX_EMOJI_BYTES} bytes, without spaces or control characters"
    )]
    BadEmoji,
    /// More than [`MAX_EMOJI`].
    #[error("one message takes at most {MAX_EMOJI} different reactions of a person")]
    TooManyEmoji,
    /// More than [`MAX_MENTIONS`].
    #[error("a message mentions at most {MAX_MENTIONS} people")]
    TooManyMentions,
}

/// What an event says, as far as this program understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// The first event of a log: whose device it is.
    Genesis(Certificate),
    /// Something said.
    Text(Said),
    /// The name that the author goes by from here on: 1 to [`MAX_PROFILE_NAME`] bytes on one line.
    Profile {
        /// The name, made fit to be shown whatever was sent.
        name: String,
    },
    /// The author left the channel.
    Leave,
    /// What a text of the author's identity says from here on.
    Edit {
        /// That text.
        target: EventId,
        /// What it says now; it answers what the text answered.
        said: Said,
    },
    /// A text of the author's identity is not to be shown any more.
    Delete {
        /// That text.
        target: EventId,
    },
    /// All reactions of the author's identity to a text, in place of those before.
    React {
        /// That text.
        target: EventId,
        /// At most [`MAX_EMOJI`], none twice.
        emoji: Vec<String>,
    },
    /// The author has read the channel up to this place in its order, itself included.
    Read(ReadMark),
    /// The author's picture; `None`: no longer any.
    Picture(Option<Picture>),
    /// A line about the author, at most [`MAX_STATUS`] bytes and made fit to be shown; may be empty.
    Status(String),
    /// Of a later version, or nonsense: kept and passed on, not shown.
    Unknown,
}

/// Something said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// 1 to [`MAX_TEXT`] bytes of anything.
    pub text: String,
    /// The event that it answers. It may be unknown, or of any kind.
    pub reply_to: Option<EventId>,
    /// Identities that it mentions, at most [`MAX_MENTIONS`]; unchecked bytes, which may be nobody's.
    pub mentions: Vec<[u8; 32]>,
}

/// A place in the channel's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadMark {
    /// Lamport time.
    pub lamport: u64,
    /// The device; unchecked bytes.
    pub device: [u8; 32],
    /// The number in that device's log.
    pub seq: u64,
}

/// A member's picture: bytes that are passed on as they are, at most [`MAX_PICTURE`].
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    kind: PictureKind,
    bytes: bytes::Bytes,
}

/// What a picture's first bytes say that it is.
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
    /// Checks size and kind, and nothing else: whoever draws it reads it as a stranger's file.
    pub fn new(bytes: impl Into<bytes::Bytes>) -> Result<Self, BodyError> {
        let bytes = bytes.into();
        let kind = PictureKind::of(&bytes).ok_or(BodyError::BadPicture)?;
        if bytes.len() > MAX_PICTURE {
            return Err(BodyError::BadPicture);
        }
        Ok(Self { kind, bytes })
    }

    /// What it is.
    pub fn kind(&self) -> PictureKind {
        self.kind
    }

    /// The file.
    pub fn bytes(&self) -> &bytes::Bytes {
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

impl Said {
    /// A text that answers and mentions nobody.
    pub fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), BodyError> {
        match self.text.len() {
            0 => return Err(BodyError::EmptyText),
            1..=MAX_TEXT => {}
            len => return Err(BodyError::TextTooLong(len)),
        }
        if self.mentions.len() > MAX_MENTIONS {
            return Err(BodyError::TooManyMentions);
        }
        Ok(())
    }

    /// The bytes of this text.
    pub fn encode(&self) -> Result<Vec<u8>, BodyError> {
        self.check()?;
        Ok(encode(Kind::Text(proto::Text {
            text: self.text.clone(),
            reply_to: self.reply_to.map_or_else(bytes::Bytes::new, id_bytes),
            mentions: self.mentions.concat().into(),
        })))
    }

    fn read(text: String, reply_to: &[u8], mentions: &[u8]) -> Option<Self> {
        let reply_to = match reply_to {
            [] => None,
            id => Some(id_of(id)?),
        };
        let (chunks, []) = mentions.as_chunks::<ID_LEN>() else {
            return None;
        };
        let said = Self {
            text,
            reply_to,
            mentions: chunks.to_vec(),
        };
        said.check().is_ok().then_some(said)
    }
}

impl Body {
    /// What `event` says.
    pub fn of(event: &Event) -> Self {
        if event.header().seq == 0 {
            return event.certificate().map_or(Self::Unknown, Self::Genesis);
        }
        let body = proto::EventBody::decode(event.body()).ok();
        body.and_then(|body| body.kind)
            .and_then(Self::read)
            .unwrap_or(Self::Unknown)
    }

    fn read(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Text(t) => Self::Text(Said::read(t.text, &t.reply_to, &t.mentions)?),
            Kind::Profile(proto::Profile { name }) => Self::Profile {
                name: text::clamp_name(&name, MAX_PROFILE_NAME)?,
            },
            Kind::Leave(_) => Self::Leave,
            Kind::Edit(e) => Self::Edit {
                target: id_of(&e.target)?,
                said: Said::read(e.text, &[], &e.mentions)?,
            },
            Kind::Delete(d) => Self::Delete {
                target: id_of(&d.target)?,
            },
            Kind::React(r) => Self::React {
                target: id_of(&r.target)?,
                emoji: read_emoji(&r.emoji)?,
            },
            Kind::Read(r) => {
                let device = r.device.as_ref().try_into().ok()?;
                if r.lamport >= LAMPORT_LIMIT || r.seq >= SEQ_LIMIT {
                    return None;
                }
                Self::Read(ReadMark {
                    lamport: r.lamport,
                    device,
                    seq: r.seq,
                })
            }
            Kind::Picture(p) if p.image.is_empty() => Self::Picture(None),
            Kind::Picture(p) => Self::Picture(Some(Picture::new(p.image).ok()?)),
            Kind::Status(s) => {
                Self::Status(text::clamp_name(&s.text, MAX_STATUS).unwrap_or_default())
            }
        })
    }

    /// The event that this one changes or judges: what an edit, a deletion or a reaction is about.
    pub fn target(&self) -> Option<EventId> {
        match self {
            Self::Edit { target, .. } | Self::Delete { target } | Self::React { target, .. } => {
                Some(*target)
            }
            _ => None,
        }
    }

    /// The bytes of a text of 1 to [`MAX_TEXT`] bytes.
    pub fn text(text: &str) -> Result<Vec<u8>, BodyError> {
        Said::plain(text).encode()
    }

    /// The bytes of a profile with this name.
    pub fn profile(name: &str) -> Result<Vec<u8>, BodyError> {
        if !text::is_name(name, MAX_PROFILE_NAME) {
            return Err(BodyError::BadName);
        }
        Ok(encode(Kind::Profile(proto::Profile {
            name: name.to_owned(),
        })))
    }

    /// The bytes of a farewell.
    pub fn leave() -> Vec<u8> {
        encode(Kind::Leave(proto::Leave {}))
    }

    /// The bytes of an edit. What `said` answers is not part of it: the target's own stays.
    pub fn edit(target: EventId, said: &Said) -> Result<Vec<u8>, BodyError> {
        said.check()?;
        Ok(encode(Kind::Edit(proto::Edit {
            target: id_bytes(target),
            text: said.text.clone(),
            mentions: said.mentions.concat().into(),
        })))
    }

    /// The bytes of a deletion.
    pub fn delete(target: EventId) -> Vec<u8> {
        encode(Kind::Delete(proto::Delete {
            target: id_bytes(target),
        }))
    }

    /// The bytes of a reaction with this whole set of emoji.
    pub fn react(target: EventId, emoji: &[String]) -> Result<Vec<u8>, BodyError> {
        let mut once: Vec<&str> = Vec::new();
        for one in emoji {
            if !is_emoji(one) {
                return Err(BodyError::BadEmoji);
            }
            if !once.contains(&one.as_str()) {
                once.push(one);
            }
        }
        if once.len() > MAX_EMOJI {
            return Err(BodyError::TooManyEmoji);
        }
        Ok(encode(Kind::React(proto::React {
            target: id_bytes(target),
            emoji: once.join(" "),
        })))
    }

    /// The bytes of a mark that the channel was read up to `mark`.
    pub fn read_mark(mark: &ReadMark) -> Vec<u8> {
        encode(Kind::Read(proto::Read {
            lamport: mark.lamport,
            device: bytes::Bytes::copy_from_slice(&mark.device),
            seq: mark.seq,
        }))
    }

    /// The bytes of a picture, or of its removal.
    pub fn picture(picture: Option<&Picture>) -> Vec<u8> {
        encode(Kind::Picture(proto::Picture {
            image: picture.map(|p| p.bytes.clone()).unwrap_or_default(),
        }))
    }

    /// The bytes of a status line; an empty one removes it.
    pub fn status(line: &str) -> Result<Vec<u8>, BodyError> {
        if !line.is_empty() && !text::is_name(line, MAX_STATUS) {
            return Err(BodyError::BadStatus);
        }
        Ok(encode(Kind::Status(proto::Status {
            text: line.to_owned(),
        })))
    }
}

/// Whether this can be a reaction. Which characters are emoji changes every year; here it is anything
/// short without white space and without characters that could deceive.
pub fn is_emoji(text: &str) -> bool {
    text::is_name(text, MAX_EMOJI_BYTES) && !text.contains(char::is_whitespace)
}

fn read_emoji(joined: &str) -> Option<Vec<String>> {
    if joined.is_empty() {
        return Some(Vec::new());
    }
    if joined.len() > MAX_EMOJI * (MAX_EMOJI_BYTES + 1) {
        return None;
    }
    let mut all: Vec<String> = Vec::new();
    for one in joined.split(' ') {
        if !is_emoji(one) || all.len() == MAX_EMOJI || all.iter().any(|known| known == one) {
            return None;
        }
        all.push(one.to_owned());
    }
    Some(all)
}

fn id_of(bytes: &[u8]) -> Option<EventId> {
    bytes.try_into().ok().map(EventId)
}

fn id_bytes(id: EventId) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&id.0)
}

pub(super) fn encode(kind: Kind) -> Vec<u8> {
    proto::EventBody { kind: Some(kind) }.encode_to_vec()
}
