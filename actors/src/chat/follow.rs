//! Following conversations: each event once and in the order of arrival, however slow the reader.
//!
//! The broadcast of channel events only wakes the follower; events are read from the store by position. So none is lost when
//! the broadcast overflows, and none comes twice.

use std::collections::VecDeque;

use bitchat_wire::channel::ChannelId;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{ChatError, Chats, EventView};
use crate::channel::ChannelEvent;

/// Events read from the store at a time.
const BATCH: usize = 256;

/// Events as they arrive; see [`Chats::follow`].
pub struct Follow {
    chats: Chats,
    news: Receiver<ChannelEvent>,
    /// The channel that is followed; `None`: all.
    cid: Option<ChannelId>,
    /// The position up to which everything was read.
    last: u64,
    /// There may be more in the store.
    behind: bool,
    /// At most one batch.
    ready: VecDeque<EventView>,
}

/// What a [`Follow`] brings besides events.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// An event arrived.
    Event(Box<EventView>),
    /// Something else changed in a channel. Never [`ChannelEvent::Committed`].
    Change(ChannelEvent),
    /// Changes were dropped, because the reader was slow. Events never are.
    Missed,
}

impl Follow {
    pub(super) fn new(
        chats: Chats,
        news: Receiver<ChannelEvent>,
        cid: Option<ChannelId>,
        last: u64,
    ) -> Self {
        Self {
            chats,
            news,
            cid,
            last,
            behind: true,
            ready: VecDeque::new(),
        }
    }

    /// The position up to which events were read from the store; at the beginning, the one to begin after.
    pub fn position(&self) -> u64 {
        self.last
    }

    /// Waits for the next event; `None` when the node stops. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<EventView>, ChatError> {
        loop {
            match self.news().await? {
                Some(News::Event(event)) => return Ok(Some(*event)),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }

    /// Waits for the next event or other change; `None` when the node stops. Cancel-safe.
    pub async fn news(&mut self) -> Result<Option<News>, ChatError> {
        loop {
            if let Some(view) = self.ready.pop_front() {
                return Ok(Some(News::Event(Box::new(view))));
            }
            if self.behind {
                self.read().await?;
                continue;
            }
            let news = tokio::select! {
                biased;
                () = self.chats.stop_signal().cancelled() => return Ok(None),
                news = self.news.recv() => news,
            };
            match news {
                Ok(ChannelEvent::Committed { cid, position }) => {
                    // One that was read already wakes nobody.
                    self.behind = self.wants(cid) && position > self.last;
                }
                Ok(change) if change.channel().is_none_or(|cid| self.wants(cid)) => {
                    return Ok(Some(News::Change(change)));
                }
                Ok(_) => {}
                // Dropped events are in the store.
                Err(RecvError::Lagged(_)) => {
                    self.behind = true;
                    return Ok(Some(News::Missed));
                }
                Err(RecvError::Closed) => return Ok(None),
            }
        }
    }

    /// Reads the next batch from the store.
    async fn read(&mut self) -> Result<(), ChatError> {
        let entries = self.chats.store().since(self.cid, self.last, BATCH).await?;
        // A batch may end early; only an empty one is the end.
        let newest = entries.last().map(|entry| entry.position);
        let views = self.chats.views(entries).await?;
        self.behind = newest.is_some();
        self.last = newest.unwrap_or(self.last);
        self.ready = views.into();
        Ok(())
    }

    fn wants(&self, cid: ChannelId) -> bool {
        self.cid.is_none_or(|wanted| wanted == cid)
    }
}
