//! Pings that wait for their pongs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

/// Pings under way on one link. Beyond, the oldest is abandoned.
const UNDER_WAY: usize = 64;

/// The pings of one link.
#[derive(Default)]
pub(super) struct Pings(Mutex<(u64, BTreeMap<u64, oneshot::Sender<()>>)>);

impl Pings {
    /// Begins a ping; returns its number and its answer.
    pub(super) fn begin(&self) -> (u64, oneshot::Receiver<()>) {
        let (answer, answered) = oneshot::channel();
        let mut pings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        pings.0 += 1;
        let nonce = pings.0;
        pings.1.insert(nonce, answer);
        if pings.1.len() > UNDER_WAY {
            pings.1.pop_first();
        }
        (nonce, answered)
    }

    /// Ends the ping that a pong answers. A pong without a ping is ignored.
    pub(super) fn end(&self, nonce: u64) {
        let mut pings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = pings.1.remove(&nonce) {
            let _ = answer.send(());
        }
    }
}
