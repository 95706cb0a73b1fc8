//! Where connections leave their last word until the owner has been told.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use libp2p_identity::PeerId;
use tokio::sync::Notify;

use crate::transport::connection::ConnectionId;

/// A connection's last word.
pub(crate) struct Ended {
    pub(crate) id: ConnectionId,
    pub(crate) peer: PeerId,
    pub(crate) reason: String,
    /// Whether the owner was told of its beginning, and so must hear of its end.
    pub(crate) announced: bool,
}

/// Last words that wait. A guard writes them, so writing neither waits nor fails; there is one a connection, and the
/// registry counts them as connections, so there are never more than what its bounds let be open.
#[derive(Default)]
pub(crate) struct Ledger {
    ended: Mutex<VecDeque<Ended>>,
    written: Notify,
}

impl Ledger {
    fn ended(&self) -> MutexGuard<'_, VecDeque<Ended>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self, ended: Ended) {
        self.ended().push_back(ended);
        self.written.notify_one();
    }

    /// Waits for a word without taking it. Cancel-safe; for one waiter.
    pub(crate) async fn not_empty(&self) {
        while self.ended().is_empty() {
            self.written.notified().await;
        }
    }

    pub(crate) fn take(&self) -> Option<Ended> {
        self.ended().pop_front()
    }
}
