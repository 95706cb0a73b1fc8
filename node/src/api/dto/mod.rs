//! The shapes of what the API says, which the command line prints with `--json`. Ids are in full, times
//! RFC 3339 in UTC.

mod channel;
mod dht;
mod member;
mod message;
mod source;
mod tracker;

use bitchat_actors::node::NodeStatus;
use serde::Serialize;
use utoipa::ToSchema;

pub use self::{channel::*, dht::*, member::*, message::*, source::*, tracker::*};

/// One's own profile, as all channels have it.
#[derive(Serialize, ToSchema)]
pub struct Profile {
    /// Bit Chat ID.
    pub id: String,
    /// The name, which is a setting (`bitchat config set name`).
    pub name: String,
    /// The line about oneself; empty when there is none.
    pub status: String,
    /// The media type of the picture at `/v1/profile/picture`; null when there is none.
    pub picture: Option<&'static str>,
}

/// What to change of it.
#[derive(Serialize, serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProfile {
    /// The line about oneself, at most 256 bytes; empty: none any more.
    pub status: String,
}

/// Any error.
#[derive(Serialize, ToSchema)]
pub struct Problem {
    /// What went wrong.
    pub error: ProblemBody,
}

/// What went wrong.
#[derive(Serialize, ToSchema)]
pub struct ProblemBody {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

/// The node in a few figures.
#[derive(Serialize, ToSchema)]
pub struct Status {
    /// The Bit Chat ID of its owner.
    pub id: String,
    /// The owner's name.
    pub name: String,
    /// The program's version.
    pub version: &'static str,
    /// This run's PeerId.
    pub peer_id: String,
    /// The UDP port.
    pub port: u16,
    /// Where it listens.
    pub listening: Vec<String>,
    /// The proxy through which everything goes; null when there is none.
    pub proxy: Option<ProxyState>,
    /// Whether members do not learn where the node is: they are talked with through relays alone.
    pub hidden: bool,
    /// Open connections.
    pub connections: usize,
    /// The node's address as others see it.
    pub observed: Vec<Observed>,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Whose BitTorrent client trackers and the DHT see, as the setting `disguise` has it.
    pub disguise: String,
    /// The DHT.
    pub dht: DhtSummary,
    /// The channels.
    pub channels: Vec<ChannelStatus>,
    /// Parts of the node that kept failing, newest last.
    pub troubles: Vec<String>,
}

/// A channel, and how its members are looked for.
#[derive(Serialize, ToSchema)]
pub struct ChannelStatus {
    /// As in the list.
    #[serde(flatten)]
    pub channel: Channel,
    /// All sources of addresses, the quickest first.
    pub sources: Vec<Source>,
}

/// A proxy, and how it does.
#[derive(Serialize, ToSchema)]
pub struct ProxyState {
    /// Its address, without user and password.
    pub url: String,
    /// What is wrong with it, in plain words: nothing leaves then. Null when it worked the last time.
    pub trouble: Option<String>,
}

/// An address as others see it.
#[derive(Serialize, ToSchema)]
pub struct Observed {
    /// The address.
    pub addr: String,
    /// How many say so.
    pub by: usize,
}

impl Status {
    /// From the node's own words.
    pub fn new(s: NodeStatus, port: u16) -> Self {
        let now = std::time::Instant::now();
        Self {
            id: s.id.to_string(),
            name: s.name,
            version: env!("CARGO_PKG_VERSION"),
            peer_id: s.peer_id.to_string(),
            port,
            listening: s.listening.iter().map(ToString::to_string).collect(),
            proxy: s.proxy.map(|proxy| ProxyState {
                url: proxy.url,
                trouble: proxy.trouble,
            }),
            hidden: s.allowed.is_hidden(),
            connections: s.connections,
            observed: s
                .observed
                .iter()
                .map(|(addr, by)| Observed {
                    addr: addr.to_string(),
                    by: *by,
                })
                .collect(),
            uptime_s: s.uptime_s,
            disguise: s.disguise.to_string(),
            dht: DhtSummary::new(s.dht.as_ref()),
            channels: s
                .channels
                .iter()
                .map(|channel| ChannelStatus {
                    channel: Channel::new(channel),
                    sources: s
                        .sources
                        .get(&channel.cid)
                        .into_iter()
                        .flatten()
                        .map(|source| Source::new(source, now))
                        .collect(),
                })
                .collect(),
            troubles: s.deaths,
        }
    }
}
