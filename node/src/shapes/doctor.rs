//! The findings of `bitchat doctor`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The state of what was examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// It works.
    Works,
    /// It works, but could work better.
    Limited,
    /// It does not work.
    Fails,
    /// Not known yet.
    Unknown,
    /// It is switched off.
    Off,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// The subject: `proxy`, `hidden`, `ipv4`, `ipv6`, `tcp`, `router`, `dht`, `members` or `node`.
    pub about: String,
    /// Its state.
    pub health: Health,
    /// What was found, in plain words.
    pub what: String,
    /// What to do about it; empty if nothing.
    pub advice: String,
}

/// The result of an examination.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// One finding per subject.
    pub findings: Vec<Finding>,
}
