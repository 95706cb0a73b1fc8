//! The settings of a channel, and the services that it uses.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use bitchat_wire::channel::{ChannelFile, ChannelId, EpochKeys, Policy};
use tokio::sync::broadcast;

use super::api::{ChannelEvent, ReaderFactory};
use crate::{
    discovery::{Discovery, Wanted},
    link::{Accept, Links, LocalDevice},
    relay::Relays,
    store::Store,
    transport::Transport,
};

/// A channel's settings, and handles to the services that it uses.
#[derive(Clone)]
pub struct ChannelConfig {
    /// The channel file as it was at the start. Its terms never change.
    pub file: ChannelFile,
    /// The channel file with the current hints (trackers, DHT nodes, relays), which may change while the channel runs.
    pub current: Arc<Mutex<ChannelFile>>,
    /// Our device.
    pub local: Arc<LocalDevice>,
    /// The Lamport time that the channel had reached when we last left it; 0 if we never did.
    pub clock: u64,
    /// Our program's name and version, sent in `hello`.
    pub agent: String,
    /// Stores the logs.
    pub store: Store,
    /// Runs the links.
    pub links: Links,
    /// Finds members.
    pub discovery: Discovery,
    /// Knows our PeerId.
    pub transport: Transport,
    /// Knows the relays through which others reach us.
    pub relays: Relays,
    /// Receives the channel's events.
    pub events: broadcast::Sender<ChannelEvent>,
    /// The capabilities that read along, in the order in which they are called.
    pub readers: Vec<ReaderFactory>,
    /// The earliest time of the first announce to trackers.
    pub announce_from: Instant,
}

impl ChannelConfig {
    /// The channel's id.
    pub fn cid(&self) -> ChannelId {
        self.file.id()
    }

    /// The keys of epoch 0, under which members link.
    pub fn keys(&self) -> EpochKeys {
        self.file.keys()
    }

    pub(super) fn accept(&self) -> Accept {
        match self.file.info().policy {
            Policy::Open => Accept::Anyone,
            // For now the roster is the owner alone, with any number of devices.
            _ => Accept::Roster(Arc::new([self.file.info().owner].into())),
        }
    }

    pub(super) fn current(&self) -> MutexGuard<'_, ChannelFile> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wanted(&self) -> Wanted {
        let current = self.current();
        Wanted {
            cid: self.cid(),
            keys: self.keys(),
            tiers: current.trackers().to_vec(),
            nodes: current.nodes().to_vec(),
            // A relay that cannot be parsed is a hint of a later version.
            relays: current
                .relays()
                .iter()
                .filter_map(|text| text.parse().ok())
                .collect(),
            not_before: self.announce_from,
        }
    }
}
