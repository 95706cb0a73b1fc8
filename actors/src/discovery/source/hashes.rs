//! The infohashes under which the DHT looks for channels: their rendezvous hashes, which change daily.

use std::{collections::HashMap, time::Duration};

use bitchat_wire::channel::{ChannelId, EpochKeys, PERIOD};

use tokio::sync::mpsc;

use crate::dht::{Dht, DhtPeers, Id, Watch};

/// What the DHT watches for discovery.
pub(super) struct Hashes {
    /// The DHT, and the sender for its results; `None` if it is off.
    dht: Option<(Dht, mpsc::Sender<DhtPeers>)>,
    port: u16,
    pub(super) channels: HashMap<ChannelId, Watched>,
}

/// What the DHT watches for one channel.
pub(super) struct Watched {
    keys: EpochKeys,
    /// The hash of the present period comes first.
    pub(super) hashes: Vec<Id>,
}

impl Hashes {
    pub(super) fn new(dht: Option<(Dht, mpsc::Sender<DhtPeers>)>, port: u16) -> Self {
        Self {
            dht,
            port,
            channels: HashMap::new(),
        }
    }

    pub(super) fn dht(&self) -> Option<&Dht> {
        self.dht.as_ref().map(|(dht, _)| dht)
    }

    /// Starts to look for a channel's members. `nodes`: DHT nodes that its file names.
    pub(super) async fn want(
        &mut self,
        cid: ChannelId,
        keys: EpochKeys,
        nodes: &[(String, u16)],
        unix: u64,
    ) {
        let Some((dht, _)) = &self.dht else { return };
        if !nodes.is_empty() {
            dht.add_nodes(nodes.iter().map(host_port).collect()).await;
        }
        let hashes = self.channels.remove(&cid).map(|known| known.hashes);
        let hashes = hashes.unwrap_or_default();
        self.channels.insert(cid, Watched { keys, hashes });
        self.rotate_channel(cid, unix).await;
    }

    pub(super) async fn forget(&mut self, cid: ChannelId) {
        if let (Some((dht, _)), Some(known)) = (&self.dht, self.channels.remove(&cid)) {
            for hash in known.hashes {
                dht.unwatch(hash).await;
            }
        }
    }

    /// Watches hashes whose period has begun, and stops watching those whose period is over.
    pub(super) async fn rotate(&mut self, unix: u64) {
        let all: Vec<ChannelId> = self.channels.keys().copied().collect();
        for cid in all {
            self.rotate_channel(cid, unix).await;
        }
    }

    /// The time from `unix` to the next change of a hash, at most a day.
    pub(super) fn next_change(&self, unix: u64) -> Duration {
        let changes = self
            .channels
            .values()
            .map(|known| known.keys.next_change(unix));
        let next = changes
            .min()
            .map_or(PERIOD, |next| next.saturating_sub(unix));
        Duration::from_secs(next)
    }

    async fn rotate_channel(&mut self, cid: ChannelId, unix: u64) {
        let (Some((dht, found)), Some(watched)) = (&self.dht, self.channels.get_mut(&cid)) else {
            return;
        };
        let announced = watched.keys.announced(unix);
        let due: Vec<Id> = announced.into_iter().map(|hash| Id(hash.0)).collect();
        for hash in due.iter().filter(|hash| !watched.hashes.contains(hash)) {
            let watch = Watch {
                hash: *hash,
                port: self.port,
                found: found.clone(),
            };
            dht.watch(watch).await;
        }
        for hash in watched.hashes.iter().filter(|hash| !due.contains(hash)) {
            dht.unwatch(*hash).await;
        }
        watched.hashes = due;
    }

    /// Looks a channel's hashes up again, since members are missing.
    pub(super) fn find(&self, cid: ChannelId) -> impl Future<Output = ()> + Send + use<> {
        let watched = self.channels.get(&cid);
        let hashes = watched.map_or_else(Vec::new, |watched| watched.hashes.clone());
        let dht = self.dht().cloned();
        async move {
            for hash in hashes {
                if let Some(dht) = &dht {
                    dht.find(hash).await;
                }
            }
        }
    }

    /// The channel that has this hash.
    pub(super) fn channel_of(&self, hash: &Id) -> Option<ChannelId> {
        let of = |(_, watched): &(&ChannelId, &Watched)| watched.hashes.contains(hash);
        self.channels.iter().find(of).map(|(cid, _)| *cid)
    }

    /// The hash of the present period.
    pub(super) fn present(&self, cid: ChannelId) -> Option<Id> {
        self.channels.get(&cid)?.hashes.first().copied()
    }
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn host_port((host, port): &(String, u16)) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
