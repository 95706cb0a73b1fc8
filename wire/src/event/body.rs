//! The list of all bodies (`docs/PROTOCOL.md`, events: bodies).
//!
//! Writing is strict, reading is lenient: a body that this program cannot interpret is
//! [`Body::Unknown`], and its event stays in the log like any other. If some members refused events
//! that others keep, their logs would diverge.

use super::{
    Event, EventId, Picture, ProfileError, ReadMark, Said, TextError, codec, log, profile, text,
};
use crate::{
    identity::Certificate,
    proto::{self, event_body::Kind},
};

/// Why a body was not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// A text, edit or reaction.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A name, status line or picture.
    #[error(transparent)]
    Profile(#[from] ProfileError),
}

/// The meaning of an event, as far as this program understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// The first event of a log, with the certificate of the log's device.
    Genesis(Certificate),
    /// A text.
    Text(Said),
    /// The author's name from here on: 1 to [`MAX_PROFILE_NAME`](super::MAX_PROFILE_NAME) bytes on one line.
    Profile {
        /// The name, stripped of characters that could deceive.
        name: String,
    },
    /// The author left the channel.
    Leave,
    /// Replaces the content of a text of the author's identity.
    Edit {
        /// The edited text.
        target: EventId,
        /// The new content. It replies to whatever the text replied to.
        said: Said,
    },
    /// Hides a text of the author's identity.
    Delete {
        /// The deleted text.
        target: EventId,
    },
    /// All reactions of the author's identity to a text, replacing earlier ones.
    React {
        /// The text.
        target: EventId,
        /// At most [`MAX_EMOJI`](super::MAX_EMOJI), all different.
        emoji: Vec<String>,
    },
    /// The author has read the channel up to and including this position in its order.
    Read(ReadMark),
    /// The author's new picture; `None` removes it.
    Picture(Option<Picture>),
    /// The author's status line: at most [`MAX_STATUS`](super::MAX_STATUS) bytes, stripped of characters that
    /// could deceive. Empty removes it.
    Status(String),
    /// Malformed, or of a later version: kept and passed on, not shown.
    Unknown,
}

impl Body {
    /// Decodes the body of `event`.
    pub fn of(event: &Event) -> Self {
        if event.header().seq == 0 {
            return event.certificate().map_or(Self::Unknown, Self::Genesis);
        }
        codec::decode(event.body())
            .and_then(Self::read)
            .unwrap_or(Self::Unknown)
    }

    fn read(kind: Kind) -> Option<Self> {
        Some(match kind {
            Kind::Leave(proto::Leave {}) => Self::Leave,
            Kind::Text(t) => Self::Text(Said::read(t.text, &t.reply_to, &t.mentions)?),
            Kind::Edit(e) => Self::Edit {
                target: codec::read_id(&e.target)?,
                said: Said::read(e.text, &[], &e.mentions)?,
            },
            Kind::Delete(d) => Self::Delete {
                target: codec::read_id(&d.target)?,
            },
            Kind::React(r) => Self::React {
                target: codec::read_id(&r.target)?,
                emoji: text::read_emoji(&r.emoji)?,
            },
            Kind::Read(r) => Self::Read(ReadMark::read(&r)?),
            Kind::Profile(p) => Self::Profile {
                name: profile::read_name(&p)?,
            },
            Kind::Status(s) => Self::Status(profile::read_status(&s)),
            Kind::Picture(p) => Self::Picture(profile::read_picture(p)?),
        })
    }

    /// The number of the body's kind in databases: 0 for [`Body::Unknown`], 1 for [`Body::Genesis`], else one
    /// more than its field in `EventBody` (`wire/proto/bitchat.proto`).
    pub fn kind(&self) -> u8 {
        match self {
            Self::Unknown => 0,
            Self::Genesis(_) => 1,
            Self::Text(_) => 2,
            Self::Profile { .. } => 3,
            Self::Leave => 4,
            Self::Edit { .. } => 5,
            Self::Delete { .. } => 6,
            Self::React { .. } => 7,
            Self::Read(_) => 8,
            Self::Picture(_) => 9,
            Self::Status(_) => 10,
        }
    }

    /// The event that an edit, a deletion or a reaction refers to; `None` for any other body.
    pub fn target(&self) -> Option<EventId> {
        match self {
            Self::Edit { target, .. } | Self::Delete { target } | Self::React { target, .. } => {
                Some(*target)
            }
            _ => None,
        }
    }

    /// Encodes a leave.
    pub fn leave() -> Vec<u8> {
        log::leave()
    }

    /// Encodes a text of 1 to [`MAX_TEXT`](super::MAX_TEXT) bytes that replies to nothing and mentions nobody.
    pub fn text(text: &str) -> Result<Vec<u8>, BodyError> {
        Ok(Said::plain(text).encode()?)
    }

    /// Encodes an edit. The event that `said` replies to is left out: the target's own stays.
    pub fn edit(target: EventId, said: &Said) -> Result<Vec<u8>, BodyError> {
        Ok(text::edit(target, said)?)
    }

    /// Encodes a deletion.
    pub fn delete(target: EventId) -> Vec<u8> {
        text::delete(target)
    }

    /// Encodes a reaction with this whole set of emoji; duplicates are dropped.
    pub fn react(target: EventId, emoji: &[String]) -> Result<Vec<u8>, BodyError> {
        Ok(text::react(target, emoji)?)
    }

    /// Encodes a read mark.
    pub fn read_mark(mark: &ReadMark) -> Vec<u8> {
        mark.encode()
    }

    /// Encodes a profile with this name.
    pub fn profile(name: &str) -> Result<Vec<u8>, BodyError> {
        Ok(profile::name(name)?)
    }

    /// Encodes a status line; an empty one removes it.
    pub fn status(line: &str) -> Result<Vec<u8>, BodyError> {
        Ok(profile::status(line)?)
    }

    /// Encodes a picture; `None` removes it.
    pub fn picture(picture: Option<&Picture>) -> Vec<u8> {
        profile::picture(picture)
    }
}
