//! Requests to open the way through NATs: ours that wait for answers, and how many of others we heed.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bitchat_wire::proto::punch::Nat as Word;
use libp2p_identity::PeerId;
use rand::RngExt;
use tokio::sync::oneshot;

/// Requests that wait for their answers; there are no more dials than that.
const MOST_PENDING: usize = 72;
/// Requests that are heeded in a row, and how long until one more is: of all peers.
const MOST_HEEDED: u32 = 32;
const HEED_PAUSE: Duration = Duration::from_millis(250);

/// What the other side answered.
pub(crate) struct Answer {
    pub(crate) nat: Word,
    pub(crate) targets: Vec<SocketAddr>,
    /// As it names them.
    pub(crate) tcp: Vec<bytes::Bytes>,
}

/// Requests of ours that wait for answers.
#[derive(Default)]
pub(crate) struct Pending(Mutex<HashMap<u64, (PeerId, oneshot::Sender<Answer>)>>);

impl Pending {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (PeerId, oneshot::Sender<Answer>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, peer: PeerId) -> Option<(u64, oneshot::Receiver<Answer>)> {
        let mut pending = self.lock();
        if pending.len() >= MOST_PENDING {
            return None;
        }
        let id = rand::rng().random();
        let (sender, answer) = oneshot::channel();
        pending.insert(id, (peer, sender));
        Some((id, answer))
    }

    /// Nobody waits for that answer any more.
    pub(crate) fn forget(&self, id: u64) {
        self.lock().remove(&id);
    }

    pub(crate) fn answered(&self, id: u64, by: PeerId, answer: Answer) {
        let mut pending = self.lock();
        if pending.get(&id).is_some_and(|(peer, _)| *peer == by)
            && let Some((_, waiting)) = pending.remove(&id)
        {
            // Who asked may have found another way.
            let _ = waiting.send(answer);
        }
    }
}

/// How many requests are heeded: each costs us some datagrams to where a stranger might want them.
#[derive(Debug)]
pub(crate) struct Heed {
    left: u32,
    since: Instant,
}

impl Heed {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            left: MOST_HEEDED,
            since: now,
        }
    }

    /// Whether one more is heeded now.
    pub(crate) fn one(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let more = u32::try_from(passed.as_millis() / HEED_PAUSE.as_millis()).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(MOST_HEEDED);
            self.since = now;
        }
        let heeded = self.left > 0;
        self.left = self.left.saturating_sub(1);
        heeded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_requests_is_heeded_slowly() {
        let start = Instant::now();
        let mut heed = Heed::new(start);
        let count = |heed: &mut Heed, at| (0..1_000).filter(|_| heed.one(at)).count();
        assert_eq!(count(&mut heed, start), MOST_HEEDED as usize);
        assert_eq!(count(&mut heed, start + HEED_PAUSE * 3), 3);
        assert_eq!(count(&mut heed, start + HEED_PAUSE * 3), 0);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(count(&mut heed, later), MOST_HEEDED as usize);
    }
}
