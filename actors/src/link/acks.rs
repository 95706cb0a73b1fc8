//! Coalesced claims: never queued, but taken by the link's writer when it has room.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use bitchat_wire::{message::MAX_CLAIMS, proto};
use bytes::Bytes;
use tokio::sync::Notify;

/// The claims to send next on one link. Holds at most one per device, so its size is bounded by the channel's devices.
#[derive(Default)]
pub struct Acks {
    pending: Mutex<BTreeMap<Bytes, proto::Claim>>,
    notify: Notify,
}

impl Acks {
    /// Adds claims; a newer claim of a device replaces an older one.
    pub(super) fn put(&self, claims: impl IntoIterator<Item = proto::Claim>) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        for claim in claims {
            pending.insert(claim.device.clone(), claim);
        }
        drop(pending);
        self.notify.notify_one();
    }

    /// Waits until there is something to take. Cancel-safe.
    pub(super) async fn ready(&self) {
        self.notify.notified().await;
    }

    /// Takes as many claims as fit one message.
    pub(super) fn take(&self) -> Vec<proto::Claim> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let mut claims = Vec::with_capacity(pending.len().min(MAX_CLAIMS));
        while claims.len() < MAX_CLAIMS
            && let Some((_, claim)) = pending.pop_first()
        {
            claims.push(claim);
        }
        if !pending.is_empty() {
            self.notify.notify_one();
        }
        claims
    }
}
