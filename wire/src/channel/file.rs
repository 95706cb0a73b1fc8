//! The channel file (`.chat`) and its link form (`docs/PROTOCOL.md`, channel file).
//!
//! A file is kept as its original bytes, so that ids, the signature and unknown keys do not change
//! when it passes through this program.

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use sha1::{Digest as _, Sha1};
use zeroize::Zeroizing;

use super::{ChannelFileError, MAX_CHANNEL_NAME, MAX_FILE, hints};
use crate::{
    bencode::{self, Limits},
    channel::{ChannelId, EpochKeys, RendezvousHash},
    crypto::Secret,
    identity::{IdentityId, IdentityKey},
    text,
};

/// The scheme of a link.
pub const LINK_SCHEME: &str = "bitchat:";

/// A file is three levels deep and holds a few hundred values when it is created; the rest is room for future keys.
const LIMITS: Limits = Limits {
    depth: 16,
    values: 16_384,
    canonical: true,
};
/// Maximum length of a link after its scheme: the largest file in base64url.
const MAX_LINK: usize = (MAX_FILE * 4).div_ceil(3);
/// The version of `info` that this program knows.
const VERSION: u64 = 1;
/// Label of the signature over `info`.
const SIGNATURE_LABEL: &str = "channel file";

/// Who may link in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Everyone who holds the file.
    Open,
    /// Holders of the file who are on the signed roster.
    Invite,
}

impl Policy {
    /// `open` or `invite`, as in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
        }
    }
}
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
impl std::str::FromStr for Policy {
    type Err = ChannelFileError;
    fn from_str(s: &str) -> Result<Self, ChannelFileError> {
        match s {
            "open" => Ok(Self::Open),
            "invite" => Ok(Self::Invite),
            _ => Err(ChannelFileError::UnknownPolicy),
        }
    }
}

/// How often a channel's rendezvous hash changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rotation {
    /// Once a day, at a time derived from the channel; the meaning of a file without `rotate`.
    #[default]
    Daily,
    /// Never: the hash is the file's infohash (`rotate` 0). Members meet even if their clocks are wrong, but an
    /// observer of a tracker or the DHT can follow the channel for as long as it exists.
    Never,
}

/// The signed part of a channel file.
#[derive(Clone)]
pub struct ChannelInfo {
    /// Creation time, in Unix seconds.
    pub created: u64,
    /// The name shown to users: 1 to 128 bytes of UTF-8 without control characters.
    pub name: String,
    /// The identity that created the channel.
    pub owner: IdentityId,
    /// Who may link.
    pub policy: Policy,
    /// How often the rendezvous hash changes.
    pub rotation: Rotation,
    /// The channel's 32 random bytes.
    pub secret: Secret,
    /// Version of the format: 1.
    pub version: u64,
}

impl fmt::Debug for ChannelInfo {
    /// Shows everything except the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelInfo")
            .field("created", &self.created)
            .field("name", &self.name)
            .field("owner", &self.owner)
            .field("policy", &self.policy)
            .field("rotation", &self.rotation)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The parameters of a new channel.
pub struct NewChannel<'a> {
    /// The name, 1 to [`MAX_CHANNEL_NAME`] bytes.
    pub name: &'a str,
    /// Who may link.
    pub policy: Policy,
    /// How often the rendezvous hash changes.
    pub rotation: Rotation,
    /// Tiers of tracker URLs (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// DHT bootstrap nodes (BEP 5), host and port.
    pub nodes: Vec<(String, u16)>,
    /// Relays, as multiaddrs.
    pub relays: Vec<String>,
    /// Creation time, in Unix seconds.
    pub created: u64,
    /// The channel's secret: 32 random bytes.
    pub secret: Secret,
}

/// A parsed, checked channel file. Keys it does not know are kept.
#[derive(Clone)]
pub struct ChannelFile {
    info: ChannelInfo,
    id: ChannelId,
    infohash: [u8; 20],
    trackers: Vec<Vec<String>>,
    nodes: Vec<(String, u16)>,
    relays: Vec<String>,
    /// The bytes of the file, which contain the secret.
    raw: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ChannelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelFile")
            .field("id", &self.id)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// The entries of a dictionary: keys with the raw bytes of their values.
type Keys = BTreeMap<Vec<u8>, Zeroizing<Vec<u8>>>;

impl ChannelFile {
    /// Creates and signs a file.
    pub fn create(new: NewChannel<'_>, owner: &IdentityKey) -> Result<Self, ChannelFileError> {
        if !text::is_name(new.name, MAX_CHANNEL_NAME) {
            return Err(ChannelFileError::BadName);
        }
        let trackers = hints::check_trackers(new.trackers)?;
        hints::check_nodes(&new.nodes)?;
        hints::check_relays(&new.relays)?;

        let mut info = Keys::new();
        put(&mut info, "created", &new.created);
        put(&mut info, "name", &new.name);
        put(
            &mut info,
            "owner",
            serde_bytes::Bytes::new(owner.id().as_bytes()),
        );
        put(&mut info, "policy", new.policy.as_str());
        if new.rotation == Rotation::Never {
            put(&mut info, "rotate", &0u64);
        }
        put(&mut info, "secret", serde_bytes::Bytes::new(&*new.secret));
        put(&mut info, "version", &VERSION);
        let info = write(&info);
        let signature = owner.sign(SIGNATURE_LABEL, &[&info]);

        let mut keys = Keys::new();
        put_trackers(&mut keys, &trackers);
        if !new.nodes.is_empty() {
            put(&mut keys, "nodes", &new.nodes);
        }
        if !new.relays.is_empty() {
            put(&mut keys, "relays", &new.relays);
        }
        keys.insert(b"info".to_vec(), info);
        put(&mut keys, "signature", serde_bytes::Bytes::new(&signature));
        // Parsed like any other, so that no file is created that others refuse.
        Self::parse(&write(&keys))
    }

    /// Parses and checks the bytes of a file: at most 256 KiB, canonical bencode, signed by its owner.
    pub fn parse(bytes: &[u8]) -> Result<Self, ChannelFileError> {
        if bytes.len() > MAX_FILE {
            return Err(ChannelFileError::TooLarge);
        }
        bencode::scan(bytes, LIMITS)?;
        if bytes.first() != Some(&b'd') {
            return Err(ChannelFileError::NotADictionary);
        }
        let key = |name: &str| bencode::raw_value(bytes, name.as_bytes());
        let raw_info = key("info").ok_or(ChannelFileError::Missing("info"))?;
        let info = parse_info(raw_info)?;
        let signature = key("signature").ok_or(ChannelFileError::Missing("signature"))?;
        let signature = array::<64>(signature).ok_or(ChannelFileError::BadValue("signature"))?;
        info.owner
            .verify(SIGNATURE_LABEL, &[raw_info], signature)
            .map_err(|_| ChannelFileError::BadSignature)?;
        Ok(Self {
            info,
            id: ChannelId::of_info(raw_info),
            infohash: Sha1::digest(raw_info).into(),
            trackers: hints::read_trackers(key("announce"), key("announce-list"))?,
            nodes: hints::read_nodes(key("nodes"))?,
            relays: hints::read_relays(key("relays"))?,
            raw: Zeroizing::new(bytes.to_vec()),
        })
    }

    /// Parses `bitchat:` + base64url (no padding). White space around it and the scheme's case are ignored.
    pub fn parse_link(link: &str) -> Result<Self, ChannelFileError> {
        let link = link.trim();
        let (scheme, data) = link
            .split_at_checked(LINK_SCHEME.len())
            .ok_or(ChannelFileError::BadLink)?;
        if !scheme.eq_ignore_ascii_case(LINK_SCHEME) {
            return Err(ChannelFileError::BadLink);
        }
        if data.len() > MAX_LINK {
            return Err(ChannelFileError::TooLarge);
        }
        let bytes = URL_SAFE_NO_PAD
            .decode(data)
            .map_err(|_| ChannelFileError::BadLink)?;
        Self::parse(&Zeroizing::new(bytes))
    }

    /// The file's canonical bytes, which contain the secret.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.raw.to_vec()
    }

    /// The file as a link, which contains the secret.
    pub fn to_link(&self) -> String {
        format!(
            "{LINK_SCHEME}{}",
            *Zeroizing::new(URL_SAFE_NO_PAD.encode(&*self.raw))
        )
    }

    /// The signed part.
    pub fn info(&self) -> &ChannelInfo {
        &self.info
    }
    /// `H("channel"; raw bencoded info)`.
    pub fn id(&self) -> ChannelId {
        self.id
    }
    /// SHA-1 of the bencoded info (BEP 3).
    pub fn infohash(&self) -> [u8; 20] {
        self.infohash
    }
    /// Tiers of tracker URLs: `announce-list`, or `announce` as the only one.
    pub fn trackers(&self) -> &[Vec<String>] {
        &self.trackers
    }
    /// The keys of epoch 0, derived from the file's secret.
    pub fn keys(&self) -> EpochKeys {
        let keys = EpochKeys::derive(self.id, 0, &self.info.secret);
        match self.info.rotation {
            Rotation::Daily => keys,
            Rotation::Never => keys.with_fixed_hash(RendezvousHash(self.infohash)),
        }
    }
    /// DHT bootstrap nodes.
    pub fn nodes(&self) -> &[(String, u16)] {
        &self.nodes
    }
    /// Relays, as multiaddrs.
    pub fn relays(&self) -> &[String] {
        &self.relays
    }

    /// A copy of the file with other trackers (hints are not signed).
    pub fn with_trackers(&self, trackers: Vec<Vec<String>>) -> Result<Self, ChannelFileError> {
        let trackers = hints::check_trackers(trackers)?;
        let mut keys: Keys = bencode::entries(&self.raw)
            .map(|(key, value)| (key.to_vec(), Zeroizing::new(value.to_vec())))
            .collect();
        put_trackers(&mut keys, &trackers);
        Self::parse(&write(&keys))
    }
}

fn parse_info(raw: &[u8]) -> Result<ChannelInfo, ChannelFileError> {
    use ChannelFileError::{BadValue, Missing};
    if raw.first() != Some(&b'd') {
        return Err(BadValue("info"));
    }
    let key = |name: &str| bencode::raw_value(raw, name.as_bytes());
    let number = |name, label| {
        let raw = key(name).ok_or(Missing(label))?;
        serde_bencode::from_bytes::<u64>(raw).map_err(|_| BadValue(label))
    };
    let string = |name, label| {
        let raw = key(name).ok_or(Missing(label))?;
        serde_bencode::from_bytes::<String>(raw).map_err(|_| BadValue(label))
    };
    let bytes = |name, label| array::<32>(key(name).ok_or(Missing(label))?).ok_or(BadValue(label));

    // The version first: the layout of later versions is unknown.
    let version = number("version", "info.version")?;
    if version != VERSION {
        return Err(ChannelFileError::UnknownVersion(version));
    }
    let created = number("created", "info.created")?;
    let name = string("name", "info.name")?;
    if !text::is_name(&name, MAX_CHANNEL_NAME) {
        return Err(ChannelFileError::BadName);
    }
    let owner = IdentityId::from_bytes(bytes("owner", "info.owner")?)
        .map_err(|_| BadValue("info.owner"))?;
    let policy = string("policy", "info.policy")?.parse()?;
    let rotation = match key("rotate") {
        None => Rotation::Daily,
        Some(_) => match number("rotate", "info.rotate")? {
            0 => Rotation::Never,
            _ => return Err(ChannelFileError::UnknownRotation),
        },
    };
    let secret: Secret = Zeroizing::new(*bytes("secret", "info.secret")?);
    if *secret == [0; 32] {
        return Err(ChannelFileError::ZeroSecret);
    }
    Ok(ChannelInfo {
        created,
        name,
        owner,
        policy,
        rotation,
        secret,
        version,
    })
}

/// The contents of a raw byte string of `N` bytes, in place.
fn array<const N: usize>(raw: &[u8]) -> Option<&[u8; N]> {
    bencode::byte_string(raw)?.try_into().ok()
}

/// Writes `announce`, the first tracker, and `announce-list` if there are more (BEP 12).
fn put_trackers(keys: &mut Keys, tiers: &[Vec<String>]) {
    keys.remove(&b"announce"[..]);
    keys.remove(&b"announce-list"[..]);
    let mut all = tiers.iter().flatten();
    if let Some(first) = all.next() {
        put(keys, "announce", first);
        if all.next().is_some() {
            put(keys, "announce-list", tiers);
        }
    }
}

fn put(keys: &mut Keys, key: &str, value: &(impl Serialize + ?Sized)) {
    // Only floats and maps with non-string keys cannot be written, and there are none here.
    let raw =
        serde_bencode::to_bytes(&value).expect("strings, numbers and lists of them are bencode");
    keys.insert(key.as_bytes().to_vec(), Zeroizing::new(raw));
}

/// Writes a dictionary with sorted keys.
fn write(keys: &Keys) -> Zeroizing<Vec<u8>> {
    // Reserved in full: a buffer that grows leaves copies of the secret in freed memory.
    let len = keys
        .iter()
        .map(|(key, value)| key.len() + value.len() + 24)
        .sum::<usize>()
        + 2;
    let mut out = Zeroizing::new(Vec::with_capacity(len));
    out.push(b'd');
    for (key, value) in keys {
        bencode::put_string(&mut out, key);
        out.extend_from_slice(value);
    }
    out.push(b'e');
    out
}

#[cfg(test)]
#[path = "tests/file.rs"]
pub(super) mod tests;
