//! The routing table of one family (BEP 5): nodes that have answered us, with more of them the nearer they are.
//!
//! The bucket of a node is the number of leading bits that its id shares with ours, which is equivalent to splitting
//! the bucket that holds one's own id. No node gets in without an answer to one of our queries, a host has one place,
//! and a network has few.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};

use super::{
    Id,
    bucket::{BUCKET, Bucket, Entry},
    krpc::Node,
    network::{host, is_local, network},
    security,
};

/// Nodes of one network (an IPv4 /24, an IPv6 /48) in one bucket.
const NETWORK_IN_BUCKET: usize = 2;
/// Nodes of one network in the whole table.
const NETWORK_IN_TABLE: usize = 8;
/// The time without a change after which a bucket is refreshed (BEP 5).
const REFRESH: Duration = Duration::from_secs(15 * 60);
/// The shorter time for a bucket with room.
const REFRESH_ROOM: Duration = Duration::from_secs(6 * 60);
/// The time for a new bucket.
const REFRESH_NEW: Duration = Duration::from_secs(60);
/// Seconds between the refreshes of new buckets.
const REFRESH_STEP_S: u64 = 15;
/// The interval at which an almost empty table asks the nodes that it has for more.
const REFRESH_FIRST: Duration = Duration::from_secs(8);

/// The last bucket, of all nodes that share this many bits or more with us. Among a hundred million nodes none shares
/// more by chance, so a nearer node has chosen its id: such nodes get one bucket, and not one for each bit that they
/// can choose.
const DEEPEST: usize = 24;

/// The routing table.
pub(super) struct Table {
    own: Id,
    /// By shared bits up to [`DEEPEST`]; only those in use.
    buckets: Vec<Bucket>,
    /// Whether it has had enough nodes before, so that no refresh is urgent.
    settled: bool,
}

/// The fill level of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TableCounts {
    /// Nodes in it.
    pub nodes: usize,
    /// Nodes that answered or sent a query within the last 15 minutes.
    pub good: usize,
    /// Nodes whose ids are bound to their addresses (BEP 42).
    pub valid: usize,
}

impl Table {
    /// An empty table around our id.
    pub(super) fn new(own: Id) -> Self {
        Self {
            own,
            buckets: Vec::new(),
            settled: false,
        }
    }

    /// Our id.
    pub(super) fn own(&self) -> &Id {
        &self.own
    }

    /// Changes our id; nodes that fit stay.
    pub(super) fn rebase(&mut self, own: Id, now: Instant) {
        let mut nodes: Vec<Entry> = self.entries().copied().collect();
        nodes.sort_by_key(|entry| std::cmp::Reverse(entry.answered));
        *self = Self::new(own);
        for entry in nodes {
            if entry.node.id != own && self.admits(&entry) {
                self.put(entry, now);
            }
        }
    }

    /// The bucket that an id belongs to.
    fn depth(&self, id: &Id) -> usize {
        self.own.shared_bits(id).min(DEEPEST)
    }

    /// The bucket of an id, created if necessary; `None` for our own id.
    fn bucket(&mut self, id: &Id, now: Instant) -> Option<&mut Bucket> {
        if *id == self.own {
            return None;
        }
        let bits = self.depth(id);
        while self.buckets.len() <= bits {
            let pause = if self.settled {
                first_refresh(self.buckets.len())
            } else {
                REFRESH_FIRST
            };
            let mut bucket = Bucket::default();
            bucket.refresh = Some(now + pause);
            self.buckets.push(bucket);
        }
        self.buckets.get_mut(bits)
    }

    /// Whether a node has a place.
    pub(super) fn has(&self, id: &Id, address: SocketAddr) -> bool {
        let here = |entry: &Entry| entry.node.id == *id && entry.node.address == address;
        let bucket = self.buckets.get(self.depth(id));
        bucket.is_some_and(|bucket| bucket.live().iter().any(here))
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.iter().flat_map(Bucket::live)
    }

    /// Records an answer of a node. Returns a node of its bucket to be pinged, which may be gone.
    pub(super) fn answered(&mut self, node: Node, now: Instant) -> Option<Node> {
        if node.id == self.own {
            return None;
        }
        let known = self.bucket(&node.id, now)?.at(node.address);
        if let Some(entry) = known
            && entry.node.id == node.id
        {
            Bucket::answered(entry, now);
            return None;
        }
        // There was another id at that address: the node has restarted.
        for bucket in &mut self.buckets {
            bucket.remove(|entry| entry.node.address == node.address);
        }
        let new = Entry::new(node, now);
        if !self.admits(&new) {
            return None;
        }
        self.put(new, now)
    }

    /// Inserts a node; a bad or spare node with its id or host makes room.
    fn put(&mut self, new: Entry, now: Instant) -> Option<Node> {
        for bucket in &mut self.buckets {
            bucket.remove(|entry| entry.node.id == new.node.id || entry.host == new.host);
        }
        let bucket = self.bucket(&new.node.id, now)?;
        bucket.insert(new);
        let doubtful = bucket.doubtful(now);
        if !self.settled && self.entries().nth(BUCKET).is_some() {
            self.settled = true;
            for (bits, bucket) in self.buckets.iter_mut().enumerate() {
                bucket.refresh = Some(now + first_refresh(bits));
            }
        }
        doubtful
    }

    /// Whether the rules let a node in that has answered: no node is displaced by another one that claims its id, and
    /// neither a host nor a network takes more than its share.
    fn admits(&self, new: &Entry) -> bool {
        let rival = |entry: &&Entry| {
            !entry.is_bad() && (entry.node.id == new.node.id || entry.host == new.host)
        };
        if self.entries().any(|entry| rival(&entry)) {
            return false;
        }
        let Some(network) = new.network else {
            return true;
        };
        let here = self.buckets.get(self.depth(&new.node.id));
        here.is_none_or(|bucket| bucket.of_network(network) < NETWORK_IN_BUCKET)
            && self
                .buckets
                .iter()
                .map(|bucket| bucket.of_network(network))
                .sum::<usize>()
                < NETWORK_IN_TABLE
    }

    /// Records a query of a node. True if it is unknown but would be welcome, so that it should be pinged.
    pub(super) fn asked(&mut self, node: Node, now: Instant) -> bool {
        if node.id == self.own {
            return false;
        }
        let bits = self.depth(&node.id);
        let Some(bucket) = self.buckets.get_mut(bits) else {
            return true;
        };
        if let Some(entry) = bucket.at(node.address) {
            // With another id than before, it has to answer first.
            let same = entry.node.id == node.id;
            if same {
                entry.asked = Some(now);
            }
            return !same;
        }
        // Other nodes would only become spares, and all who ask would be pinged for nothing.
        if !bucket.has_place(security::is_valid(&node.id, node.address.ip())) {
            return false;
        }
        let (host, network) = (host(node.address), network(node.address.ip()));
        !bucket.live().iter().any(|entry| entry.host == host)
            && network.is_none_or(|network| bucket.of_network(network) < NETWORK_IN_BUCKET)
    }

    /// Records that a node did not answer.
    pub(super) fn failed(&mut self, address: SocketAddr) {
        for bucket in &mut self.buckets {
            bucket.failed(address);
        }
    }

    /// The nodes nearest to an id, for other nodes: none whose last query went unanswered, and those on local networks
    /// to `local` askers only.
    pub(super) fn nearest(&self, target: &Id, local: bool) -> Vec<Node> {
        let mut nodes: Vec<Node> = self
            .entries()
            .filter(|entry| entry.is_sound() && (local || !is_local(entry.node.address.ip())))
            .map(|entry| entry.node)
            .collect();
        nearest(&mut nodes, target, BUCKET);
        nodes
    }

    /// The nodes nearest to an id, to begin a lookup with: bad ones only if there are no others.
    pub(super) fn seeds(&self, target: &Id, most: usize) -> Vec<Node> {
        let of = |bad: bool| {
            let these = self.entries().filter(|entry| entry.is_bad() == bad);
            these.map(|entry| entry.node).collect::<Vec<_>>()
        };
        let mut nodes = of(false);
        if nodes.is_empty() {
            nodes = of(true);
        }
        nearest(&mut nodes, target, most);
        nodes
    }

    /// Nodes to save for the next run, the most useful first.
    pub(super) fn keepers(&self, most: usize) -> Vec<Node> {
        let mut entries: Vec<&Entry> = self.entries().filter(|entry| !entry.is_bad()).collect();
        entries.sort_by_key(|entry| {
            std::cmp::Reverse((entry.is_sound(), entry.valid, entry.answered))
        });
        entries.iter().take(most).map(|entry| entry.node).collect()
    }

    /// The fill level.
    pub(super) fn counts(&self, now: Instant) -> TableCounts {
        let mut counts = TableCounts::default();
        for entry in self.entries() {
            counts.nodes += 1;
            counts.good += usize::from(entry.is_good(now));
            counts.valid += usize::from(entry.valid);
        }
        counts
    }

    /// The number of buckets that are refreshed, from the first one on. Deeper ones together hold no more nodes than
    /// one lookup finds, and a lookup near us finds them all. An almost empty table refreshes all.
    fn looked_at(&self) -> usize {
        let mut deeper = 0;
        let mut all = self.buckets.len();
        while let Some(bucket) = all.checked_sub(1).and_then(|at| self.buckets.get(at)) {
            deeper += bucket.live().len();
            if deeper > BUCKET {
                return self.buckets.len().min(all + 1);
            }
            all -= 1;
        }
        self.buckets.len()
    }

    /// When the next bucket needs a refresh.
    pub(super) fn next_refresh(&self) -> Option<Instant> {
        self.buckets
            .iter()
            .take(self.looked_at())
            .filter_map(|bucket| bucket.refresh)
            .min()
    }

    /// A random id in a bucket that needs a refresh now, which counts as done.
    pub(super) fn refresh(&mut self, now: Instant, rng: &mut dyn Rng) -> Option<Id> {
        let own = self.own;
        let due = |bucket: &Bucket| bucket.refresh.is_some_and(|due| due <= now);
        // The nearest bucket comes first: there other nodes look for us.
        let all = self.looked_at();
        while let Some(bits) = self.buckets[..all].iter().rposition(due) {
            let fresh = self.buckets[bits].is_fresh(now);
            self.looked_after(bits, now, rng);
            if !fresh {
                return Some(own.near(bits, rng));
            }
        }
        None
    }

    /// Records a lookup of an id: its bucket needs no refresh for a while.
    pub(super) fn looked_up(&mut self, target: &Id, now: Instant, rng: &mut dyn Rng) {
        let bits = self.depth(target);
        self.looked_after(bits, now, rng);
    }

    fn looked_after(&mut self, bits: usize, now: Instant, rng: &mut dyn Rng) {
        if let Some(bucket) = self.buckets.get_mut(bits) {
            let pause = if bucket.is_full() {
                REFRESH
            } else {
                REFRESH_ROOM
            };
            let jitter = rng.random_range(0..pause.as_millis() as u64 / 4);
            bucket.refresh = Some(now + pause + Duration::from_millis(jitter));
        }
    }
}

/// The time after which a new bucket is first refreshed, one after the other.
fn first_refresh(bits: usize) -> Duration {
    REFRESH_NEW + Duration::from_secs(REFRESH_STEP_S * bits as u64)
}

/// Keeps the `most` nodes nearest to an id, in order.
fn nearest(nodes: &mut Vec<Node>, target: &Id, most: usize) {
    if nodes.len() > most && most > 0 {
        nodes.select_nth_unstable_by_key(most - 1, |node| node.id.distance(target));
        nodes.truncate(most);
    }
    nodes.sort_unstable_by_key(|node| node.id.distance(target));
}
