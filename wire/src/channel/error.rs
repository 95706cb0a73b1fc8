//! Why a channel file was refused.

use super::{MAX_FILE, MAX_URL};
use crate::bencode::BencodeError;

/// Why a channel file or link was refused. Each message is one line for a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelFileError {
    /// More than 256 KiB, as a file or as a link.
    #[error("this is too large to be a channel file (at most {} KiB)", MAX_FILE / 1024)]
    TooLarge,
    /// Not bencode, at this offset.
    #[error("this is not a channel file: it is not bencode (at byte {0})")]
    NotBencode(usize),
    /// Bencode, but not a dictionary.
    #[error("this is not a channel file: it is bencode, but not a dictionary")]
    NotADictionary,
    /// Nested deeper than this many levels.
    #[error("this channel file is nested too deeply (more than {0} levels)")]
    TooDeep(usize),
    /// More than this many values.
    #[error("this channel file holds too many values (more than {0})")]
    TooManyValues(usize),
    /// Not in canonical form, at this offset.
    #[error(
        "this channel file is not canonical (at byte {0}): a program changed it, so ask for the original"
    )]
    NotCanonical(usize),
    /// This many bytes after the end.
    #[error(
        "this channel file has {0} bytes after its end: a program changed it, so ask for the original"
    )]
    Trailing(usize),
    /// A key that every channel file has is missing.
    #[error("this is not a channel file: the key \"{0}\" is missing")]
    Missing(&'static str),
    /// The value of a key has the wrong type, length or range.
    #[error("this channel file is damaged: the value of \"{0}\" is not valid")]
    BadValue(&'static str),
    /// The channel's name is not acceptable.
    #[error("a channel's name has 1 to 128 bytes on one line, without control characters")]
    BadName,
    /// The policy is unknown to this program.
    #[error("this channel has a policy that this program does not know; a newer program is needed")]
    UnknownPolicy,
    /// The value of `rotate` is unknown to this program.
    #[error(
        "this channel's rendezvous hash changes in a way that this program does not know; a newer program is needed"
    )]
    UnknownRotation,
    /// The version is unknown to this program.
    #[error(
        "this channel file is of version {0}, and this program knows version 1; a newer program is needed"
    )]
    UnknownVersion(u64),
    /// The secret is all zeros.
    #[error("this channel's secret is all zeros, so it would keep nobody out")]
    ZeroSecret,
    /// The owner's signature does not verify.
    #[error(
        "this channel file's signature is wrong: it is damaged or forged, so ask for the original"
    )]
    BadSignature,
    /// Not `bitchat:` and base64url.
    #[error("this is not a channel link: one is \"bitchat:\" and letters, digits, - and _")]
    BadLink,
    /// A tracker URL that cannot be used.
    #[error(
        "{0:?} is not a tracker's URL: one starts with http://, https:// or udp:// (then with a port), and has at most {MAX_URL} bytes"
    )]
    BadTracker(String),
    /// A DHT node that cannot be used.
    #[error("{0:?} is not a DHT node: one is HOST:PORT")]
    BadNode(String),
    /// A relay address that cannot be used.
    #[error(
        "{0:?} is not a relay's address: one is a multiaddr, such as /ip4/192.0.2.1/udp/4001/quic-v1"
    )]
    BadRelay(String),
    /// More trackers, nodes or relays than a file may contain.
    #[error("a channel file has at most {max} {what}")]
    TooManyHints {
        /// The kind of entry: trackers, nodes or relays.
        what: &'static str,
        /// The maximum number of entries.
        max: usize,
    },
}

impl From<BencodeError> for ChannelFileError {
    fn from(error: BencodeError) -> Self {
        match error {
            BencodeError::Syntax(at) => Self::NotBencode(at),
            BencodeError::TooDeep(levels) => Self::TooDeep(levels),
            BencodeError::NotCanonical(at) => Self::NotCanonical(at),
            BencodeError::Trailing(bytes) => Self::Trailing(bytes),
            BencodeError::TooMany(values) => Self::TooManyValues(values),
        }
    }
}
