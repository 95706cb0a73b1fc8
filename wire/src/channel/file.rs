//! The channel file (`.chat`) and its link form (`docs/PROTOCOL.md`, channel file).

use crate::{
    channel::ChannelId,
    crypto::Secret,
    identity::{IdentityId, IdentityKey},
};

/// Who may link in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Whoever holds the file.
    Open,
    /// Holders of the file that are on the signed roster.
    Invite,
}

/// Why a channel file or link was refused. One clear line each, fit for a user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelFileError {
    /// Replace by the real variants.
    #[error("placeholder")]
    Placeholder,
}

/// The signed part of a channel file.
#[derive(Clone)]
pub struct ChannelInfo {
    /// Unix seconds.
    pub created: u64,
    /// Shown to users; 1 to 128 bytes of UTF-8 without control characters.
    pub name: String,
    /// Who made the channel.
    pub owner: IdentityId,
    /// Who may link.
    pub policy: Policy,
    /// The channel's 32 random bytes.
    pub secret: Secret,
    /// 1.
    pub version: u64,
}

/// What it takes to make a channel.
pub struct NewChannel<'a> {
    /// Its name.
    pub name: &'a str,
    /// Who may link.
    pub policy: Policy,
    /// Tiers of tracker URLs (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// DHT bootstrap nodes (BEP 5), host and port.
    pub nodes: Vec<(String, u16)>,
    /// Relays, as multiaddrs.
    pub relays: Vec<String>,
    /// Unix seconds.
    pub created: u64,
    /// 32 random bytes.
    pub secret: Secret,
}

/// A parsed, checked channel file. Keys it does not know are kept.
#[derive(Clone)]
pub struct ChannelFile {
    info: ChannelInfo,
}

impl ChannelFile {
    /// Makes and signs a file.
    pub fn create(new: NewChannel<'_>, owner: &IdentityKey) -> Result<Self, ChannelFileError> {
        let _ = (new, owner);
        todo!()
    }
    /// Parses and checks the bytes of a file: at most 256 KiB, canonical bencode, signed by its owner.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChannelFileError> {
        let _ = bytes;
        todo!()
    }
    /// Parses `bitchat:` + base64url (no padding).
    pub fn parse_link(link: &str) -> Result<Self, ChannelFileError> {
        let _ = link;
        todo!()
    }
    /// The file's canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        todo!()
    }
    /// The same bytes as a link.
    pub fn to_link(&self) -> String {
        todo!()
    }
    /// The signed part.
    pub fn info(&self) -> &ChannelInfo {
        &self.info
    }
    /// `H("channel"; raw bencoded info)`.
    pub fn id(&self) -> ChannelId {
        todo!()
    }
    /// SHA-1 of the bencoded info (BEP 3).
    pub fn infohash(&self) -> [u8; 20] {
        todo!()
    }
    /// Tiers of tracker URLs: `announce-list`, or `announce` as the only one.
    pub fn trackers(&self) -> &[Vec<String>] {
        todo!()
    }
    /// DHT bootstrap nodes.
    pub fn nodes(&self) -> &[(String, u16)] {
        todo!()
    }
    /// Relays, as multiaddrs.
    pub fn relays(&self) -> &[String] {
        todo!()
    }
    /// The same channel with other trackers (hints are not signed).
    pub fn with_trackers(&self, trackers: Vec<Vec<String>>) -> Result<Self, ChannelFileError> {
        let _ = trackers;
        todo!()
    }
}
