//! One lookup: asks ever nearer nodes, a few at a time, until the nearest have answered.
//!
//! Whoever answers names others, and may invent them. So the candidates are bounded, one host counts once and a
//! network twice, whoever named several that do not answer is believed last, and besides the eight nearest nodes the
//! eight nearest whose ids are bound to their addresses (BEP 42) are sought: who invents ids can crowd the first,
//! but not the second.

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
/// Questions under way.
const PARALLEL: usize = 4;
/// Candidates that are remembered.
const MOST_CANDIDATES: usize = 160;
/// Candidates that one answer may add.
const MOST_OF_ONE: usize = 8;
/// Candidates of one network at a time.
const MOST_OF_A_NETWORK: usize = 2;
/// Who named so many that do not answer is believed last.
const BLAME: usize = 3;
/// With so many silent nodes a lookup also goes on where most answer. A fifth of all nodes is gone at any time, of
/// whom a lookup meets less than this.
const TROUBLE: usize = 10;
/// Questions in all.
const MOST_ASKED: usize = 160;
/// Time in all.
const MOST_TIME: Duration = Duration::from_secs(40);

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// Ask a node.
    Ask(SocketAddr),
    /// Wait for answers, at most until then.
    Wait(Instant),
    /// The nearest have answered, or nobody is left.
    Done,
}

/// What a lookup cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LookupCost {
    /// Questions asked.
    pub asked: usize,
    /// Answers.
    pub answered: usize,
    /// Questions in a row that led to the first peer.
    pub hops: Option<usize>,
}

/// One lookup in one family.
pub(super) struct Lookup {
    own: Id,
    pub(super) target: Id,
    pub(super) family: Family,
    /// By distance from the target.
    candidates: Vec<Candidate>,
    /// Addresses whose ids nobody told us.
    seeds: VecDeque<SocketAddr>,
    seeds_asked: BTreeMap<SocketAddr, Instant>,
    started: Instant,
    /// Whose turn it is to choose.
    turn: usize,
    /// Nodes that we began with.
    lines: usize,
    pub(super) cost: LookupCost,
}

impl Lookup {
    /// `own`: our id in that family.
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

    /// An address to begin at.
    pub(super) fn seed(&mut self, address: SocketAddr) {
        let known = self.seeds.contains(&address) || self.seeds_asked.contains_key(&address);
        if Family::of(address) == self.family && !known && self.seeds.len() < MOST_CANDIDATES {
            self.seeds.push_back(address);
        }
    }

    /// A node to begin at, or one that `source` named.
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
            // A name that led nowhere does not stand in the way of another.
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

    /// Forgets a candidate that nobody waits for: the farthest of the line that has most, so that liars, who name
    /// nearer places than anybody, displace each other and not those whom we began with.
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

    /// What to do now. [`Next::Ask`] counts as done.
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
        // Both frontiers in turn, so that neither can starve the other; and when many are silent, somebody names ever
        // nearer places where nobody is, and who names none has its turn too.
        self.turn = (self.turn + 1) % 3;
        let (bound, trusty) = (self.turn == 1, self.turn == 0);
        let picked = self
            .frontier(bound, &blamed)
            .or_else(|| self.frontier(!bound, &blamed))
            .map(|at| trusty.then(|| self.trusty(now)).flatten().unwrap_or(at))
            .or_else(|| self.last_resort());
        if let Some(at) = picked {
            self.candidates[at].phase = Phase::Asked(now);
            return Some(self.candidates[at].node.address);
        }
        let seed = self.seeds.pop_front()?;
        self.seeds_asked.insert(seed, now);
        Some(seed)
    }

    /// The nearest candidate to ask, if fewer than eight nearer ones have answered.
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

    /// In trouble: the nearest candidate to ask of the line with the fewest silent nodes.
    fn trusty(&self, now: Instant) -> Option<usize> {
        let mut silent = vec![0; self.lines];
        for known in self.candidates.iter().filter(|known| known.is_silent(now)) {
            *silent.get_mut(known.line)? += 1;
        }
        if silent.iter().sum::<usize>() < TROUBLE {
            return None;
        }
        let candidates = self.candidates.iter().enumerate();
        // Of equals the first, which is the nearest.
        let new = candidates.filter(|(_, known)| known.phase == Phase::New && known.valid);
        new.min_by_key(|(_, known)| silent.get(known.line).copied())
            .map(|(at, _)| at)
    }

    /// While too few have answered, those too whom nobody believes.
    fn last_resort(&self) -> Option<usize> {
        let answered = |known: &&Candidate| matches!(known.phase, Phase::Answered(_));
        let few = self.candidates.iter().filter(answered).count() < NEAREST;
        few.then(|| self.frontier(false, &[])).flatten()
    }

    /// Hosts that named several nodes which do not answer.
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

    /// A node answered; what it named is added. Peers that it named are not looked at here.
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
            // Nearer or farther than it was said to be: under its own id it stands where it belongs.
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

    /// A node did not answer, or refused.
    pub(super) fn failed(&mut self, address: SocketAddr) {
        self.seeds_asked.remove(&address);
        for known in &mut self.candidates {
            if known.node.address == address && matches!(known.phase, Phase::Asked(_)) {
                known.phase = Phase::Failed;
            }
        }
    }

    /// The nodes to announce to, with what they granted: the eight nearest that answered, and the eight nearest of
    /// those whose ids are bound to their addresses.
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
