//! The sources of a channel's peer addresses, and the state of each.

use std::time::Instant;

use bitchat_actors::{
    internals::discovery,
    status::{SourceKind, SourceState, SourceStatus},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{seconds_since, seconds_until};

/// A source of addresses.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Source {
    /// `cache` (members known from earlier runs), `tracker`, `dht_ipv4`, `dht_ipv6`, `lan`, `relay` (relays
    /// named in the channel's file), `hand` (addresses entered by hand) or `pex` (linked members).
    pub source: String,
    /// The tracker's URL; null for other sources.
    pub url: Option<String>,
    /// `off`, `waiting` (nothing is known yet), `working`, `failing` or `blocked` (it has never answered, while
    /// other sources do).
    pub state: String,
    /// Links that it led to in this run.
    pub linked: usize,
    /// Seconds since it last answered, named a peer or led to a member.
    pub last_success_s: Option<u64>,
    /// Seconds until the next try; null while one is under way, and for sources that are not asked.
    pub next_try_s: Option<u64>,
    /// Details in plain words; may be empty.
    pub about: String,
}

impl Source {
    /// Converts the node's view of a source.
    pub fn new(s: &SourceStatus, now: Instant) -> Self {
        let (source, url) = match &s.kind {
            SourceKind::Cache => ("cache", None),
            SourceKind::Tracker(url) => ("tracker", Some(url.clone())),
            SourceKind::DhtV4 => ("dht_ipv4", None),
            SourceKind::DhtV6 => ("dht_ipv6", None),
            SourceKind::Lan => ("lan", None),
            SourceKind::Relay => ("relay", None),
            SourceKind::Hand => ("hand", None),
            SourceKind::Pex => ("pex", None),
            _ => ("unknown", None),
        };
        Self {
            source: source.to_owned(),
            url,
            state: match s.state {
                SourceState::Off => "off",
                SourceState::Waiting => "waiting",
                SourceState::Working => "working",
                SourceState::Failing => "failing",
                SourceState::Blocked => "blocked",
                _ => "unknown",
            }
            .to_owned(),
            linked: s.linked,
            last_success_s: s.last_success.map(|at| seconds_since(at, now)),
            next_try_s: s.next_try.map(|at| seconds_until(at, now)),
            about: s.about.clone(),
        }
    }
}

/// The name of the source that found an address; for a tracker, its URL.
pub(super) fn name_of(source: &discovery::Provenance) -> String {
    match source {
        discovery::Provenance::Cache => "cache",
        discovery::Provenance::Tracker(url) => url,
        discovery::Provenance::Dht => "dht",
        discovery::Provenance::Lan => "lan",
        discovery::Provenance::Relay => "relay",
        discovery::Provenance::Pex => "pex",
        discovery::Provenance::Hand => "hand",
        discovery::Provenance::Incoming => "incoming",
        _ => "unknown",
    }
    .to_owned()
}
