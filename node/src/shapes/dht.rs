//! This node's part of the DHT.

use std::time::Instant;

use bitchat_actors::{
    internals::dht,
    status::{
        DhtChannelStatus, DhtState, DhtStatus, FamilyStatus, LookupResult, Traffic, WatchStatus,
    },
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{seconds_since, seconds_until};

/// A summary of this node's part of the DHT.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DhtSummary {
    /// `off`, `waiting` (it is starting), `working` or `failing` (no node answers).
    pub state: String,
    /// Number of good nodes in the routing tables, IPv4 and IPv6 together.
    pub nodes: usize,
    /// Seconds since a node last answered.
    pub last_success_s: Option<u64>,
    /// Seconds until the bootstrap nodes are tried again; null unless no node answers.
    pub next_try_s: Option<u64>,
}

impl DhtSummary {
    /// Converts the node's view; `None` means that the DHT is off.
    pub fn new(s: Option<&DhtStatus>) -> Self {
        let now = Instant::now();
        Self {
            state: s.map_or("off", |s| describe(s.state())).to_owned(),
            nodes: s.map_or(0, |s| s.families().map(|family| family.table.good).sum()),
            last_success_s: s.and_then(|s| s.answered).map(|at| seconds_since(at, now)),
            next_try_s: s.and_then(|s| s.retry).map(|at| seconds_until(at, now)),
        }
    }
}

/// This node's part of the DHT in detail.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Dht {
    /// The summary.
    #[serde(flatten)]
    pub summary: DhtSummary,
    /// IPv4 and IPv6 are two separate DHTs; one entry for each that has a socket.
    pub families: Vec<DhtFamily>,
    /// Traffic since the start.
    pub traffic: DhtTraffic,
    /// Number of lookups under way.
    pub lookups: usize,
    /// Number of infohashes that other nodes announced here.
    pub stored_hashes: usize,
    /// Number of peers stored under them.
    pub stored_peers: usize,
    /// The infohashes that this node announces and looks up.
    pub watched: Vec<DhtWatch>,
}

/// This node in the DHT of IPv4 or of IPv6.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DhtFamily {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// The node's id, 40 hexadecimal digits.
    pub id: String,
    /// Whether the id is bound to our address (BEP 42); null while our address is unknown.
    pub id_valid: Option<bool>,
    /// Our address as most nodes see it; port 0 if they disagree about the port.
    pub external: Option<String>,
    /// Number of nodes in the routing table.
    pub nodes: usize,
    /// Number of those that answered or sent a query within 15 minutes.
    pub good: usize,
    /// Number of those whose ids are bound to their addresses.
    pub valid: usize,
}

/// Traffic counters.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DhtTraffic {
    /// Datagrams received.
    pub packets_in: u64,
    /// Datagrams sent.
    pub packets_out: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Datagrams received and dropped: malformed, over a limit, or unsolicited answers.
    pub dropped: u64,
}

/// An infohash that this node announces and looks up.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DhtWatch {
    /// The infohash, 40 hexadecimal digits.
    pub hash: String,
    /// Its state.
    #[serde(flatten)]
    pub source: DhtChannel,
}

/// The DHT as a source of addresses for a channel.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DhtChannel {
    /// `off`, `waiting`, `working` or `failing`.
    pub state: String,
    /// Number of nodes that accepted the last announce.
    pub announced_to: usize,
    /// Number of peers that the last lookup found, this node included.
    pub peers: usize,
    /// Seconds since nodes last answered.
    pub last_success_s: Option<u64>,
    /// Seconds until the next lookup; null while one is under way.
    pub next_try_s: Option<u64>,
}

impl DhtChannel {
    /// Converts the node's view; `None` means that the DHT is off.
    pub fn new(s: Option<&DhtChannelStatus>, now: Instant) -> Self {
        Self {
            state: s.map_or("off", |s| describe(s.state)).to_owned(),
            announced_to: s.map_or(0, |s| s.announced_to),
            peers: s.map_or(0, |s| s.peers),
            last_success_s: s
                .and_then(|s| s.last_success)
                .map(|at| seconds_since(at, now)),
            next_try_s: s.and_then(|s| s.next_try).map(|at| seconds_until(at, now)),
        }
    }
}

impl Dht {
    /// Converts the node's view.
    pub fn new(s: &DhtStatus) -> Self {
        let now = Instant::now();
        let family = |family: &str, status: &Option<FamilyStatus>| {
            status.as_ref().map(|status| DhtFamily {
                family: family.to_owned(),
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
            source: DhtChannel::new(Some(&DhtChannelStatus::new(s, watch)), now),
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

/// The result of a lookup.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DhtFound {
    /// The infohash, 40 hexadecimal digits.
    pub hash: String,
    /// `ADDRESS:PORT` each; unverified, since anyone can announce anything.
    pub peers: Vec<String>,
    /// Number of nodes that were asked.
    pub asked: usize,
    /// Number of nodes that answered.
    pub answered: usize,
    /// Number of queries in the chain that led to the first peer; null if none was found.
    pub hops: Option<usize>,
}

impl DhtFound {
    /// Converts the result of a lookup.
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

fn describe(state: DhtState) -> &'static str {
    match state {
        DhtState::Waiting => "waiting",
        DhtState::Working => "working",
        DhtState::Failing => "failing",
        _ => "unknown",
    }
}
