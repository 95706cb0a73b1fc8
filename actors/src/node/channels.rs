//! The node's channels: making, joining, leaving, talking.

use std::{
    net::SocketAddr,
    time::{SystemTime, UNIX_EPOCH},
};

use bitchat_wire::{
    channel::{ChannelFile, ChannelId, NewChannel, Policy},
    event::EventId,
};
use zeroize::Zeroizing;

use super::{ChannelDetails, ChannelRequest, ChannelSummary, Node, NodeError, NodeEvent};
use crate::{
    channel::{Channel, EventView, MemberView},
    discovery::DiscoveryStatus,
    link::LinkHandle,
    store::{ChannelRecord, LogEntry, PageQuery, StoreError},
};

impl Node {
    pub(super) async fn open_channels(&self) -> Result<(), StoreError> {
        for record in self.inner.store.channels().await? {
            match ChannelFile::parse(&record.file) {
                Ok(file) => {
                    let channel = self.start_channel(file, false);
                    self.channel_map().insert(record.cid, channel);
                }
                Err(error) => {
                    tracing::error!(cid = ?record.cid, %error, "a kept channel file cannot be read; the channel stays closed")
                }
            }
        }
        Ok(())
    }

    pub(super) fn get(&self, cid: ChannelId) -> Result<Channel, NodeError> {
        self.channel_map()
            .get(&cid)
            .cloned()
            .ok_or_else(|| NodeError::NoChannel(cid.to_string()))
    }

    /// Finds a channel by its name or a prefix of its id.
    pub async fn find(&self, name_or_prefix: &str) -> Result<ChannelId, NodeError> {
        let channels = self.channel_map();
        let matching = |fits: &dyn Fn(&ChannelId, &Channel) -> bool| -> Vec<ChannelId> {
            channels
                .iter()
                .filter(|(cid, channel)| fits(cid, channel))
                .map(|(cid, _)| *cid)
                .collect()
        };
        let mut found = matching(&|_, channel| channel.file().info().name == name_or_prefix);
        if found.is_empty() && !name_or_prefix.is_empty() {
            let prefix = name_or_prefix.to_ascii_lowercase();
            found = matching(&|cid, _| cid.to_string().starts_with(&prefix));
        }
        match found[..] {
            [] => Err(NodeError::NoChannel(name_or_prefix.to_owned())),
            [cid] => Ok(cid),
            _ => Err(NodeError::Ambiguous(name_or_prefix.to_owned())),
        }
    }

    /// Makes a channel and joins it.
    pub async fn create_channel(&self, request: ChannelRequest) -> Result<ChannelFile, NodeError> {
        let mut secret = Zeroizing::new([0; 32]);
        rand::Rng::fill_bytes(&mut rand::rng(), secret.as_mut_slice());
        let new = NewChannel {
            name: &request.name,
            policy: request.policy,
            rotation: request.rotation,
            trackers: request.trackers.into_iter().map(|url| vec![url]).collect(),
            nodes: request.nodes,
            relays: request.relays.iter().map(ToString::to_string).collect(),
            created: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
            secret,
        };
        let file = ChannelFile::create(new, &self.inner.identity)?;
        self.enter(file.clone(), true).await?;
        Ok(file)
    }

    /// Joins a channel; joining again changes nothing but takes over the file's hints.
    pub async fn join(&self, file: ChannelFile) -> Result<ChannelId, NodeError> {
        self.enter(file, false).await
    }

    async fn enter(&self, file: ChannelFile, made: bool) -> Result<ChannelId, NodeError> {
        let cid = file.id();
        if file.info().policy != Policy::Open && file.info().owner != self.id() {
            return Err(NodeError::InviteOnly(file.info().name.clone()));
        }
        let joined_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_millis();
        let record = ChannelRecord {
            cid,
            file: file.to_bytes(),
            joined_ms: u64::try_from(joined_ms).unwrap_or(u64::MAX),
        };
        let _alone = self.inner.editing.lock().await;
        self.inner.store.put_channel(record).await?;
        let earlier = self.channel_map().remove(&cid);
        if let Some(earlier) = earlier {
            earlier.stop().await;
        }
        let channel = self.start_channel(file, made);
        self.channel_map().insert(cid, channel.clone());
        // It answers once members may link; one that cannot start says so by its trouble.
        let _ = channel.snapshot().await;
        let _ = self.inner.events.send(NodeEvent::Channels);
        Ok(cid)
    }

    /// Tells the members, forgets the channel and all that was said in it.
    pub async fn leave(&self, cid: ChannelId) -> Result<(), NodeError> {
        let _alone = self.inner.editing.lock().await;
        let channel = self
            .channel_map()
            .remove(&cid)
            .ok_or_else(|| NodeError::NoChannel(cid.to_string()))?;
        // Leaving must work when the channel is in trouble, too: members then see us just go.
        if let Err(error) = channel.leave().await {
            tracing::warn!(%error, "the members could not be told");
        }
        channel.stop().await;
        self.inner.links.unregister(cid);
        self.inner.discovery.forget(cid).await;
        self.inner.store.remove_channel(cid).await?;
        let _ = self.inner.events.send(NodeEvent::Channels);
        Ok(())
    }

    /// The channels, by name.
    pub async fn channels(&self) -> Result<Vec<ChannelSummary>, NodeError> {
        let channels: Vec<Channel> = self.channel_map().values().cloned().collect();
        let mut list = Vec::with_capacity(channels.len());
        for channel in &channels {
            list.push(self.summary(channel).await?.0);
        }
        list.sort_by(|a, b| a.name.cmp(&b.name).then(a.cid.cmp(&b.cid)));
        Ok(list)
    }

    async fn summary(
        &self,
        channel: &Channel,
    ) -> Result<(ChannelSummary, Option<String>), NodeError> {
        let snapshot = channel.snapshot().await?;
        let info = channel.file().info();
        let summary = ChannelSummary {
            cid: channel.file().id(),
            name: info.name.clone(),
            policy: info.policy,
            owned: info.owner == self.id(),
            mesh: snapshot.mesh,
            members: snapshot.members.len(),
            online: snapshot
                .members
                .iter()
                .filter(|member| member.online)
                .count(),
        };
        Ok((summary, snapshot.trouble))
    }

    /// All about one.
    pub async fn channel(&self, cid: ChannelId) -> Result<ChannelDetails, NodeError> {
        let channel = self.get(cid)?;
        let (summary, trouble) = self.summary(&channel).await?;
        let (file, keys) = (channel.file(), channel.keys());
        let period = keys.period(
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs(),
        );
        let discovery = self.inner.discovery.status(cid).await;
        Ok(ChannelDetails {
            summary,
            infohash: file.infohash(),
            rendezvous: [
                keys.rendezvous_hash(period),
                keys.rendezvous_hash(period + 1),
            ],
            rotation: file.info().rotation,
            owner: file.info().owner,
            created: file.info().created,
            discovery: discovery.unwrap_or(DiscoveryStatus {
                trackers: Vec::new(),
                dht: None,
                sources: Vec::new(),
                candidates: 0,
                dialling: 0,
            }),
            trouble,
        })
    }

    /// Its file, to be given to others.
    pub async fn file(&self, cid: ChannelId) -> Result<ChannelFile, NodeError> {
        let channel = self.get(cid)?;
        let (file, trackers) = (channel.file(), channel.trackers());
        // Byte for byte as it came, unless it was changed here.
        if file.trackers() == trackers {
            return Ok(file.clone());
        }
        Ok(file.with_trackers(trackers)?)
    }

    /// Tries an address told by hand, and keeps trying it as discovery does.
    pub async fn connect(&self, cid: ChannelId, address: SocketAddr) -> Result<(), NodeError> {
        Ok(self.get(cid)?.connect(address).await?)
    }

    /// Says a line. Returns once it is on our disk. With a `key`, saying it again returns the first one's id.
    pub async fn send(
        &self,
        cid: ChannelId,
        text: String,
        key: Option<String>,
    ) -> Result<EventId, NodeError> {
        Ok(self.get(cid)?.send(&text, key).await?)
    }

    /// A page of the log, oldest first.
    pub async fn log(&self, cid: ChannelId, query: PageQuery) -> Result<Vec<EventView>, NodeError> {
        let channel = self.get(cid)?;
        Ok(channel
            .views(self.inner.store.page(cid, query).await?)
            .await?)
    }

    /// What arrived after `position`, in the order of arrival, at most `limit`; of one channel or of all.
    pub async fn since(
        &self,
        cid: Option<ChannelId>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EventView>, NodeError> {
        self.views_of(self.inner.store.since(cid, position, limit).await?)
            .await
    }

    /// Entries of any channels, in their order.
    pub(super) async fn views_of(
        &self,
        entries: Vec<LogEntry>,
    ) -> Result<Vec<EventView>, NodeError> {
        let mut views = Vec::with_capacity(entries.len());
        for group in entries.chunk_by(|a, b| a.cid == b.cid) {
            let Some(first) = group.first() else { continue };
            // A channel that was left a moment ago has no views any more.
            if let Ok(channel) = self.get(first.cid) {
                let group: Vec<LogEntry> = group.to_vec();
                views.extend(channel.views(group).await?);
            }
        }
        Ok(views)
    }

    /// The newest position.
    pub async fn last_position(&self) -> Result<u64, NodeError> {
        Ok(self.inner.store.last_position().await?)
    }

    /// The links of this moment, for measuring.
    pub async fn links(&self, cid: ChannelId) -> Result<Vec<LinkHandle>, NodeError> {
        Ok(self.get(cid)?.links().await?)
    }

    /// The members, oneself first.
    pub async fn members(&self, cid: ChannelId) -> Result<Vec<MemberView>, NodeError> {
        Ok(self.get(cid)?.members().await?)
    }
}
