//! The trackers and hashes where public relays are announced and looked for.

use std::{collections::BTreeSet, sync::Arc};

use bitchat_wire::channel::EpochKeys;
use tokio::sync::mpsc;

use crate::{
    dht::Id,
    kit::clock::{now, unix},
    tracker::{TrackerPeers, Watch},
};

/// Trackers that are asked.
pub(super) const MAX_TRACKERS: usize = 16;

/// The channels whose members are to be met, and the trackers that they name.
pub(crate) type Channels = Arc<dyn Fn() -> Vec<(EpochKeys, Vec<Vec<String>>)> + Send + Sync>;

/// The keys that everybody knows, from which the hashes are derived.
pub(super) fn keys() -> EpochKeys {
    bitchat_wire::relay::public_keys()
}

/// The hashes under which public relays are announced in the DHT now.
pub(super) fn hashes() -> Vec<Id> {
    let announced = keys().announced(unix());
    announced.into_iter().map(|hash| Id(hash.0)).collect()
}

/// Where to ask and to announce.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) channels: Channels,
    /// Trackers besides those of the channels.
    pub(super) trackers: Vec<String>,
}

impl Places {
    /// The keys of the channels at this moment.
    pub(super) fn met(&self) -> Vec<EpochKeys> {
        (self.channels)()
            .into_iter()
            .map(|(keys, _)| keys)
            .collect()
    }

    /// Each tracker in a tier of its own, so that all are asked.
    pub(super) fn tiers(&self) -> Vec<Vec<String>> {
        let mut urls = self.trackers.clone();
        for (_, tiers) in (self.channels)() {
            urls.extend(tiers.into_iter().flatten());
        }
        let mut seen = BTreeSet::new();
        urls.retain(|url| seen.insert(url.clone()));
        urls.truncate(MAX_TRACKERS);
        urls.into_iter().map(|url| vec![url]).collect()
    }
}

/// What to watch at trackers; `found` receives their responses.
pub(super) fn watch(tiers: Vec<Vec<String>>, found: mpsc::Sender<TrackerPeers>) -> Watch {
    let keys = keys();
    Watch {
        cid: keys.cid,
        tiers,
        keys,
        not_before: now(),
        found,
    }
}
