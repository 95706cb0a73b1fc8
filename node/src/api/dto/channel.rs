//! Channels, and what is said to make, join and leave them.

use std::time::Instant;

use bitchat_actors::{
    chat::Mesh,
    node::{ChannelDetails, ChannelSummary},
    tracker::{TrackerState, TrackerStatus},
};
use bitchat_wire::channel::{Policy, Rotation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{DhtChannel, Source};
use crate::time::rfc3339;

/// Channels.
#[derive(Serialize, ToSchema)]
pub struct Channels {
    /// By name.
    pub channels: Vec<Channel>,
}

/// A channel in a list.
#[derive(Serialize, ToSchema)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Its id, 64 hexadecimal digits.
    pub id: String,
    /// `open` or `invite`.
    pub policy: &'static str,
    /// Whether it was made here.
    pub owned: bool,
    /// `full`, `partial` or `none`.
    pub mesh: &'static str,
    /// Known members, oneself included.
    pub members: usize,
    /// Linked ones, oneself included.
    pub online: usize,
}

impl Channel {
    /// From the node's own words.
    pub fn new(c: &ChannelSummary) -> Self {
        Self {
            name: c.name.clone(),
            id: c.cid.to_string(),
            policy: policy(c.policy),
            owned: c.owned,
            mesh: mesh(c.mesh),
            members: c.members,
            online: c.online,
        }
    }
}

/// All about a channel.
#[derive(Serialize, ToSchema)]
pub struct Info {
    /// As in the list.
    #[serde(flatten)]
    pub channel: Channel,
    /// SHA-1 of the file's info, 40 hexadecimal digits.
    pub infohash: String,
    /// The rendezvous hashes of the present and the next period, 40 hexadecimal digits each; one if it never changes.
    pub rendezvous: Vec<String>,
    /// Whether the rendezvous hash changes daily, as it does unless the channel was made with `rotate` 0.
    pub rotates: bool,
    /// The owner's Bit Chat ID.
    pub owner: String,
    /// When it was made.
    pub created: String,
    /// Its trackers, in the file's order.
    pub trackers: Vec<Tracker>,
    /// The DHT.
    pub dht: DhtChannel,
    /// All sources of addresses, those included, the quickest first.
    pub sources: Vec<Source>,
    /// Addresses that wait to be tried, are tried, or failed lately.
    pub candidates: usize,
    /// Dials under way.
    pub dialling: usize,
    /// Why what arrives is not kept, if so.
    pub trouble: Option<String>,
}

impl Info {
    /// From the node's own words.
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

/// The state of one tracker.
#[derive(Serialize, ToSchema)]
pub struct Tracker {
    /// Its URL.
    pub url: String,
    /// Its tier.
    pub tier: usize,
    /// `waiting`, `working`, `failing` or `unsupported`.
    pub state: &'static str,
    /// Peers in its last answer.
    pub peers: usize,
    /// Seconds until we announce next.
    pub next_announce_s: Option<u64>,
    /// The last failure or warning.
    pub error: Option<String>,
}

impl Tracker {
    fn new(t: &TrackerStatus, now: Instant) -> Self {
        Self {
            url: t.url.clone(),
            tier: t.tier,
            state: match t.state {
                TrackerState::Waiting => "waiting",
                TrackerState::Working => "working",
                TrackerState::Failing => "failing",
                TrackerState::Unsupported => "unsupported",
                _ => "unknown",
            },
            peers: t.peers,
            next_announce_s: t
                .next_announce
                .map(|at| at.saturating_duration_since(now).as_secs()),
            error: t.error.clone(),
        }
    }
}

/// A channel to be made.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewChannel {
    /// Its name: 1 to 128 bytes, no control characters.
    pub name: String,
    /// `open` (whoever holds the file) or `invite`.
    #[serde(default)]
    pub policy: Rule,
    /// Tracker URLs; left out: those of the settings.
    #[serde(default)]
    pub trackers: Option<Vec<String>>,
    /// Besides, the public trackers that this program knows.
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
    /// Whoever holds the file.
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
    /// Once a day: nobody who watches a tracker or the DHT can follow the channel from day to day by it
    #[default]
    Daily,
    /// Never: members meet also where clocks are wrong, and the channel can be followed by its hash for good
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

/// A channel that was made.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// SHA-1 of the file's info.
    pub infohash: String,
    /// The whole channel file as a `bitchat:` link. A secret: whoever has it may come in.
    pub link: String,
}

/// A channel that was left.
#[derive(Serialize, ToSchema)]
pub struct Left {
    /// Its id.
    pub id: String,
    /// True.
    pub left: bool,
}

/// An address told by hand.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// `1.2.3.4:5` or `[2001:db8::1]:5`.
    pub addr: String,
}

/// An address that is tried from now on.
#[derive(Serialize, ToSchema)]
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
