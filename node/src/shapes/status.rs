//! The state of the whole node.

use std::time::Instant;

use bitchat_actors::{node::NodeStatus, status::PortmapStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Channel, DhtSummary, Source, seconds_until};

/// The state of the running node.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The user's Bit Chat ID.
    pub id: String,
    /// The user's name.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// The PeerId of this run.
    pub peer_id: String,
    /// The UDP port.
    pub port: u16,
    /// The addresses that the node listens on.
    pub listening: Vec<String>,
    /// The proxy that all traffic goes through; null when there is none.
    pub proxy: Option<ProxyState>,
    /// Whether the node's address is hidden from members, so that all traffic with them goes through relays.
    pub hidden: bool,
    /// Number of open connections.
    pub connections: usize,
    /// The port mapping in the router.
    pub router: Router,
    /// The node's addresses as peers see them.
    pub observed: Vec<Observed>,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The BitTorrent client that trackers and the DHT see, as the setting `disguise` names it.
    pub disguise: String,
    /// The node's part of the DHT.
    pub dht: DhtSummary,
    /// The channels.
    pub channels: Vec<ChannelStatus>,
    /// Parts of the node that failed repeatedly, the newest last.
    pub troubles: Vec<String>,
}

/// A channel, and the sources of its members' addresses.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChannelStatus {
    /// As in the list.
    #[serde(flatten)]
    pub channel: Channel,
    /// All sources of addresses, the fastest first.
    pub sources: Vec<Source>,
}

/// A proxy, and its state.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProxyState {
    /// Its address, without user and password.
    pub url: String,
    /// What is wrong with it, in plain words; until it is fixed, nothing is sent. Null when it last worked.
    pub trouble: Option<String>,
}

/// The port mapping in the router.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Router {
    /// `off`, `asking`, `mapped` or `failed`.
    pub state: String,
    /// The external address that is mapped to the node; null when there is no mapping.
    pub addr: Option<String>,
    /// `PCP`, `NAT-PMP` or `UPnP`.
    pub protocol: Option<String>,
    /// Whether TCP is mapped as well as UDP.
    pub tcp: bool,
    /// Seconds until the mapping expires unless it is renewed; null when it does not expire or there is none.
    pub ends_s: Option<u64>,
    /// Seconds until the router is asked again; null unless the last request failed.
    pub next_try_s: Option<u64>,
    /// Why there is no mapping, in plain words; empty when there is one.
    pub about: String,
}

impl Router {
    fn new(status: &PortmapStatus, now: Instant) -> Self {
        let mut router = Self {
            state: "asking".to_owned(),
            addr: None,
            protocol: None,
            tcp: false,
            ends_s: None,
            next_try_s: None,
            about: String::new(),
        };
        match status {
            PortmapStatus::Off(why) => {
                "off".clone_into(&mut router.state);
                router.about.clone_from(why);
            }
            PortmapStatus::Mapped(mapping) => {
                "mapped".clone_into(&mut router.state);
                router.addr = Some(mapping.external.to_string());
                router.protocol = Some(mapping.protocol.to_string());
                router.tcp = mapping.tcp;
                router.ends_s = mapping.until.map(|at| seconds_until(at, now));
            }
            PortmapStatus::Failed { why, next_try } => {
                "failed".clone_into(&mut router.state);
                router.about.clone_from(why);
                router.next_try_s = Some(seconds_until(*next_try, now));
            }
            _ => {}
        }
        router
    }
}

/// An address of the node, as peers see it.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Observed {
    /// The address.
    pub addr: String,
    /// Number of peers that report it.
    pub by: usize,
}

impl Status {
    /// Converts the node's view of itself.
    pub fn new(s: NodeStatus, port: u16) -> Self {
        let now = Instant::now();
        Self {
            id: s.id.to_string(),
            name: s.name,
            version: env!("CARGO_PKG_VERSION").to_owned(),
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
