//! All conversations of a node.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use bitchat_wire::{
    channel::ChannelId,
    event::{EventId, Picture},
};
use futures_util::future::BoxFuture;
use tokio::sync::broadcast;

use super::{
    api::{ChatError, EventView, Position},
    follow::{Feed, Follow},
    handle::Chat,
    own,
    tables::{LogEntry, Tables},
};
use crate::{
    channel::{ChannelConfig, ChannelError, ChannelEvent},
    kit::{Scope, Stop},
    store::{Store, StoreError},
};

/// The conversations of a node, by their channels. Cheap to clone.
#[derive(Clone)]
pub struct Chats {
    inner: Arc<Inner>,
}

struct Inner {
    chats: Mutex<HashMap<ChannelId, Chat>>,
    store: Store,
    feed: Feed,
    /// The name that we sign in each channel.
    name: String,
    /// Whether members may know how far we have read.
    read_marks: bool,
    /// The layer of the channels.
    scope: Scope,
}

impl Chats {
    /// Creates an empty list. Chats started later run in `scope`, and their channels send to `events`.
    pub fn new(
        store: Store,
        events: broadcast::Sender<ChannelEvent>,
        name: String,
        read_marks: bool,
        scope: &Scope,
    ) -> Self {
        let inner = Arc::new_cyclic(|inner| Inner {
            chats: Mutex::default(),
            feed: feed(
                store.clone(),
                events,
                scope.stop_signal().clone(),
                inner.clone(),
            ),
            store,
            name,
            read_marks,
            scope: scope.clone(),
        });
        Self { inner }
    }

    /// Starts a channel and its chat, in place of an earlier one of the same id, which must have been stopped.
    pub fn start(&self, config: ChannelConfig) -> Chat {
        let inner = &self.inner;
        let feed = inner.feed.clone();
        let chat = Chat::start(config, &inner.name, inner.read_marks, feed, &inner.scope);
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
    /// event `before`. See [`Tables::search`].
    pub async fn search(
        &self,
        cid: Option<ChannelId>,
        query: &str,
        limit: usize,
        before: Option<EventId>,
    ) -> Result<Vec<EventView>, ChatError> {
        let found = Tables(&self.inner.store)
            .search(cid, query, limit, before)
            .await?;
        self.views(found).await
    }

    /// The events that arrive from `position` on, of one channel or of all (`None`). See [`Chat::follow`].
    pub async fn follow(
        &self,
        cid: Option<ChannelId>,
        position: Position,
    ) -> Result<Follow, ChatError> {
        self.inner.feed.follow(cid, position).await
    }

    /// The newest position in the order of arrival; 0 before the first event.
    pub async fn last_position(&self) -> Result<u64, ChatError> {
        Ok(self.inner.store.last_position().await?)
    }

    /// Events of any channels as they are shown now, in their order. Those of channels that were left are omitted.
    async fn views(&self, entries: Vec<LogEntry>) -> Result<Vec<EventView>, ChatError> {
        let mut views = Vec::with_capacity(entries.len());
        for group in entries.chunk_by(|a, b| a.cid == b.cid) {
            let Some(first) = group.first() else { continue };
            if let Some(chat) = self.get(first.cid) {
                views.extend(chat.views(group.to_vec()).await?);
            }
        }
        Ok(views)
    }

    /// Our status line, empty if there is none, and our picture.
    pub async fn profile(&self) -> Result<(String, Option<Picture>), ChatError> {
        Ok(own::profile(&self.inner.store).await?)
    }

    /// Sets our status line in every channel, those joined later included. An empty one removes it.
    pub async fn set_status(&self, line: &str) -> Result<(), ChatError> {
        let body = own::set_status(&self.inner.store, line).await?;
        self.append_everywhere(&body).await
    }

    /// Sets our picture in every channel, those joined later included; `None` removes it.
    pub async fn set_picture(&self, picture: Option<&Picture>) -> Result<(), ChatError> {
        let body = own::set_picture(&self.inner.store, picture).await?;
        self.append_everywhere(&body).await
    }

    async fn append_everywhere(&self, body: &[u8]) -> Result<(), ChatError> {
        for chat in self.list() {
            match chat.channel().append(body.to_vec(), None).await {
                // A closed log takes nothing more, and a channel in trouble catches up when it starts again.
                Ok(_) | Err(ChannelError::Closed | ChannelError::Trouble(_)) => {}
                Err(ChannelError::Store(StoreError::DiskFull)) => {
                    return Err(StoreError::DiskFull.into());
                }
                Err(error) => tracing::warn!(%error, "cannot publish the new profile in a channel"),
            }
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ChannelId, Chat>> {
        self.inner
            .chats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Creates the feed of these chats. It does not keep them alive.
fn feed(
    store: Store,
    events: broadcast::Sender<ChannelEvent>,
    stop: Stop,
    chats: Weak<Inner>,
) -> Feed {
    let show = move |entries| -> BoxFuture<'static, Result<Vec<EventView>, ChatError>> {
        let chats = chats.upgrade().map(|inner| Chats { inner });
        Box::pin(async move {
            let chats = chats.ok_or(ChannelError::Gone)?;
            chats.views(entries).await
        })
    };
    Feed {
        store,
        events,
        stop,
        show: Arc::new(show),
    }
}
