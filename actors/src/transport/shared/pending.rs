//! Punch requests: ours that await answers, and the limit on those of others that we answer.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bitchat_wire::proto::punch::Nat as WireNat;
use libp2p_identity::PeerId;
use rand::RngExt;
use tokio::sync::oneshot;

/// Most requests that await answers; there are no more dials than that.
const MOST_PENDING: usize = 72;
/// Requests answered in a row, and the time until one more is allowed, over all peers.
const MAX_ANSWERED: u32 = 32;
const ANSWER_PAUSE: Duration = Duration::from_millis(250);

/// The other end's answer to a punch request.
pub(crate) struct Answer {
    pub(crate) nat: WireNat,
    pub(crate) targets: Vec<SocketAddr>,
    /// TCP addresses, as multiaddrs.
    pub(crate) tcp: Vec<bytes::Bytes>,
}

/// Our requests that await answers.
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

    /// Drops a request: its answer is no longer wanted.
    pub(crate) fn forget(&self, id: u64) {
        self.lock().remove(&id);
    }

    pub(crate) fn answered(&self, id: u64, by: PeerId, answer: Answer) {
        let mut pending = self.lock();
        if pending.get(&id).is_some_and(|(peer, _)| *peer == by)
            && let Some((_, waiting)) = pending.remove(&id)
        {
            // The requester may have found another path.
            let _ = waiting.send(answer);
        }
    }
}

/// The rate limit on answering requests: each costs us some datagrams, to wherever a stranger may want them.
#[derive(Debug)]
pub(crate) struct RequestLimit {
    left: u32,
    since: Instant,
}

impl RequestLimit {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            left: MAX_ANSWERED,
            since: now,
        }
    }

    /// Whether one more request may be answered now.
    pub(crate) fn allow(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.since);
        let more = u32::try_from(passed.as_millis() / ANSWER_PAUSE.as_millis()).unwrap_or(u32::MAX);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(MAX_ANSWERED);
            self.since = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_requests_is_answered_slowly() {
        let start = Instant::now();
        let mut requests = RequestLimit::new(start);
        let count =
            |requests: &mut RequestLimit, at| (0..1_000).filter(|_| requests.allow(at)).count();
        assert_eq!(count(&mut requests, start), MAX_ANSWERED as usize);
        assert_eq!(count(&mut requests, start + ANSWER_PAUSE * 3), 3);
        assert_eq!(count(&mut requests, start + ANSWER_PAUSE * 3), 0);
        let later = start + Duration::from_secs(3_600);
        assert_eq!(count(&mut requests, later), MAX_ANSWERED as usize);
    }
}
