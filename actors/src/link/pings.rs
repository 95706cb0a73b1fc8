//! Pings that wait for their pongs.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

/// Pings under way on one link. Beyond it the oldest is given up.
const UNDER_WAY: usize = 64;

/// The pings of one link.
#[derive(Default)]
pub(super) struct Pings(Mutex<(u64, BTreeMap<u64, oneshot::Sender<()>>)>);

impl Pings {
    /// The number of a new ping, and its answer.
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

    /// A pong came. One that nobody asked for is nothing.
    pub(super) fn end(&self, nonce: u64) {
        let mut pings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = pings.1.remove(&nonce) {
            let _ = answer.send(());
        }
    }
}
