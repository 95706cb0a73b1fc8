//! Following conversations: each event once and in the order of arrival, however slow the reader.
//!
//! The broadcast of channel events only wakes the follower; events are read from the store by position. So none is lost when
//! the broadcast overflows, and none comes twice.

use std::{collections::VecDeque, sync::Arc};

use bitchat_wire::channel::ChannelId;
use futures_util::future::BoxFuture;
use tokio::sync::broadcast::{self, Receiver, error::RecvError};

use super::{
    api::{ChatError, EventView, Position},
    tables::{LogEntry, Tables},
};
use crate::{channel::ChannelEvent, kit::Stop, store::Store};

/// Events read from the store at a time.
const BATCH: usize = 256;

/// Shows entries of any channels, in their order; omits those of channels that were left.
type Show = Arc<
    dyn Fn(Vec<LogEntry>) -> BoxFuture<'static, Result<Vec<EventView>, ChatError>> + Send + Sync,
>;

/// The sources that a [`Follow`] reads. Cheap to clone.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) store: Store,
    /// The channels' broadcast.
    pub(super) events: broadcast::Sender<ChannelEvent>,
    /// Fires when the channels stop.
    pub(super) stop: Stop,
    pub(super) show: Show,
}

impl Feed {
    /// Starts a follower of one channel, or of all (`None`).
    pub(super) async fn follow(
        &self,
        cid: Option<ChannelId>,
        position: Position,
    ) -> Result<Follow, ChatError> {
        // Subscribed before the position is read: what is committed between the two is read from the store.
        let news = self.events.subscribe();
        let last = match position {
            Position::Start => 0,
            Position::Now => self.store.last_position().await?,
            Position::After(position) => position,
        };
        Ok(Follow {
            feed: self.clone(),
            news,
            cid,
            last,
            behind: true,
            ready: VecDeque::new(),
        })
    }
}

/// Events as they arrive; see [`Chat::follow`](super::Chat::follow).
pub struct Follow {
    feed: Feed,
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

/// An item of a [`Follow`]: an event, or another change.
#[derive(Debug)]
#[non_exhaustive]
pub enum News {
    /// An event arrived.
    Event(Box<EventView>),
    /// A channel changed otherwise. Never [`ChannelEvent::Committed`].
    Change(ChannelEvent),
    /// Changes were dropped, because the reader was slow. Events never are.
    Missed,
}

impl Follow {
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
                match self.read().await {
                    Ok(()) => continue,
                    // The store may stop before this is polled.
                    Err(_) if self.feed.stop.is_cancelled() => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            let news = tokio::select! {
                biased;
                () = self.feed.stop.cancelled() => return Ok(None),
                news = self.news.recv() => news,
            };
            match news {
                Ok(ChannelEvent::Committed { cid, position }) => {
                    // An event that was read already is no reason to read again.
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
        let entries = Tables(&self.feed.store)
            .since(self.cid, self.last, BATCH)
            .await?;
        let views = (self.feed.show)(entries).await?;
        // A batch may end early; only an empty one is the end. Entries of a channel that is just stopping are not shown,
        // and are read again if it comes back.
        let newest = views.last().map(|view| view.position);
        self.behind = newest.is_some();
        self.last = newest.unwrap_or(self.last);
        self.ready = views.into();
        Ok(())
    }

    fn wants(&self, cid: ChannelId) -> bool {
        self.cid.is_none_or(|wanted| wanted == cid)
    }
}
