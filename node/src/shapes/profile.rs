//! The user's own profile.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The user's profile, the same in all channels.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// Bit Chat ID.
    pub id: String,
    /// The name, which is a setting (`bitchat config set name`).
    pub name: String,
    /// The status line; empty when there is none.
    pub status: String,
    /// The media type of the picture at `/v1/profile/picture`; null when there is none.
    pub picture: Option<String>,
}

/// A change of the profile.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProfile {
    /// The status line, at most 256 bytes; empty to remove it.
    pub status: String,
}
