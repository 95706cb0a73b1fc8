//! What public relays have to do with the rest of the node.

use std::sync::Arc;

use super::Node;
use crate::offers::Channels;

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
