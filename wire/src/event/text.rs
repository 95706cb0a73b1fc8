//! Bodies of a conversation: texts, and the edits, deletions and reactions that refer to them.

use super::{EventId, codec};
use crate::{
    proto::{self, event_body::Kind},
    text,
};

/// Maximum length of a text, in bytes.
pub const MAX_TEXT: usize = 65_536;
/// Maximum number of identities that a text mentions.
pub const MAX_MENTIONS: usize = 32;
/// Maximum number of different emoji of one identity on one text.
pub const MAX_EMOJI: usize = 8;
/// Maximum length of one emoji, in bytes: some are sequences of many characters.
pub const MAX_EMOJI_BYTES: usize = 32;

const ID_LEN: usize = 32;

/// Why a text, edit or reaction was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// The text has no bytes.
    #[error("the message is empty")]
    Empty,
    /// The text has this many bytes, more than [`MAX_TEXT`].
    #[error(
        "the message has {0} bytes, and at most {MAX_TEXT} can be sent at once: send it in parts"
    )]
    TooLong(usize),
    /// The text mentions more than [`MAX_MENTIONS`] identities.
    #[error("a message mentions at most {MAX_MENTIONS} people")]
    TooManyMentions,
    /// The reaction is not an emoji, as far as [`is_emoji`] can tell.
    #[error(
        "a reaction is an emoji of 1 to {MAX_EMOJI_BYTES} bytes, without spaces or control characters"
    )]
    BadEmoji,
    /// The reaction has more than [`MAX_EMOJI`] different emoji.
    #[error("one message takes at most {MAX_EMOJI} different reactions of a person")]
    TooManyEmoji,
}

/// The content of a text or of an edit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// 1 to [`MAX_TEXT`] bytes, of any characters.
    pub text: String,
    /// The event it replies to, which may be unknown or of any kind.
    pub reply_to: Option<EventId>,
    /// Identities it mentions, at most [`MAX_MENTIONS`]; not checked to be keys.
    pub mentions: Vec<[u8; 32]>,
}

impl Said {
    /// A text that replies to nothing and mentions nobody.
    pub fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    fn check(&self) -> Result<(), TextError> {
        match self.text.len() {
            0 => return Err(TextError::Empty),
            1..=MAX_TEXT => {}
            len => return Err(TextError::TooLong(len)),
        }
        if self.mentions.len() > MAX_MENTIONS {
            return Err(TextError::TooManyMentions);
        }
        Ok(())
    }

    /// Encodes the body of this text.
    pub fn encode(&self) -> Result<Vec<u8>, TextError> {
        self.check()?;
        Ok(codec::encode(Kind::Text(proto::Text {
            text: self.text.clone(),
            reply_to: self
                .reply_to
                .map_or_else(bytes::Bytes::new, codec::id_bytes),
            mentions: self.mentions.concat().into(),
        })))
    }

    pub(super) fn read(text: String, reply_to: &[u8], mentions: &[u8]) -> Option<Self> {
        let reply_to = match reply_to {
            [] => None,
            id => Some(codec::read_id(id)?),
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

pub(super) fn edit(target: EventId, said: &Said) -> Result<Vec<u8>, TextError> {
    said.check()?;
    Ok(codec::encode(Kind::Edit(proto::Edit {
        target: codec::id_bytes(target),
        text: said.text.clone(),
        mentions: said.mentions.concat().into(),
    })))
}

pub(super) fn delete(target: EventId) -> Vec<u8> {
    codec::encode(Kind::Delete(proto::Delete {
        target: codec::id_bytes(target),
    }))
}

pub(super) fn react(target: EventId, emoji: &[String]) -> Result<Vec<u8>, TextError> {
    let mut once: Vec<&str> = Vec::new();
    for one in emoji {
        if !is_emoji(one) {
            return Err(TextError::BadEmoji);
        }
        if !once.contains(&one.as_str()) {
            once.push(one);
        }
    }
    if once.len() > MAX_EMOJI {
        return Err(TextError::TooManyEmoji);
    }
    Ok(codec::encode(Kind::React(proto::React {
        target: codec::id_bytes(target),
        emoji: once.join(" "),
    })))
}

/// Whether this can be a reaction: any short string without white space and without characters that
/// could deceive. It is not checked against a list, since the emoji change every year.
pub fn is_emoji(text: &str) -> bool {
    text::is_name(text, MAX_EMOJI_BYTES) && !text.contains(char::is_whitespace)
}

pub(super) fn read_emoji(joined: &str) -> Option<Vec<String>> {
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
