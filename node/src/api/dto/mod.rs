//! The shapes of what the API says, which the command line prints with `--json`. Ids are in full, times
//! RFC 3339 in UTC.

mod channel;
mod dht;
mod member;
mod message;
mod source;
mod tracker;

use bitchat_actors::{node::NodeStatus, portmap::PortmapStatus};
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
    /// Whether the router lets others in.
    pub router: Router,
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

/// Whether the router lets others in, at the node's wish.
#[derive(Serialize, ToSchema)]
pub struct Router {
    /// `off`, `asking`, `mapped` or `failed`.
    pub state: &'static str,
    /// Where others get in; null when there is no mapping.
    pub addr: Option<String>,
    /// `PCP`, `NAT-PMP` or `UPnP`.
    pub protocol: Option<String>,
    /// Whether by TCP as well as by UDP.
    pub tcp: bool,
    /// Seconds until the mapping ends unless it is renewed; null: never, or there is none.
    pub ends_s: Option<u64>,
    /// Seconds until the router is asked again; null unless it failed.
    pub next_try_s: Option<u64>,
    /// Why there is no mapping, in plain words; empty when there is one.
    pub about: String,
}

impl Router {
    fn new(status: &PortmapStatus, now: std::time::Instant) -> Self {
        let mut router = Self {
            state: "asking",
            addr: None,
            protocol: None,
            tcp: false,
            ends_s: None,
            next_try_s: None,
            about: String::new(),
        };
        let left = |at: std::time::Instant| at.saturating_duration_since(now).as_secs();
        match status {
            PortmapStatus::Off(why) => {
                router.state = "off";
                router.about.clone_from(why);
            }
            PortmapStatus::Mapped(mapping) => {
                router.state = "mapped";
                router.addr = Some(mapping.external.to_string());
                router.protocol = Some(mapping.protocol.to_string());
                router.tcp = mapping.tcp;
                router.ends_s = mapping.until.map(left);
            }
            PortmapStatus::Failed { why, next_try } => {
                router.state = "failed";
                router.about.clone_from(why);
                router.next_try_s = Some(left(*next_try));
            }
            _ => {}
        }
        router
    }
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
            router: Router::new(&s.portmap, now),
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
