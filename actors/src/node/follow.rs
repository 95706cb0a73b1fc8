//! Following the talk: each event once and in the order of arrival, however slow the reader.

use std::collections::VecDeque;

use bitchat_wire::channel::ChannelId;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::{Node, NodeError, NodeEvent};
use crate::channel::EventView;

/// Events read from the store at a time.
const BATCH: usize = 256;

/// Events as they arrive; see [`Node::follow`].
pub struct Follow {
    node: Node,
    news: Receiver<NodeEvent>,
    cid: Option<ChannelId>,
    /// All up to here was read.
    last: u64,
    /// There may be more in the store.
    behind: bool,
    /// At most one batch.
    ready: VecDeque<EventView>,
}

impl Node {
    /// What arrives after `position` (0: from the very beginning; [`Node::last_position`]: from now on), of one
    /// channel or of all. What is read is in the store: a reader that is slow, or that comes back with the position of
    /// the last event it took, misses nothing.
    pub fn follow(&self, cid: Option<ChannelId>, position: u64) -> Follow {
        Follow {
            news: self.subscribe(),
            node: self.clone(),
            cid,
            last: position,
            behind: true,
            ready: VecDeque::new(),
        }
    }
}

impl Follow {
    /// The next event; waits for it. Cancel-safe. Fails when the node stops.
    pub async fn next(&mut self) -> Result<EventView, NodeError> {
        let stopping = self.node.inner.layers.channels.stop_signal().clone();
        loop {
            if let Some(view) = self.ready.pop_front() {
                return Ok(view);
            }
            if self.behind {
                let batch = self.node.since(self.cid, self.last, BATCH).await?;
                self.behind = !batch.is_empty();
                if let Some(newest) = batch.last() {
                    self.last = newest.position;
                }
                self.ready = batch.into();
                continue;
            }
            let news = tokio::select! {
                biased;
                () = stopping.cancelled() => return Err(NodeError::Stopping),
                news = self.news.recv() => news,
            };
            match news {
                Ok(NodeEvent::Committed { cid, position }) => {
                    let ours = self.cid.is_none_or(|wanted| wanted == cid);
                    self.behind = ours && position > self.last;
                }
                // What was dropped is in the store.
                Err(RecvError::Lagged(_)) => self.behind = true,
                Ok(_) => {}
                Err(RecvError::Closed) => return Err(NodeError::Stopping),
            }
        }
    }
}
