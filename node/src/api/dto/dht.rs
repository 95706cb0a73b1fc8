//! The DHT.

use std::time::Instant;

use bitchat_actors::{
    dht::{self, DhtState, DhtStatus, FamilyStatus, LookupResult, Traffic, WatchStatus},
    discovery::DhtSource,
};
use serde::Serialize;
use utoipa::ToSchema;

/// Our node of the DHT in a few figures.
#[derive(Serialize, ToSchema)]
pub struct DhtSummary {
    /// `off`, `waiting` (it just begins), `working` or `failing` (nobody answers).
    pub state: &'static str,
    /// Nodes that it knows and that are there, as far as one can tell; of both families.
    pub nodes: usize,
    /// Seconds since a node answered last.
    pub last_success_s: Option<u64>,
    /// Seconds until all nodes to begin at are tried again, when nobody answers.
    pub next_try_s: Option<u64>,
}

impl DhtSummary {
    /// From the node's own words; `None`: the DHT is off.
    pub fn new(s: Option<&DhtStatus>) -> Self {
        let now = Instant::now();
        Self {
            state: s.map_or("off", |s| word(s.state())),
            nodes: s.map_or(0, |s| s.families().map(|family| family.table.good).sum()),
            last_success_s: s.and_then(|s| ago(s.answered, now)),
            next_try_s: s.and_then(|s| until(s.retry, now)),
        }
    }
}

/// All about our node of the DHT.
#[derive(Serialize, ToSchema)]
pub struct Dht {
    /// In a few figures.
    #[serde(flatten)]
    pub summary: DhtSummary,
    /// IPv4 and IPv6 are two DHTs: one of each that has a socket.
    pub families: Vec<DhtFamily>,
    /// What went over the wire since the start.
    pub traffic: DhtTraffic,
    /// Lookups under way.
    pub lookups: usize,
    /// Infohashes that others announced here.
    pub stored_hashes: usize,
    /// Peers under those.
    pub stored_peers: usize,
    /// What is announced and looked for.
    pub watched: Vec<DhtWatch>,
}

/// Our node among those of IPv4 or of IPv6.
#[derive(Serialize, ToSchema)]
pub struct DhtFamily {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// Its id, 40 hexadecimal digits.
    pub id: String,
    /// Whether the id is bound to our address (BEP 42); null while the address is not known.
    pub id_valid: Option<bool>,
    /// Our address as most nodes see it; port 0 if they disagree about the port.
    pub external: Option<String>,
    /// Nodes in the routing table.
    pub nodes: usize,
    /// Those that answered or asked within 15 minutes.
    pub good: usize,
    /// Those whose ids are bound to their addresses.
    pub valid: usize,
}

/// What went over the wire.
#[derive(Serialize, ToSchema)]
pub struct DhtTraffic {
    /// Datagrams received.
    pub packets_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Datagrams received and dropped: malformed, beyond a limit, or answers to nothing.
    pub dropped: u64,
}

/// An infohash that is announced and looked for.
#[derive(Serialize, ToSchema)]
pub struct DhtWatch {
    /// The infohash, 40 hexadecimal digits.
    pub hash: String,
    /// How it goes.
    #[serde(flatten)]
    pub source: DhtChannel,
}

/// The DHT as a source of addresses for a channel.
#[derive(Serialize, ToSchema)]
pub struct DhtChannel {
    /// `off`, `waiting`, `working` or `failing`.
    pub state: &'static str,
    /// Nodes that took the last announce.
    pub announced_to: usize,
    /// Peers that the last lookup led to, oneself included.
    pub peers: usize,
    /// Seconds since nodes answered last.
    pub last_success_s: Option<u64>,
    /// Seconds until it is asked next; null while it is.
    pub next_try_s: Option<u64>,
}

impl DhtChannel {
    /// From the node's own words; `None`: the DHT is off.
    pub fn new(s: Option<&DhtSource>, now: Instant) -> Self {
        Self {
            state: s.map_or("off", |s| word(s.state)),
            announced_to: s.map_or(0, |s| s.announced_to),
            peers: s.map_or(0, |s| s.peers),
            last_success_s: s.and_then(|s| ago(s.last_success, now)),
            next_try_s: s.and_then(|s| until(s.next_try, now)),
        }
    }
}

impl Dht {
    /// From the node's own words.
    pub fn new(s: &DhtStatus) -> Self {
        let now = Instant::now();
        let family = |family, status: &Option<FamilyStatus>| {
            status.as_ref().map(|status| DhtFamily {
                family,
                id: status.id.to_string(),
                id_valid: status.id_valid,
                external: status.external.map(|address| address.to_string()),
                nodes: status.table.nodes,
                good: status.table.good,
                valid: status.table.valid,
            })
        };
        let watch = |watch: &WatchStatus| DhtWatch {
            hash: watch.hash.to_string(),
            source: DhtChannel::new(Some(&DhtSource::new(s, watch)), now),
        };
        let Traffic {
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
            dropped,
        } = s.traffic;
        Self {
            summary: DhtSummary::new(Some(s)),
            families: [family("ipv4", &s.v4), family("ipv6", &s.v6)]
                .into_iter()
                .flatten()
                .collect(),
            traffic: DhtTraffic {
                packets_in,
                packets_out,
                bytes_in,
                bytes_out,
                dropped,
            },
            lookups: s.lookups,
            stored_hashes: s.stored_hashes,
            stored_peers: s.stored_peers,
            watched: s.watches.iter().map(watch).collect(),
        }
    }
}

/// Whom an infohash leads to.
#[derive(Serialize, ToSchema)]
pub struct DhtFound {
    /// The infohash, 40 hexadecimal digits.
    pub hash: String,
    /// `ADDRESS:PORT` each; anybody may announce anything.
    pub peers: Vec<String>,
    /// Nodes that were asked.
    pub asked: usize,
    /// Nodes that answered.
    pub answered: usize,
    /// Questions in a row that led to the first peer.
    pub hops: Option<usize>,
}

impl DhtFound {
    /// From the node's own words.
    pub fn new(hash: dht::Id, result: &LookupResult) -> Self {
        Self {
            hash: hash.to_string(),
            peers: result.peers.iter().map(ToString::to_string).collect(),
            asked: result.cost.asked,
            answered: result.cost.answered,
            hops: result.cost.hops,
        }
    }
}

fn word(state: DhtState) -> &'static str {
    match state {
        DhtState::Waiting => "waiting",
        DhtState::Working => "working",
        DhtState::Failing => "failing",
        _ => "unknown",
    }
}

fn ago(at: Option<Instant>, now: Instant) -> Option<u64> {
    at.map(|at| now.saturating_duration_since(at).as_secs())
}

fn until(at: Option<Instant>, now: Instant) -> Option<u64> {
    at.map(|at| at.saturating_duration_since(now).as_secs())
}
