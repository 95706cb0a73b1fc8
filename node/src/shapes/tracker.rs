//! Requests that change a channel's trackers or announce to them.

use std::time::Instant;

use bitchat_actors::status::{TrackerState, TrackerStatus};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::seconds_until;

/// The state of one tracker.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tracker {
    /// Its URL.
    pub url: String,
    /// Its tier.
    pub tier: usize,
    /// `waiting`, `working`, `failing` or `unsupported`.
    pub state: String,
    /// Number of peers in its last answer.
    pub peers: usize,
    /// Seconds until the next announce.
    pub next_announce_s: Option<u64>,
    /// The last failure or warning.
    pub error: Option<String>,
}

impl Tracker {
    pub(super) fn new(t: &TrackerStatus, now: Instant) -> Self {
        Self {
            url: t.url.clone(),
            tier: t.tier,
            state: match t.state {
                TrackerState::Waiting => "waiting",
                TrackerState::Working => "working",
                TrackerState::Failing => "failing",
                TrackerState::Unsupported => "unsupported",
                _ => "unknown",
            }
            .to_owned(),
            peers: t.peers,
            next_announce_s: t.next_announce.map(|at| seconds_until(at, now)),
            error: t.error.clone(),
        }
    }
}

/// A tracker to add.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTracker {
    /// `http://`, `https://` or `udp://`, at most 512 bytes.
    pub url: String,
}

/// A request to announce now instead of at the next scheduled time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnounceNow {
    /// One of the channel's trackers; when left out, all of them and the DHT.
    #[serde(default)]
    pub url: Option<String>,
}

/// An announce that has begun.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Announcing {
    /// The channel's id.
    pub id: String,
    /// How many trackers are asked; those asked within the last minute, or too recently for their own minimum
    /// interval, are left out.
    pub trackers: usize,
}
