//! All conversations of a node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bitchat_wire::{channel::ChannelId, event::EventId};
use tokio::sync::broadcast;

use super::{Chat, ChatError, EventView, Follow, Position};
use crate::{
    channel::{ChannelConfig, ChannelEvent},
    kit::{Scope, Stop},
    store::{LogEntry, Store},
};

/// The conversations of a node, by their channels. Cheap to clone.
#[derive(Clone)]
pub struct Chats {
    inner: Arc<Inner>,
}

struct Inner {
    chats: Mutex<HashMap<ChannelId, Chat>>,
    store: Store,
    events: broadcast::Sender<ChannelEvent>,
    /// The name that we sign in each channel.
    name: String,
    /// Whether members may know how far we have read.
    read_marks: bool,
    /// The layer of the channels.
    scope: Scope,
}

/// A chat's way back to all of them, which does not keep them alive.
#[derive(Clone)]
pub(super) struct Home(Weak<Inner>);

impl Home {
    /// `None` when the node is gone.
    pub(super) fn upgrade(&self) -> Option<Chats> {
        self.0.upgrade().map(|inner| Chats { inner })
    }
}

impl Chats {
    /// No conversation yet; those to come run in `scope`, and their channels send to `events`.
    pub fn new(
        store: Store,
        events: broadcast::Sender<ChannelEvent>,
        name: String,
        read_marks: bool,
        scope: &Scope,
    ) -> Self {
        let inner = Inner {
            chats: Mutex::default(),
            store,
            events,
            name,
            read_marks,
            scope: scope.clone(),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Starts a channel and its chat, in place of an earlier one of the same id, which must have been stopped.
    pub fn start(&self, config: ChannelConfig) -> Chat {
        let home = Home(Arc::downgrade(&self.inner));
        let inner = &self.inner;
        let chat = Chat::start(config, &inner.name, inner.read_marks, home, &inner.scope);
        self.lock().insert(chat.id(), chat.clone());
        chat
    }

    /// The chat of a channel; `None` if there is no such channel here.
    pub fn get(&self, cid: ChannelId) -> Option<Chat> {
        self.lock().get(&cid).cloned()
    }

    /// All chats, in no order.
    pub fn list(&self) -> Vec<Chat> {
        self.lock().values().cloned().collect()
    }

    /// Takes a chat out of the list, without stopping it; `None` if there is no such channel here.
    pub fn remove(&self, cid: ChannelId) -> Option<Chat> {
        self.lock().remove(&cid)
    }

    /// Takes all chats out of the list, without stopping them.
    pub fn drain(&self) -> Vec<Chat> {
        self.lock().drain().map(|(_, chat)| chat).collect()
    }

    /// Texts with these words, of one channel or of all (`None`), the last to arrive first; only those that arrived before the
    /// event `before`. See [`Store::search`].
    pub async fn search(
        &self,
        cid: Option<ChannelId>,
        query: &str,
        limit: usize,
        before: Option<EventId>,
    ) -> Result<Vec<EventView>, ChatError> {
        let found = self.inner.store.search(cid, query, limit, before).await?;
        self.views(found).await
    }

    /// The events that arrive from `position` on, of one channel or of all (`None`): each once, in the order of arrival.
    ///
    /// They are read from the store: a reader that is slow, or that comes back with the position of the last event that it
    /// took, misses nothing.
    pub async fn follow(
        &self,
        cid: Option<ChannelId>,
        position: Position,
    ) -> Result<Follow, ChatError> {
        // Subscribed before the position is read: what is committed between the two is read from the store.
        let news = self.inner.events.subscribe();
        let last = match position {
            Position::Start => 0,
            Position::Now => self.last_position().await?,
            Position::After(position) => position,
        };
        Ok(Follow::new(self.clone(), news, cid, last))
    }

    /// The newest position in the order of arrival; 0 before the first event.
    pub async fn last_position(&self) -> Result<u64, ChatError> {
        Ok(self.inner.store.last_position().await?)
    }

    /// Events of any channels as they are shown now, in their order. Those of channels that were left are omitted.
    pub(super) async fn views(&self, entries: Vec<LogEntry>) -> Result<Vec<EventView>, ChatError> {
        let mut views = Vec::with_capacity(entries.len());
        for group in entries.chunk_by(|a, b| a.cid == b.cid) {
            let Some(first) = group.first() else { continue };
            if let Some(chat) = self.get(first.cid) {
                views.extend(chat.views(group.to_vec()).await?);
            }
        }
        Ok(views)
    }

    pub(super) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Fires when the channels stop.
    pub(super) fn stop_signal(&self) -> &Stop {
        self.inner.scope.stop_signal()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Chat>> {
        self.inner
            .chats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
