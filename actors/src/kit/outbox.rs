//! A bounded queue between an actor and receivers that may be slower.

use std::{collections::VecDeque, future::pending};

use tokio::sync::mpsc;

use super::Kit;

/// The receiver of a queued item was dropped, and with it the item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the receiver was dropped")]
pub struct Closed;

/// Items queued for bounded channels, so that the actor that sends them never waits for a receiver.
///
/// A full outbox drops its oldest item and counts it: it is meant for items that are sent again.
pub struct Outbox<T> {
    queue: &'static str,
    capacity: usize,
    waiting: VecDeque<(mpsc::Sender<T>, T)>,
}

impl<T> Outbox<T> {
    /// An empty outbox for `capacity` items; `queue` is its name in the metric of dropped items.
    pub fn new(queue: &'static str, capacity: usize) -> Self {
        Self {
            queue,
            capacity,
            waiting: VecDeque::new(),
        }
    }

    /// Queues an item.
    pub fn push(&mut self, to: mpsc::Sender<T>, item: T, kit: &Kit) {
        if self.waiting.len() >= self.capacity {
            self.waiting.pop_front();
            kit.dropped(self.queue);
        }
        self.waiting.push_back((to, item));
    }

    /// Drops the queued items for which `keep` is false.
    pub fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        self.waiting.retain(|(_, item)| keep(item));
    }

    /// Sends the oldest item as soon as its receiver has room for it. Pends while the outbox is empty. Cancel-safe.
    pub async fn send_next(&mut self) -> Result<(), Closed> {
        let Some((to, _)) = self.waiting.front() else {
            return pending().await;
        };
        let room = to.clone().reserve_owned().await;
        let next = self.waiting.pop_front();
        match (room, next) {
            (Ok(room), Some((_, item))) => {
                room.send(item);
                Ok(())
            }
            (Ok(_), None) => Ok(()),
            (Err(_), _) => Err(Closed),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn items_are_sent_in_order_once_there_is_room() {
        let kit = Kit::default();
        let mut outbox = Outbox::new("test", 2);
        assert_eq!(outbox.send_next().now_or_never(), None, "it is empty");
        let (sender, mut receiver) = mpsc::channel(1);
        for item in 0..4 {
            outbox.push(sender.clone(), item, &kit);
        }
        assert_eq!(kit.drops_of("test"), 2);
        assert_eq!(outbox.send_next().await, Ok(()));
        assert_eq!(outbox.send_next().now_or_never(), None, "no room");
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(outbox.send_next().await, Ok(()));
        assert_eq!(receiver.recv().await, Some(3));
    }

    #[tokio::test]
    async fn a_dropped_receiver_holds_up_no_other() {
        let kit = Kit::default();
        let mut outbox = Outbox::new("test", 8);
        let (gone, _) = mpsc::channel(1);
        let (sender, mut receiver) = mpsc::channel(1);
        outbox.push(gone, 1, &kit);
        outbox.push(sender.clone(), 2, &kit);
        outbox.push(sender, 3, &kit);
        outbox.retain(|item| *item != 3);
        assert_eq!(outbox.send_next().await, Err(Closed));
        assert_eq!(outbox.send_next().await, Ok(()));
        assert_eq!(receiver.recv().await, Some(2));
        assert_eq!(outbox.send_next().now_or_never(), None);
    }
}
