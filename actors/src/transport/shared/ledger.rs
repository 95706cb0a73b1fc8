//! The ledger of ended connections, kept until the owner has been notified.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use libp2p_identity::PeerId;
use tokio::sync::Notify;

use crate::transport::connection::ConnectionId;

/// The entry of a connection that has ended.
pub(crate) struct Ended {
    pub(crate) id: ConnectionId,
    pub(crate) peer: PeerId,
    pub(crate) reason: String,
    /// Whether the owner was notified of its beginning, and so must be notified of its end.
    pub(crate) announced: bool,
}

/// Entries of ended connections. They are written by a guard, so writing neither waits nor fails. There is one per
/// connection, and the registry counts it as a connection until it is read, so its bounds hold here too.
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

    /// Waits until there is an entry, without taking it. Cancel-safe; for one waiter.
    pub(crate) async fn not_empty(&self) {
        while self.ended().is_empty() {
            self.written.notified().await;
        }
    }

    pub(crate) fn take(&self) -> Option<Ended> {
        self.ended().pop_front()
    }
}
