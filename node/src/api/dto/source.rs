//! How each source of a channel's addresses does.

use std::time::Instant;

use bitchat_actors::discovery::{self, SourceKind, SourceState, SourceStatus};
use serde::Serialize;
use utoipa::ToSchema;

/// A source of addresses.
#[derive(Serialize, ToSchema)]
pub struct Source {
    /// `cache` (members of earlier runs), `tracker`, `dht_ipv4`, `dht_ipv6`, `lan`, `relay` (relays
    /// that the channel's file names), `hand` (addresses that were given) or `pex` (members that are linked).
    pub source: &'static str,
    /// The tracker's; null for the others.
    pub url: Option<String>,
    /// `off`, `waiting` (nothing is known yet), `working`, `failing` or `blocked` (nobody ever answers there, while
    /// other ways lead out).
    pub state: &'static str,
    /// Links that it led to in this run.
    pub linked: usize,
    /// Seconds since it last answered, named somebody or led to a member.
    pub last_success_s: Option<u64>,
    /// Seconds until it is tried next; null while it is, and where nobody asks.
    pub next_try_s: Option<u64>,
    /// More, in plain words; may be empty.
    pub about: String,
}

impl Source {
    /// From the node's own words.
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
            source,
            url,
            state: match s.state {
                SourceState::Off => "off",
                SourceState::Waiting => "waiting",
                SourceState::Working => "working",
                SourceState::Failing => "failing",
                SourceState::Blocked => "blocked",
                _ => "unknown",
            },
            linked: s.linked,
            last_success_s: s
                .last_success
                .map(|at| now.saturating_duration_since(at).as_secs()),
            next_try_s: s
                .next_try
                .map(|at| at.saturating_duration_since(now).as_secs()),
            about: s.about.clone(),
        }
    }
}

/// Who found an address, in a word; a tracker's URL.
pub(super) fn name_of(source: &discovery::Source) -> String {
    match source {
        discovery::Source::Cache => "cache",
        discovery::Source::Tracker(url) => url,
        discovery::Source::Dht => "dht",
        discovery::Source::Lan => "lan",
        discovery::Source::Relay => "relay",
        discovery::Source::Pex => "pex",
        discovery::Source::Hand => "hand",
        discovery::Source::Incoming => "incoming",
        _ => "unknown",
    }
    .to_owned()
}
