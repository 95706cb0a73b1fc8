//! One bucket of a routing table, and the nodes in it (BEP 5, "Routing Table").

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    krpc::Node,
    network::{Host, Network, host, network},
    security,
};

/// Nodes in a bucket (K in BEP 5).
pub(super) const BUCKET: usize = 8;
/// Spare nodes that wait to replace one of those.
const SPARES: usize = 8;
/// How long an answer makes a node good.
pub(super) const GOOD_FOR: Duration = Duration::from_secs(15 * 60);
/// Queries in a row without an answer that make a node bad.
const BAD_AFTER: u8 = 2;
/// The pause between queries to a node that may be gone.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// A node that has answered us at least once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) node: Node,
    pub(super) host: Host,
    pub(super) network: Option<Network>,
    /// Whether its id is bound to its address (BEP 42).
    pub(super) valid: bool,
    pub(super) answered: Instant,
    /// When it last sent us a query.
    pub(super) asked: Option<Instant>,
    /// When we last pinged it.
    pinged: Option<Instant>,
    failures: u8,
}

impl Entry {
    /// A node that has just answered.
    pub(super) fn new(node: Node, now: Instant) -> Self {
        Self {
            node,
            host: host(node.address),
            network: network(node.address.ip()),
            valid: security::is_valid(&node.id, node.address.ip()),
            answered: now,
            asked: None,
            pinged: None,
            failures: 0,
        }
    }

    /// Whether it answered within 15 minutes, or has ever answered and sent us a query within 15 minutes.
    pub(super) fn is_good(&self, now: Instant) -> bool {
        let recent = |at: Instant| now.saturating_duration_since(at) < GOOD_FOR;
        self.failures == 0 && (recent(self.answered) || self.asked.is_some_and(recent))
    }

    /// Whether it failed to answer several times.
    pub(super) fn is_bad(&self) -> bool {
        self.failures >= BAD_AFTER
    }

    /// Whether its last query was answered, as far as we know.
    pub(super) fn is_sound(&self) -> bool {
        self.failures == 0
    }
}

/// Nodes that share a certain number of leading bits with our id.
#[derive(Default)]
pub(super) struct Bucket {
    live: Vec<Entry>,
    spare: Vec<Entry>,
    /// When to look for nodes of this bucket again.
    pub(super) refresh: Option<Instant>,
}

impl Bucket {
    pub(super) fn live(&self) -> &[Entry] {
        &self.live
    }

    pub(super) fn is_full(&self) -> bool {
        self.live.len() >= BUCKET
    }

    /// Whether it is full of nodes of which one has answered lately: such a bucket needs no refresh.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        let lately = |entry: &Entry| now.saturating_duration_since(entry.answered) < GOOD_FOR / 2;
        self.is_full() && self.live.iter().any(lately)
    }

    /// The number of nodes of a network, spares included.
    pub(super) fn of_network(&self, network: Network) -> usize {
        let here = |entry: &&Entry| entry.network == Some(network);
        self.live.iter().chain(&self.spare).filter(here).count()
    }

    /// The node at an address, spares included.
    pub(super) fn at(&mut self, address: SocketAddr) -> Option<&mut Entry> {
        self.live
            .iter_mut()
            .chain(&mut self.spare)
            .find(|entry| entry.node.address == address)
    }

    /// Removes the nodes for which `gone` is true; spares move up.
    pub(super) fn remove(&mut self, gone: impl Fn(&Entry) -> bool) {
        self.spare.retain(|entry| !gone(entry));
        self.live.retain(|entry| !gone(entry));
        while self.live.len() < BUCKET {
            let Some(entry) = self.best_spare() else {
                return;
            };
            self.live.push(entry);
        }
    }

    /// Takes the spare that should move up first: a bound id before others, then the latest answer.
    fn best_spare(&mut self) -> Option<Entry> {
        let at = (0..self.spare.len()).max_by_key(|at| {
            let spare = &self.spare[*at];
            (spare.valid, spare.answered)
        })?;
        Some(self.spare.swap_remove(at))
    }

    /// Records that a query was not answered. A spare replaces a bad node, which stays if there is none: when our own
    /// connection is down, no node answers, and none is to blame.
    pub(super) fn failed(&mut self, address: SocketAddr) {
        self.spare.retain(|entry| entry.node.address != address);
        let at = self
            .live
            .iter()
            .position(|entry| entry.node.address == address);
        let Some(at) = at else { return };
        let entry = &mut self.live[at];
        entry.failures = entry.failures.saturating_add(1);
        if entry.is_bad()
            && let Some(spare) = self.best_spare()
        {
            self.live[at] = spare;
        }
    }

    /// Whether a new node would get a place at once, by the rule of [`Self::insert`]. `valid`: its id is bound to its
    /// address.
    pub(super) fn has_place(&self, valid: bool) -> bool {
        let gives_way = |entry: &Entry| entry.is_bad() || (valid && !entry.valid);
        !self.is_full() || self.live.iter().any(gives_way)
    }

    /// Adds a new node that has answered. A full bucket keeps its nodes, unless one is bad or (for a new node whose id
    /// is bound to its address) one is not so bound; otherwise the new node becomes a spare.
    pub(super) fn insert(&mut self, new: Entry) {
        if !self.is_full() {
            self.live.push(new);
            return;
        }
        if let Some(bad) = self.live.iter_mut().find(|entry| entry.is_bad()) {
            *bad = new;
            return;
        }
        let unbound = self.live.iter_mut().filter(|entry| !entry.valid);
        if new.valid
            && let Some(unbound) = unbound.max_by_key(|entry| entry.node.id)
        {
            let old = std::mem::replace(unbound, new);
            self.wait(old);
            return;
        }
        self.wait(new);
    }

    fn wait(&mut self, entry: Entry) {
        if self.spare.len() >= SPARES {
            let oldest = (0..self.spare.len()).min_by_key(|at| self.spare[*at].answered);
            if let Some(oldest) = oldest {
                self.spare.swap_remove(oldest);
            }
        }
        self.spare.push(entry);
    }

    /// If there are spares: the node that was silent for longest, if it may be gone. It counts as queried.
    pub(super) fn doubtful(&mut self, now: Instant) -> Option<Node> {
        if self.spare.is_empty() {
            return None;
        }
        let oldest = self
            .live
            .iter_mut()
            .filter(|entry| !entry.is_good(now))
            .min_by_key(|entry| entry.answered)?;
        let soon = |at: Instant| now.saturating_duration_since(at) < ASK_AGAIN;
        if oldest.pinged.is_some_and(soon) {
            return None;
        }
        oldest.pinged = Some(now);
        Some(oldest.node)
    }

    /// Records an answer.
    pub(super) fn answered(entry: &mut Entry, now: Instant) {
        entry.answered = now;
        entry.failures = 0;
    }
}
