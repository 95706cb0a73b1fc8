//! What is said to change a channel's trackers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A tracker to be added.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTracker {
    /// `http://`, `https://` or `udp://`, at most 512 bytes.
    pub url: String,
}

/// An announce before its time.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AnnounceNow {
    /// One of the channel's trackers; left out: all of them, and the DHT.
    #[serde(default)]
    pub url: Option<String>,
}

/// What is announced now.
#[derive(Serialize, ToSchema)]
pub struct Announcing {
    /// The channel's id.
    pub id: String,
    /// How many trackers are asked: not those that were within the last minute, or than they allow.
    pub trackers: usize,
}
