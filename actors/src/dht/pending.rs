//! Queries that are not answered yet. Bounded by the rate limit of our queries and by their time-out.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{Id, lookup::LookupId};

/// The time-out of a query.
pub(super) const TIMEOUT: Duration = Duration::from_secs(6);

/// The purpose of a query.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A lookup.
    Lookup(LookupId),
    /// A check whether the node is there.
    Ping,
    /// An announce of this infohash.
    Announce(Id),
}

/// One query.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    transaction: Vec<u8>,
    pub(super) purpose: Purpose,
}

/// All queries that await an answer.
#[derive(Default)]
pub(super) struct Pending {
    by_address: HashMap<SocketAddr, Vec<Asked>>,
    order: VecDeque<(Instant, SocketAddr, Vec<u8>)>,
}

impl Pending {
    /// Whether a query to that address awaits an answer.
    pub(super) fn awaits(&self, from: SocketAddr) -> bool {
        self.by_address.contains_key(&from)
    }

    /// Whether a transaction id is unused for that address.
    pub(super) fn is_free(&self, to: SocketAddr, transaction: &[u8]) -> bool {
        self.by_address
            .get(&to)
            .is_none_or(|asked| asked.iter().all(|asked| asked.transaction != transaction))
    }

    /// Records a query that is sent.
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

    /// Removes and returns the query that is answered.
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

    /// Removes and returns a query that has timed out.
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

    /// The time of the next time-out; a query may be answered before.
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

    /// The number of queries.
    pub(super) fn len(&self) -> usize {
        self.by_address.values().map(Vec::len).sum()
    }
}
