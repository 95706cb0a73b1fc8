//! Limits of channel files.

/// Maximum size of a channel file, in bytes.
pub const MAX_FILE: usize = 256 * 1024;
/// Maximum length of a channel's name, in bytes.
pub const MAX_CHANNEL_NAME: usize = 128;
/// Maximum number of trackers in all tiers together.
pub const MAX_TRACKERS: usize = 64;
/// Maximum number of DHT bootstrap nodes.
pub const MAX_NODES: usize = 64;
/// Maximum number of relays.
pub const MAX_RELAYS: usize = 64;
/// Maximum length of a tracker's URL, in bytes.
pub const MAX_URL: usize = 512;
/// Maximum length of a relay's multiaddr as text, in bytes.
pub const MAX_RELAY: usize = 512;
