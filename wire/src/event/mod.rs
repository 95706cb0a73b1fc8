//! Events: signed records in a device's log (`docs/PROTOCOL.md`, events).
//!
//! An [`Event`] holds what one record proves by itself. Whether it continues a log, and whether its
//! author belongs to the channel, is decided by the code that keeps the logs.
//!
//! The bodies of each capability have a file of their own ([`Body`] is their sum):
//! `log` (genesis, leave), `text` (text, edit, delete, react), `profile` (name, status, picture), `read`.

mod body;
mod codec;
mod id;
mod log;
mod profile;
mod read;
mod record;
mod text;

pub use body::{Body, BodyError};
pub use id::EventId;
pub use log::{GENESIS_LEN, genesis_body};
pub use profile::{MAX_PICTURE, MAX_PROFILE_NAME, MAX_STATUS, Picture, PictureKind, ProfileError};
pub use read::ReadMark;
pub use record::{Event, EventError, EventHeader, HEADER_LEN, LAMPORT_LIMIT, MAX_BODY, SEQ_LIMIT};
pub use text::{MAX_EMOJI, MAX_EMOJI_BYTES, MAX_MENTIONS, MAX_TEXT, Said, TextError, is_emoji};

#[cfg(test)]
mod tests;
