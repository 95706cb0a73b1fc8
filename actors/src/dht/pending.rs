//! Questions that are not answered yet. Bounded by the limit of what is asked and by their time-out.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Id, lookup::LookupId};

/// How long an answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(6);

/// Why something was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// For a lookup.
    Lookup(LookupId),
    /// To see whether somebody is there.
    Ping,
    /// To be found under this infohash.
    Announce(Id),
}

/// One question.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    transaction: Vec<u8>,
    pub(super) purpose: Purpose,
}

/// All of them.
#[derive(Default)]
pub(super) struct Pending {
    by_address: HashMap<SocketAddr, Vec<Asked>>,
    order: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
}

impl Pending {
    /// Whether an answer of that address is awaited.
    pub(super) fn awaits(&self, from: SocketAddr) -> bool {
        self.by_address.contains_key(&from)
    }

    /// Whether that transaction id is free there.
    pub(super) fn is_free(&self, to: SocketAddr, transaction: &[u8]) -> bool {
        self.by_address
            .get(&to)
            .is_none_or(|asked| asked.iter().all(|asked| asked.transaction != transaction))
    }

    /// A question goes out.
    pub(super) fn add(
        &mut self,
        to: SocketAddr,
        transaction: Vec<u8>,
        purpose: Purpose,
        now: Instant,
    ) {
        self.order
            .push_back((now + TIMEOUT, to, transaction.clone()));
        self.by_address.entry(to).or_default().push(Asked {
            transaction,
            purpose,
        });
    }

    /// The question that this answers.
    pub(super) fn take(&mut self, from: SocketAddr, transaction: &[u8]) -> Option<Asked> {
        let asked = self.by_address.get_mut(&from)?;
        let at = asked
            .iter()
            .position(|asked| asked.transaction == transaction)?;
        let taken = asked.swap_remove(at);
        if asked.is_empty() {
            self.by_address.remove(&from);
        }
        Some(taken)
    }

    /// A question whose time is up.
    pub(super) fn expired(&mut self, now: Instant) -> Option<(SocketAddr, Purpose)> {
        while let Some((due, _, _)) = self.order.front() {
            if *due > now {
                return None;
            }
            let (_, to, transaction) = self.order.pop_front()?;
            if let Some(asked) = self.take(to, &transaction) {
                return Some((to, asked.purpose));
            }
        }
        None
    }

    /// When the next time is up, at the latest.
    pub(super) fn next(&mut self) -> Option<Instant> {
        // Answered ones at the front would wake us for nothing.
        while let Some((due, to, transaction)) = self.order.front() {
            if !self.is_free(*to, transaction) {
                return Some(*due);
            }
            self.order.pop_front();
        }
        None
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_address.values().map(Vec::len).sum()
    }
}
