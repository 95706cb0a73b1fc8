//! What public relays have to do with the rest of the node.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::Node;
use crate::{
    offers::{Channels, keys},
    tracker::Found,
};

/// What trackers find goes to discovery, but what they find under the public relays' hashes. Ends with either end.
pub(super) async fn sort(
    mut all: mpsc::Receiver<Found>,
    ours: mpsc::Sender<Found>,
    public: mpsc::Sender<Found>,
) {
    let relays = keys().cid;
    while let Some(found) = all.recv().await {
        if found.cid == relays {
            // Named again with the next answer.
            let _ = public.try_send(found);
        } else if ours.send(found).await.is_err() {
            return;
        }
    }
}

/// The node's channels as they are at each moment. Does not keep the node alive.
pub(super) fn channels(node: &Node) -> Channels {
    let inner = Arc::downgrade(&node.inner);
    Arc::new(move || {
        let Some(inner) = inner.upgrade() else {
            return Vec::new();
        };
        let node = Node { inner };
        let of = |channel: &crate::channel::Channel| (channel.keys(), channel.trackers());
        let chats = node.chats().list();
        chats.iter().map(|chat| of(chat.channel())).collect()
    })
}
