//! Channels, and the requests that create, join and leave them.

use std::time::Instant;

use bitchat_actors::{
    chat::Mesh,
    node::{ChannelDetails, ChannelSummary},
};
use bitchat_wire::channel::{Policy, Rotation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DhtChannel, Source, Tracker};
use crate::time::rfc3339;

/// A list of channels.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Channels {
    /// Sorted by name.
    pub channels: Vec<Channel>,
}

/// A channel in a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// `open` or `invite`.
    pub policy: String,
    /// Whether it was created here.
    pub owned: bool,
    /// `full`, `partial` or `none`.
    pub mesh: String,
    /// Number of known members, the user included.
    pub members: usize,
    /// Number of linked members, the user included.
    pub online: usize,
}

impl Channel {
    /// Converts the node's view of a channel.
    pub fn new(c: &ChannelSummary) -> Self {
        Self {
            name: c.name.clone(),
            id: c.cid.to_string(),
            policy: policy(c.policy).to_owned(),
            owned: c.owned,
            mesh: mesh(c.mesh).to_owned(),
            members: c.members,
            online: c.online,
        }
    }
}

/// A channel in detail.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Info {
    /// As in the list.
    #[serde(flatten)]
    pub channel: Channel,
    /// SHA-1 of the file's info, 40 hexadecimal digits.
    pub infohash: String,
    /// The rendezvous hashes of the current and the next period, 40 hexadecimal digits each; only one if it never
    /// changes.
    pub rendezvous: Vec<String>,
    /// Whether the rendezvous hash changes daily, as it does unless the channel was created with `rotate` 0.
    pub rotates: bool,
    /// The owner's Bit Chat ID.
    pub owner: String,
    /// When it was created.
    pub created: String,
    /// Its trackers, in the file's order.
    pub trackers: Vec<Tracker>,
    /// The DHT as a source of addresses.
    pub dht: DhtChannel,
    /// All sources of addresses, trackers and DHT included, the fastest first.
    pub sources: Vec<Source>,
    /// Number of addresses that are waiting to be dialled, being dialled, or failed recently.
    pub candidates: usize,
    /// Number of dials under way.
    pub dialling: usize,
    /// Why received events are not being stored; null when they are.
    pub trouble: Option<String>,
}

impl Info {
    /// Converts the node's view of a channel.
    pub fn new(d: &ChannelDetails) -> Self {
        let now = Instant::now();
        let rotates = d.rotation != Rotation::Never;
        Self {
            channel: Channel::new(&d.summary),
            infohash: hex::encode(d.infohash),
            rendezvous: d
                .rendezvous
                .iter()
                .take(if rotates { 2 } else { 1 })
                .map(|h| hex::encode(h.0))
                .collect(),
            rotates,
            owner: d.owner.to_string(),
            created: rfc3339(d.created.saturating_mul(1_000)),
            trackers: d
                .discovery
                .trackers
                .iter()
                .map(|t| Tracker::new(t, now))
                .collect(),
            dht: DhtChannel::new(d.discovery.dht.as_ref(), now),
            sources: d
                .discovery
                .sources
                .iter()
                .map(|source| Source::new(source, now))
                .collect(),
            candidates: d.discovery.candidates,
            dialling: d.discovery.dialling,
            trouble: d.trouble.clone(),
        }
    }
}

/// A channel to create.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// Its name: 1 to 128 bytes, no control characters.
    pub name: String,
    /// `open` (anyone who holds the file) or `invite`.
    #[serde(default)]
    pub policy: Rule,
    /// Tracker URLs; when left out, those of the settings.
    #[serde(default)]
    pub trackers: Option<Vec<String>>,
    /// Whether to add the public trackers that this program knows.
    #[serde(default)]
    pub default_trackers: bool,
    /// How often the rendezvous hash changes.
    #[serde(default)]
    pub rotate: Rotate,
    /// DHT bootstrap nodes, `HOST:PORT`.
    #[serde(default)]
    pub nodes: Vec<String>,
    /// Relays at which members meet, as multiaddrs: `/ip4/192.0.2.1/tcp/443/p2p/PEERID`.
    #[serde(default)]
    pub relays: Vec<String>,
}

/// Who may link.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Anyone who holds the file.
    #[default]
    Open,
    /// Those on the signed roster.
    Invite,
}

impl From<Rule> for Policy {
    fn from(rule: Rule) -> Self {
        match rule {
            Rule::Open => Self::Open,
            Rule::Invite => Self::Invite,
        }
    }
}

/// How often the hash changes under which members find each other.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Rotate {
    /// Once a day: someone who watches a tracker or the DHT cannot follow the channel from one day to the next
    #[default]
    Daily,
    /// Never: members meet even if their clocks are wrong, and the channel can be followed by its hash forever
    #[serde(rename = "0")]
    #[value(name = "0")]
    Never,
}

impl From<Rotate> for Rotation {
    fn from(rotate: Rotate) -> Self {
        match rotate {
            Rotate::Daily => Self::Daily,
            Rotate::Never => Self::Never,
        }
    }
}

/// A channel that was created.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// SHA-1 of the file's info.
    pub infohash: String,
    /// The whole channel file as a `bitchat:` link. A secret: anyone who has it can join.
    pub link: String,
}

/// A channel that was left.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Left {
    /// Its id.
    pub id: String,
    /// Always true.
    pub left: bool,
}

/// An address of a member, entered by hand.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// `1.2.3.4:5` or `[2001:db8::1]:5`.
    pub addr: String,
}

/// An address that is dialled from now on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Connecting {
    /// The channel's id.
    pub id: String,
    /// The address.
    pub addr: String,
}

fn policy(policy: Policy) -> &'static str {
    match policy {
        Policy::Open => "open",
        Policy::Invite => "invite",
        _ => "unknown",
    }
}

fn mesh(mesh: Mesh) -> &'static str {
    match mesh {
        Mesh::Full => "full",
        Mesh::Partial => "partial",
        Mesh::None => "none",
    }
}
