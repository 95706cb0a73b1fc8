//! Gives the search for public relays the channels of the node.

use std::sync::Arc;

use super::Node;
use crate::public_relays::Channels;

/// The node's channels at the moment of each call. Does not keep the node alive.
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
