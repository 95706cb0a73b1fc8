//! The node's channels: creating, joining, leaving.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_wire::channel::{ChannelFile, ChannelId, MAX_TRACKERS, NewChannel, Policy};
use zeroize::Zeroizing;

use super::{ChannelDetails, ChannelRequest, ChannelSummary, Node, NodeError, NodeEvent, identity};
use crate::{
    channel::ChannelConfig,
    chat::{Chat, Chats},
    discovery::DiscoveryStatus,
    link::LinkHandle,
    store::{ChannelRecord, StoreError},
};

/// A channel made a moment ago has no members to be found: its maker is still handing the file on (and registering it
/// with trackers that serve only what they know). Asking too early would be refused, with a long wait after it.
const MAKERS_PAUSE: Duration = Duration::from_secs(2);

impl Node {
    /// Starts a channel's actor; `made`: the channel was created just now, not joined or opened.
    async fn start_channel(&self, file: ChannelFile, made: bool) -> Result<Chat, StoreError> {
        let inner = &self.inner;
        let (local, clock) = match inner.store.channel_device(file.id()).await? {
            Some(device) => {
                let local = identity::certified(&inner.identity, &device);
                (Arc::new(local), device.lamport)
            }
            None => (Arc::clone(&inner.local), 0),
        };
        let config = ChannelConfig {
            current: Arc::new(Mutex::new(file.clone())),
            file,
            local,
            clock,
            agent: inner.agent.clone(),
            store: inner.store.clone(),
            links: inner.links.clone(),
            discovery: inner.discovery.clone(),
            transport: inner.transport.clone(),
            relays: inner.relays.clone(),
            events: inner.events.clone(),
            readers: Vec::new(),
            announce_from: Instant::now() + if made { MAKERS_PAUSE } else { Duration::ZERO },
        };
        Ok(inner.chats.start(config))
    }

    pub(super) async fn open_channels(&self) -> Result<(), StoreError> {
        for record in self.inner.store.channels().await? {
            match ChannelFile::parse(&record.file) {
                Ok(file) => drop(self.start_channel(file, false).await?),
                Err(error) => {
                    tracing::error!(cid = ?record.cid, %error, "a stored channel file cannot be read; the channel stays closed")
                }
            }
        }
        Ok(())
    }

    /// The chat of a channel that this node has joined.
    pub fn chat(&self, cid: ChannelId) -> Result<Chat, NodeError> {
        self.chats()
            .get(cid)
            .ok_or_else(|| NodeError::NoChannel(cid.to_string()))
    }

    /// All chats, and what concerns them all.
    pub fn chats(&self) -> &Chats {
        &self.inner.chats
    }

    /// Finds a channel by its name or a prefix of its id.
    pub async fn find(&self, name_or_prefix: &str) -> Result<ChannelId, NodeError> {
        let chats = self.chats().list();
        let matching = |fits: &dyn Fn(&Chat) -> bool| -> Vec<ChannelId> {
            let fitting = chats.iter().filter(|chat| fits(chat));
            fitting.map(Chat::id).collect()
        };
        let mut found = matching(&|chat| chat.channel().file().info().name == name_or_prefix);
        if found.is_empty() && !name_or_prefix.is_empty() {
            let prefix = name_or_prefix.to_ascii_lowercase();
            found = matching(&|chat| chat.id().to_string().starts_with(&prefix));
        }
        match found[..] {
            [] => Err(NodeError::NoChannel(name_or_prefix.to_owned())),
            [cid] => Ok(cid),
            _ => Err(NodeError::Ambiguous(name_or_prefix.to_owned())),
        }
    }

    /// Creates a channel and joins it.
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

    /// Joins a channel. Joining one again changes nothing but its hints: trackers that the file adds, and its DHT nodes
    /// and relays, if it has any.
    pub async fn join(&self, file: ChannelFile) -> Result<Chat, NodeError> {
        self.enter(file, false).await
    }

    async fn enter(&self, file: ChannelFile, made: bool) -> Result<Chat, NodeError> {
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
        if let Some(chat) = self.chats().get(cid) {
            return self.adopt_hints(chat, &file).await;
        }
        let tag = identity::left_tag(&self.inner.local, cid);
        self.inner
            .store
            .join_channel(record, tag, identity::new_device())
            .await?;
        let chat = self.start_channel(file, made).await?;
        // It answers once members can link; one that cannot start reports it as its trouble.
        let _ = chat.snapshot().await;
        let _ = self.inner.events.send(NodeEvent::Channels);
        Ok(chat)
    }

    /// Adopts what another file of a joined channel adds.
    async fn adopt_hints(&self, chat: Chat, file: &ChannelFile) -> Result<Chat, NodeError> {
        let current = chat.channel().current_file();
        let mut tiers = current.trackers().to_vec();
        for tier in file.trackers() {
            let room = MAX_TRACKERS.saturating_sub(tiers.iter().map(Vec::len).sum());
            let known = |url: &String| tiers.iter().flatten().any(|known| known == url);
            let added: Vec<String> = tier
                .iter()
                .filter(|url| !known(url))
                .take(room)
                .cloned()
                .collect();
            if !added.is_empty() {
                tiers.push(added);
            }
        }
        // No list is replaced by an empty one.
        let complete = (!file.nodes().is_empty() || current.nodes().is_empty())
            && (!file.relays().is_empty() || current.relays().is_empty());
        let base = if complete { file } else { &current };
        let merged = match base.trackers() == tiers {
            true => base.clone(),
            false => base.with_trackers(tiers)?,
        };
        if merged.to_bytes() != current.to_bytes() {
            self.keep_hints(&chat, merged).await?;
        }
        Ok(chat)
    }

    /// Keeps a file of a joined channel and announces by its hints from now on.
    pub(super) async fn keep_hints(&self, chat: &Chat, file: ChannelFile) -> Result<(), NodeError> {
        let record = ChannelRecord {
            cid: chat.id(),
            file: file.to_bytes(),
            // The store keeps the time of the first join.
            joined_ms: 0,
        };
        self.inner.store.put_channel(record).await?;
        Ok(chat.channel().set_hints(file).await?)
    }

    /// Leaves a channel: notifies the members, and deletes the channel with all its events.
    pub async fn leave(&self, cid: ChannelId) -> Result<(), NodeError> {
        let _alone = self.inner.editing.lock().await;
        let chat = self.chat(cid)?;
        // Leaving must work even if the channel is in trouble: to the members the node then just disappears.
        if let Err(error) = chat.channel().leave().await {
            tracing::warn!(%error, "the members could not be notified");
        }
        chat.stop().await;
        self.inner.links.unregister(cid);
        self.inner.discovery.forget(cid).await;
        let tag = identity::left_tag(&self.inner.local, cid);
        let left = self.inner.store.leave_channel(cid, tag).await;
        self.chats().remove(cid);
        if let Err(error) = left {
            // It is still here, and can be left again.
            self.start_channel(chat.channel().current_file(), false)
                .await?;
            return Err(error.into());
        }
        self.erase_left().await;
        let _ = self.inner.events.send(NodeEvent::Channels);
        Ok(())
    }

    /// Erases what was written in channels that were left. A failure (a full disk) is made up for at the next start.
    pub(super) async fn erase_left(&self) {
        if let Err(error) = self.inner.store.erase_left().await {
            tracing::warn!(%error, "what was written in a channel that was left is still in some file");
        }
    }

    /// The channels, sorted by name.
    pub async fn channels(&self) -> Result<Vec<ChannelSummary>, NodeError> {
        let chats = self.chats().list();
        let mut list = Vec::with_capacity(chats.len());
        for chat in &chats {
            list.push(self.summary(chat).await?.0);
        }
        list.sort_by(|a, b| a.name.cmp(&b.name).then(a.cid.cmp(&b.cid)));
        Ok(list)
    }

    async fn summary(&self, chat: &Chat) -> Result<(ChannelSummary, Option<String>), NodeError> {
        let snapshot = chat.snapshot().await?;
        let info = chat.channel().file().info();
        let summary = ChannelSummary {
            cid: chat.id(),
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

    /// The details of a channel.
    pub async fn channel(&self, cid: ChannelId) -> Result<ChannelDetails, NodeError> {
        let chat = self.chat(cid)?;
        let (summary, trouble) = self.summary(&chat).await?;
        let channel = chat.channel();
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

    /// A channel's file, to be given to others.
    pub async fn file(&self, cid: ChannelId) -> Result<ChannelFile, NodeError> {
        Ok(self.chat(cid)?.channel().current_file())
    }

    /// Adds an address of a member by hand; discovery dials it like any other.
    pub async fn connect(&self, cid: ChannelId, address: SocketAddr) -> Result<(), NodeError> {
        Ok(self.chat(cid)?.channel().connect(address).await?)
    }

    /// The current links, for measurements.
    pub async fn links(&self, cid: ChannelId) -> Result<Vec<LinkHandle>, NodeError> {
        Ok(self.chat(cid)?.channel().links().await?)
    }
}
