//! Where connections leave their last word until the owner has been told.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use libp2p_identity::PeerId;
use tokio::sync::Notify;

use super::ConnectionId;

/// A connection's last word.
pub(super) struct Ended {
    pub(super) id: ConnectionId,
    pub(super) peer: PeerId,
    pub(super) reason: String,
    /// Whether the owner was told of its beginning, and so must hear of its end.
    pub(super) announced: bool,
}

/// Last words that wait. A guard writes them, so writing neither waits nor fails; there is one a connection, and the
/// registry counts them as connections, so there are never more than what its bounds let be open.
#[derive(Default)]
pub(super) struct Ledger {
    ended: Mutex<VecDeque<Ended>>,
    written: Notify,
}

impl Ledger {
    fn ended(&self) -> MutexGuard<'_, VecDeque<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self, ended: Ended) {
        self.ended().push_back(ended);
        self.written.notify_one();
    }

    /// Waits for a word without taking it. Cancel-safe; for one waiter.
    pub(super) async fn not_empty(&self) {
        while self.ended().is_empty() {
            self.written.notified().await;
        }
    }

    pub(super) fn take(&self) -> Option<Ended> {
        self.ended().pop_front()
    }
}
