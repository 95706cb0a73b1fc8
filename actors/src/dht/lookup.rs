//! One lookup: queries ever nearer nodes, a few at a time, until the nearest ones have answered.
//!
//! A node that answers names others, and may forge them. So the candidates are bounded, a host counts once and a
//! network twice, nodes named by a host that has named several silent ones are tried last, and besides the eight
//! nearest nodes the eight nearest whose ids are bound to their addresses (BEP 42) are sought: forged ids can crowd out
//! the former, but not the latter.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::{
    Family, Id,
    candidate::{AnnounceToken, Candidate, Phase, STALL},
    krpc::Node,
    network::{Host, host, is_believable, is_local, network},
    security,
};

/// Identifies a running lookup.
pub(super) type LookupId = u64;

/// Nodes sought (K in BEP 5).
pub(super) const NEAREST: usize = 8;
/// Queries under way.
const PARALLEL: usize = 4;
/// Candidates that are remembered.
const MOST_CANDIDATES: usize = 160;
/// Candidates that one answer may add.
const MOST_OF_ONE: usize = 8;
/// Candidates of one network at a time.
const MOST_OF_A_NETWORK: usize = 2;
/// A host that has named this many silent nodes is believed last.
const BLAME: usize = 3;
/// With this many silent nodes a lookup also follows the line where most nodes answer. A fifth of all nodes is gone at
/// any time, which gives a lookup fewer silent ones than this.
const TROUBLE: usize = 10;
/// Queries in all.
const MOST_ASKED: usize = 160;
/// The time limit of a lookup.
const MOST_TIME: Duration = Duration::from_secs(40);

/// The next thing to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Query a node.
    Ask(SocketAddr),
    /// Wait for answers, at most until this time.
    Wait(Instant),
    /// The nearest nodes have answered, or no node is left.
    Done,
}

/// The cost of a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LookupCost {
    /// Queries sent.
    pub asked: usize,
    /// Answers received.
    pub answered: usize,
    /// The length of the chain of queries that led to the first peer; `None` if none was found.
    pub hops: Option<usize>,
}

/// One lookup in one family.
pub(super) struct Lookup {
    own: Id,
    pub(super) target: Id,
    pub(super) family: Family,
    /// Sorted by distance from the target.
    candidates: Vec<Candidate>,
    /// Addresses of nodes whose ids are unknown.
    seeds: VecDeque<SocketAddr>,
    seeds_asked: BTreeMap<SocketAddr, Instant>,
    started: Instant,
    /// Which of the three ways to choose a node is next.
    turn: usize,
    /// The number of starting nodes.
    lines: usize,
    pub(super) cost: LookupCost,
}

impl Lookup {
    /// A lookup of `target` without candidates. `own`: our id in that family.
    pub(super) fn new(own: Id, target: Id, family: Family, now: Instant) -> Self {
        Self {
            own,
            target,
            family,
            candidates: Vec::new(),
            seeds: VecDeque::new(),
            seeds_asked: BTreeMap::new(),
            started: now,
            turn: 0,
            lines: 0,
            cost: LookupCost::default(),
        }
    }

    /// Adds an address to begin with.
    pub(super) fn seed(&mut self, address: SocketAddr) {
        let known = self.seeds.contains(&address) || self.seeds_asked.contains_key(&address);
        if Family::of(address) == self.family && !known && self.seeds.len() < MOST_CANDIDATES {
            self.seeds.push_back(address);
        }
    }

    /// Adds a node to begin with, or one that `source` named.
    pub(super) fn add(&mut self, node: Node, source: Option<SocketAddr>) -> bool {
        let by = source.and_then(|source| {
            let is_it = |known: &&Candidate| known.node.address == source;
            self.candidates.iter().find(is_it)
        });
        let (hops, line) = by.map_or((1, self.lines), |by| (by.hops + 1, by.line));
        let local = source.is_none_or(|source| is_local(source.ip()));
        let (from, host) = (source.map(host), host(node.address));
        if Family::of(node.address) != self.family
            || node.id == self.own
            || !is_believable(node.address, local)
        {
            return false;
        }
        if let Some(at) = self.candidates.iter().position(|known| known.host == host) {
            let known = &mut self.candidates[at];
            if known.source != from {
                known.source = None;
            }
            // A failed candidate does not block another id at its address.
            if known.phase != Phase::Failed || known.node == node {
                return false;
            }
            self.candidates.remove(at);
        }
        let network = network(node.address.ip());
        let neighbours = self.candidates.iter().filter(|known| {
            network.is_some() && known.network == network && known.phase != Phase::Failed
        });
        if neighbours.count() >= MOST_OF_A_NETWORK {
            return false;
        }
        let new = Candidate {
            node,
            host,
            network,
            valid: security::is_valid(&node.id, node.address.ip()),
            source: from,
            hops,
            line,
            phase: Phase::New,
        };
        if line == self.lines {
            self.lines += 1;
        }
        self.insert(new);
        true
    }

    fn insert(&mut self, new: Candidate) {
        let distance = new.node.id.distance(&self.target);
        let at = self
            .candidates
            .partition_point(|known| known.node.id.distance(&self.target) < distance);
        self.candidates.insert(at, new);
        if self.candidates.len() > MOST_CANDIDATES {
            self.make_room();
        }
    }

    /// Drops an idle candidate: the farthest one of the largest line, so that liars, who name nearer places than other
    /// nodes, displace each other and not the starting nodes.
    fn make_room(&mut self) {
        let mut sizes = vec![0; self.lines];
        let idle = |known: &Candidate| matches!(known.phase, Phase::New | Phase::Failed);
        for known in self.candidates.iter().filter(|known| idle(known)) {
            if let Some(size) = sizes.get_mut(known.line) {
                *size += 1;
            }
        }
        let most = (0..self.lines).max_by_key(|line| sizes.get(*line).copied());
        let at = self
            .candidates
            .iter()
            .rposition(|known| idle(known) && most == Some(known.line));
        if let Some(at) = at {
            self.candidates.remove(at);
        }
    }

    /// The next thing to do. [`Next::Ask`] counts as done.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        if now.saturating_duration_since(self.started) >= MOST_TIME {
            return Next::Done;
        }
        let fresh = |asked: Instant| now.saturating_duration_since(asked) < STALL;
        let asked = self
            .candidates
            .iter()
            .filter_map(|known| match known.phase {
                Phase::Asked(at) => Some(at),
                _ => None,
            });
        let under_way: Vec<Instant> = asked
            .chain(self.seeds_asked.values().copied())
            .filter(|at| fresh(*at))
            .collect();
        if under_way.len() < PARALLEL
            && self.cost.asked < MOST_ASKED
            && let Some(address) = self.pick(now)
        {
            self.cost.asked += 1;
            return Next::Ask(address);
        }
        match under_way.iter().min() {
            Some(first) => Next::Wait(*first + STALL),
            None => Next::Done,
        }
    }

    fn pick(&mut self, now: Instant) -> Option<SocketAddr> {
        let blamed = self.blamed(now);
        // The two frontiers take turns, so that neither can starve the other. When many nodes are silent, some node is
        // naming ever nearer places where none is; then a line without such nodes takes its turn, too.
        self.turn = (self.turn + 1) % 3;
        let (bound, least_silent_line) = (self.turn == 1, self.turn == 0);
        let picked = self
            .frontier(bound, &blamed)
            .or_else(|| self.frontier(!bound, &blamed))
            .map(|at| {
                least_silent_line
                    .then(|| self.least_silent_line(now))
                    .flatten()
                    .unwrap_or(at)
            })
            .or_else(|| self.last_resort());
        if let Some(at) = picked {
            self.candidates[at].phase = Phase::Asked(now);
            return Some(self.candidates[at].node.address);
        }
        let seed = self.seeds.pop_front()?;
        self.seeds_asked.insert(seed, now);
        Some(seed)
    }

    /// The nearest candidate to query, if fewer than eight nearer ones have answered.
    fn frontier(&self, bound: bool, blamed: &[Host]) -> Option<usize> {
        let mut answered = 0;
        for (at, known) in self.candidates.iter().enumerate() {
            if bound && !known.valid {
                continue;
            }
            match known.phase {
                Phase::Answered(_) => answered += 1,
                Phase::New if !known.source.is_some_and(|by| blamed.contains(&by)) => {
                    return Some(at);
                }
                _ => {}
            }
            if answered >= NEAREST {
                return None;
            }
        }
        None
    }

    /// If many nodes are silent: the nearest candidate to query of the line with the fewest silent nodes.
    fn least_silent_line(&self, now: Instant) -> Option<usize> {
        let mut silent = vec![0; self.lines];
        for known in self.candidates.iter().filter(|known| known.is_silent(now)) {
            *silent.get_mut(known.line)? += 1;
        }
        if silent.iter().sum::<usize>() < TROUBLE {
            return None;
        }
        let candidates = self.candidates.iter().enumerate();
        // Of equals the first one, which is the nearest.
        let new = candidates.filter(|(_, known)| known.phase == Phase::New && known.valid);
        new.min_by_key(|(_, known)| silent.get(known.line).copied())
            .map(|(at, _)| at)
    }

    /// While too few nodes have answered: a candidate that was named by a blamed host.
    fn last_resort(&self) -> Option<usize> {
        let answered = |known: &&Candidate| matches!(known.phase, Phase::Answered(_));
        let few = self.candidates.iter().filter(answered).count() < NEAREST;
        few.then(|| self.frontier(false, &[])).flatten()
    }

    /// Hosts that have named several silent nodes.
    fn blamed(&self, now: Instant) -> Vec<Host> {
        let mut counts: BTreeMap<Host, usize> = BTreeMap::new();
        for known in &self.candidates {
            if let (true, Some(by)) = (known.is_silent(now), known.source) {
                *counts.entry(by).or_default() += 1;
            }
        }
        counts
            .into_iter()
            .filter_map(|(by, count)| (count >= BLAME).then_some(by))
            .collect()
    }

    /// Records the answer of a node, and adds the nodes it named. The peers it named are handled by the caller.
    pub(super) fn answered(
        &mut self,
        from: Node,
        token: Option<AnnounceToken>,
        named: &[Node],
        found: bool,
    ) {
        let at = self
            .candidates
            .iter()
            .position(|known| known.node.address == from.address);
        self.seeds_asked.remove(&from.address);
        let (hops, source, line) = at.map_or((1, None, self.lines), |at| {
            let known = &self.candidates[at];
            (known.hops, known.source, known.line)
        });
        let misnamed = at.is_some_and(|at| self.candidates[at].node.id != from.id);
        match at {
            // Its id differs from the one that was named: it is sorted in under its own id.
            Some(at) if misnamed => {
                self.candidates.remove(at);
            }
            Some(at) => self.candidates[at].phase = Phase::Answered(token.clone()),
            None => {}
        }
        if at.is_none() || misnamed {
            let known = |known: &Candidate| known.node.id == from.id;
            if from.id == self.own || self.candidates.iter().any(known) {
                return;
            }
            if line == self.lines {
                self.lines += 1;
            }
            self.insert(Candidate {
                node: from,
                host: host(from.address),
                network: network(from.address.ip()),
                valid: security::is_valid(&from.id, from.address.ip()),
                source,
                hops,
                line,
                phase: Phase::Answered(token),
            });
        }
        self.cost.answered += 1;
        if found && self.cost.hops.is_none() {
            self.cost.hops = Some(hops);
        }
        for node in named.iter().take(MOST_OF_ONE) {
            self.add(*node, Some(from.address));
        }
    }

    /// Records that a node did not answer, or refused.
    pub(super) fn failed(&mut self, address: SocketAddr) {
        self.seeds_asked.remove(&address);
        for known in &mut self.candidates {
            if known.node.address == address && matches!(known.phase, Phase::Asked(_)) {
                known.phase = Phase::Failed;
            }
        }
    }

    /// The nodes to announce to, with their tokens: the eight nearest that answered, and the eight nearest of those
    /// whose ids are bound to their addresses.
    pub(super) fn announce_to(&self) -> Vec<(SocketAddr, AnnounceToken)> {
        let mut chosen: BTreeMap<SocketAddr, AnnounceToken> = BTreeMap::new();
        for bound in [false, true] {
            let answered = self
                .candidates
                .iter()
                .filter_map(|known| match &known.phase {
                    Phase::Answered(Some(token)) if known.valid || !bound => {
                        Some((known.node.address, token.clone()))
                    }
                    _ => None,
                });
            chosen.extend(answered.take(NEAREST));
        }
        chosen.into_iter().collect()
    }
}
