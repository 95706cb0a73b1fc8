//! What an event says (`docs/PROTOCOL.md`, events: bodies).
//!
//! Strict where we write, lenient where we read: a body that this program cannot make sense of is
//! [`Body::Unknown`], and its event stays in the log like any other. If some members refused what
//! others keep, their logs would part.

use prost::Message as _;

use super::Event;
use crate::{
    identity::Certificate,
    proto::{self, event_body::Kind},
    text,
};

/// Bytes of a text.
pub const MAX_TEXT: usize = 65_536;
/// Bytes of the name that a member goes by.
pub const MAX_PROFILE_NAME: usize = 64;

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
}

/// What an event says, as far as this program understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Body {
    /// The first event of a log: whose device it is.
    Genesis(Certificate),
    /// Something said.
    Text(String),
    /// The name that the author goes by from here on: 1 to [`MAX_PROFILE_NAME`] bytes on one line.
    Profile {
        /// The name, made fit to be shown whatever was sent.
        name: String,
    },
    /// The author left the channel.
    Leave,
    /// Of a later version, or nonsense: kept and passed on, not shown.
    Unknown,
}

impl Body {
    /// What `event` says.
    pub fn of(event: &Event) -> Self {
        if event.header().seq == 0 {
            return event.certificate().map_or(Self::Unknown, Self::Genesis);
        }
        let Ok(body) = proto::EventBody::decode(event.body()) else {
            return Self::Unknown;
        };
        match body.kind {
            Some(Kind::Text(proto::Text { text })) if (1..=MAX_TEXT).contains(&text.len()) => {
                Self::Text(text)
            }
            Some(Kind::Profile(proto::Profile { name })) => {
                text::clamp_name(&name, MAX_PROFILE_NAME)
                    .map_or(Self::Unknown, |name| Self::Profile { name })
            }
            Some(Kind::Leave(_)) => Self::Leave,
            Some(Kind::Text(_)) | None => Self::Unknown,
        }
    }

    /// The bytes of a text of 1 to [`MAX_TEXT`] bytes.
    pub fn text(text: &str) -> Result<Vec<u8>, BodyError> {
        match text.len() {
            0 => Err(BodyError::EmptyText),
            1..=MAX_TEXT => Ok(encode(Kind::Text(proto::Text {
                text: text.to_owned(),
            }))),
            len => Err(BodyError::TextTooLong(len)),
        }
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
}

pub(super) fn encode(kind: Kind) -> Vec<u8> {
    proto::EventBody { kind: Some(kind) }.encode_to_vec()
}
