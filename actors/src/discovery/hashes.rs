//! Under which infohashes channels are looked for in the DHT: their rendezvous hashes, which change daily.

use std::collections::HashMap;

use bitchat_wire::channel::{ChannelId, EpochKeys};

use crate::dht::{Dht, Id};

/// What the DHT watches for us.
pub(super) struct Hashes {
    /// `None`: the DHT is off.
    dht: Option<Dht>,
    port: u16,
    channels: HashMap<ChannelId, Watched>,
}

struct Watched {
    keys: EpochKeys,
    /// The present period's first.
    hashes: Vec<Id>,
}

impl Hashes {
    pub(super) fn new(dht: Option<Dht>, port: u16) -> Self {
        Self {
            dht,
            port,
            channels: HashMap::new(),
        }
    }

    pub(super) fn dht(&self) -> Option<&Dht> {
        self.dht.as_ref()
    }

    /// Looks for a channel's members from now on; `nodes` is what its file names.
    pub(super) async fn want(
        &mut self,
        cid: ChannelId,
        keys: EpochKeys,
        nodes: &[(String, u16)],
        unix: u64,
    ) {
        let Some(dht) = &self.dht else { return };
        if !nodes.is_empty() {
            dht.add_nodes(nodes.iter().map(host_port).collect()).await;
        }
        let hashes = self.channels.remove(&cid).map(|known| known.hashes);
        let hashes = hashes.unwrap_or_default();
        self.channels.insert(cid, Watched { keys, hashes });
        self.rotate_channel(cid, unix).await;
    }

    pub(super) async fn forget(&mut self, cid: ChannelId) {
        if let (Some(dht), Some(known)) = (&self.dht, self.channels.remove(&cid)) {
            for hash in known.hashes {
                dht.unwatch(hash).await;
            }
        }
    }

    /// Takes up hashes whose time has come, and leaves those whose time is over.
    pub(super) async fn rotate(&mut self, unix: u64) {
        let all: Vec<ChannelId> = self.channels.keys().copied().collect();
        for cid in all {
            self.rotate_channel(cid, unix).await;
        }
    }

    async fn rotate_channel(&mut self, cid: ChannelId, unix: u64) {
        let (Some(dht), Some(watched)) = (&self.dht, self.channels.get_mut(&cid)) else {
            return;
        };
        let announced = watched.keys.announced(unix);
        let due: Vec<Id> = announced.into_iter().map(|hash| Id(hash.0)).collect();
        for hash in due.iter().filter(|hash| !watched.hashes.contains(hash)) {
            dht.watch(*hash, self.port).await;
        }
        for hash in watched.hashes.iter().filter(|hash| !due.contains(hash)) {
            dht.unwatch(*hash).await;
        }
        watched.hashes = due;
    }

    /// Members are missing: looks again.
    pub(super) async fn find(&self, cid: ChannelId) {
        if let (Some(dht), Some(watched)) = (&self.dht, self.channels.get(&cid)) {
            for hash in &watched.hashes {
                dht.find(*hash).await;
            }
        }
    }

    /// Whose hash that is.
    pub(super) fn channel_of(&self, hash: &Id) -> Option<ChannelId> {
        let of = |(_, watched): &(&ChannelId, &Watched)| watched.hashes.contains(hash);
        self.channels.iter().find(of).map(|(cid, _)| *cid)
    }

    /// The hash of the present period.
    pub(super) fn present(&self, cid: ChannelId) -> Option<Id> {
        self.channels.get(&cid)?.hashes.first().copied()
    }
}

fn host_port((host, port): &(String, u16)) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}
