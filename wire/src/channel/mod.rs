//! Channels: their file, ids, secrets, keys and rendezvous hashes.

mod error;
mod file;
mod hints;
mod keys;
mod limits;

pub use error::ChannelFileError;
pub use file::{ChannelFile, ChannelInfo, LINK_SCHEME, NewChannel, Policy, Rotation};
pub use keys::{ChannelId, EpochKeys, LOBBY_EPOCH, PERIOD, PERIOD_OVERLAP, RendezvousHash};
pub use limits::{
    MAX_CHANNEL_NAME, MAX_FILE, MAX_NODES, MAX_RELAY, MAX_RELAYS, MAX_TRACKERS, MAX_URL,
};
