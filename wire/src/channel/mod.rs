//! Channels: their file, ids, secrets, keys and rendezvous hashes.

mod file;
mod keys;

pub use file::{ChannelFile, ChannelFileError, ChannelInfo, NewChannel, Policy};
pub use keys::{ChannelId, EpochKeys, LOBBY_EPOCH, PERIOD, PERIOD_OVERLAP, RendezvousHash};
