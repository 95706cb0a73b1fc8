//! The addresses of one channel: their sources, their results, and when to dial them again. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bitchat_wire::identity::IdentityId;
use libp2p_identity::PeerId;

use super::Provenance;
use crate::transport::Target;

/// Addresses kept per channel. A mesh has at most a hundred members with a few addresses each.
pub(super) const MAX_CANDIDATES: usize = 256;
/// Addresses of strangers that are remembered so as not to be dialled.
const MAX_STRANGERS: usize = 256;
/// Sources that are counted: a file names at most 64 trackers.
const MAX_TALLIES: usize = 128;
/// How long a stranger's address is not dialled.
pub(super) const STRANGER_TIME: Duration = Duration::from_secs(30 * 60);
/// The pause after the first failure; it doubles with each further one.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// The longest pause between dials for a lost member: together with the pauses within a dial, at most 4 s pass without
/// a packet.
pub(super) const LOST_PAUSE: Duration = Duration::from_secs(1);
/// As [`LOST_PAUSE`], for a circuit: a relay answers at once, and limits how many requests it accepts.
const LOST_CIRCUIT_PAUSE: Duration = Duration::from_secs(4);
/// How long a lost member is dialled that often.
pub(super) const LOST_TIME: Duration = Duration::from_secs(600);
/// After this many failures in a row an address is dropped, unless it is named again.
pub(super) const MAX_FAILURES: u32 = 8;

/// What happens with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be dialled at this time.
    Waiting(Instant),
    /// Being dialled.
    Dialling,
    /// A connection was handed over; its outcome must be reported by this time.
    Reached(Instant),
    /// A member is linked there.
    Linked(PeerId),
}

/// An address at which a member may be.
pub(super) struct Candidate {
    pub(super) source: Provenance,
    /// The peer that is there, if a member named it.
    pub(super) expected: Option<PeerId>,
    /// Whether some source named the address without a PeerId.
    pub(super) open: bool,
    pub(super) phase: Phase,
    /// Since when the address is wanted.
    pub(super) since: Instant,
    /// Failures in a row.
    pub(super) failures: u32,
    pub(super) successes: u32,
    /// Whether it was named since the last failure.
    named: bool,
    /// The member whose link there was lost, and until when the address is dialled often.
    lost: Option<(IdentityId, Instant)>,
}

/// The preference of an address: lower is better.
type Rank = (bool, bool, u32, bool, u8);

impl Candidate {
    /// Whether a refusal does not yet prove a stranger: a member was there, or the user or another member named the
    /// address. A first refusal is always forgiven, since a member that has only just started, or that is answering too
    /// many others, refuses us as a stranger would.
    pub(super) fn is_trusted(&self) -> bool {
        self.successes > 0
            || self.expected.is_some()
            || self.failures == 0
            || matches!(self.source, Provenance::Hand | Provenance::Cache)
    }

    fn new(source: Provenance, expected: Option<PeerId>, now: Instant, at: Instant) -> Self {
        Self {
            source,
            expected,
            open: expected.is_none(),
            phase: Phase::Waiting(at),
            since: now,
            failures: 0,
            successes: 0,
            named: false,
            lost: None,
        }
    }

    /// Lost members come first, then addresses that have worked, then those with the fewest failures, then direct ones,
    /// then the better source.
    pub(super) fn rank(&self, target: &Target, now: Instant) -> Rank {
        let source = match self.source {
            Provenance::Hand => 0,
            Provenance::Cache => 1,
            Provenance::Pex => 2,
            // Only those who have the channel's key register there.
            Provenance::Relay => 3,
            // Near, and only members can recognise each other there.
            Provenance::Lan => 3,
            Provenance::Tracker(_) => 4,
            // Anybody may name anything there.
            Provenance::Dht => 5,
            Provenance::Incoming => 6,
        };
        (
            !self.is_lost(now),
            self.successes == 0,
            self.failures,
            target.is_circuit(),
            source,
        )
    }

    fn is_lost(&self, now: Instant) -> bool {
        self.lost.is_some_and(|(_, until)| now < until)
    }

    /// When it is to be dialled; `None` while something is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting(at) => Some(at),
            _ => None,
        }
    }
}

/// The links to one peer.
pub(super) struct Up {
    identity: IdentityId,
    links: usize,
    /// Links among them that go through no relay.
    direct: usize,
}

/// What a source has led to in this run.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Distinct addresses that it was the first to name.
    pub(super) addresses: usize,
    /// Addresses among them that failed and have not been reached since.
    pub(super) failed: usize,
    /// Links made through them.
    pub(super) linked: usize,
    /// When it last named an address; for a source that is not asked, when an address from it last led to a link.
    pub(super) last: Option<Instant>,
    /// When the next of its addresses is dialled.
    pub(super) next: Option<Instant>,
}

/// The tallies of all sources of a channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Tallies {
    pub(super) cache: Tally,
    pub(super) hand: Tally,
    pub(super) pex: Tally,
    pub(super) dht: Tally,
    pub(super) lan: Tally,
    pub(super) relay: Tally,
    /// By the tracker's URL.
    pub(super) trackers: HashMap<String, Tally>,
    /// Links that are up.
    pub(super) links: usize,
}

/// The addresses and links of one channel.
#[derive(Default)]
pub(super) struct Book {
    tallies: HashMap<Provenance, Tally>,
    pub(super) candidates: HashMap<Target, Candidate>,
    strangers: HashMap<Target, Instant>,
    /// Links that are up, by peer.
    pub(super) linked: HashMap<PeerId, Up>,
    /// Lost members, and until when their addresses are dialled often.
    pub(super) lost: HashMap<IdentityId, Instant>,
}

impl Book {
    /// Adds an address, to be dialled at `at`. A known one keeps its pauses, so that naming it again does not make us
    /// dial more often.
    pub(super) fn name(
        &mut self,
        address: Target,
        source: Provenance,
        expected: Option<PeerId>,
        now: Instant,
        at: Instant,
    ) {
        if matches!(source, Provenance::Hand) {
            self.strangers.remove(&address);
        } else if self
            .strangers
            .get(&address)
            .is_some_and(|&until| now < until)
        {
            return;
        }
        let counts = matches!(
            source,
            Provenance::Tracker(_)
                | Provenance::Dht
                | Provenance::Lan
                | Provenance::Relay
                | Provenance::Pex
        );
        if counts && let Some(tally) = self.tally(&source) {
            tally.last = Some(now);
        }
        if let Some(known) = self.candidates.get_mut(&address) {
            known.named = true;
            known.open |= expected.is_none();
            if expected.is_some() {
                known.expected = expected;
            }
            // A user who enters an address wants it dialled now.
            if let (Provenance::Hand, Phase::Waiting(due)) = (&source, &mut known.phase) {
                *due = (*due).min(at);
                known.source = source;
                known.failures = 0;
            }
            return;
        }
        let new = Candidate::new(source, expected, now, at);
        if self.candidates.len() >= MAX_CANDIDATES && !self.make_room(address, &new, now) {
            return;
        }
        if let Some(tally) = self.tally(&new.source) {
            tally.addresses += 1;
        }
        self.candidates.insert(address, new);
    }

    /// The tally of a source, unless too many sources are counted already.
    fn tally(&mut self, source: &Provenance) -> Option<&mut Tally> {
        let is_known = self.tallies.contains_key(source);
        (is_known || self.tallies.len() < MAX_TALLIES)
            .then(|| self.tallies.entry(source.clone()).or_default())
    }

    /// The tallies of all sources.
    pub(super) fn tallies(&self) -> Tallies {
        let mut tallies = self.tallies.clone();
        let mut alive: HashMap<&Provenance, usize> = HashMap::new();
        for candidate in self.candidates.values() {
            if candidate.failures == 0 {
                *alive.entry(&candidate.source).or_default() += 1;
            }
            if let (Some(due), Some(tally)) = (candidate.due(), tallies.get_mut(&candidate.source))
            {
                tally.next = Some(tally.next.map_or(due, |next| next.min(due)));
            }
        }
        for (source, tally) in &mut tallies {
            // Addresses that were dropped have failed, too.
            tally.failed = tally
                .addresses
                .saturating_sub(alive.get(source).copied().unwrap_or_default());
        }
        let mut take = |source: &Provenance| tallies.remove(source).unwrap_or_default();
        Tallies {
            cache: take(&Provenance::Cache),
            hand: take(&Provenance::Hand),
            pex: take(&Provenance::Pex),
            dht: take(&Provenance::Dht),
            lan: take(&Provenance::Lan),
            relay: take(&Provenance::Relay),
            links: self.linked.values().map(|up| up.links).sum(),
            trackers: tallies
                .into_iter()
                .filter_map(|(source, tally)| match source {
                    Provenance::Tracker(url) => Some((url, tally)),
                    _ => None,
                })
                .collect(),
        }
    }

    /// Makes room for a new address by dropping the worst idle one, if that is worse than the new one.
    fn make_room(&mut self, address: Target, new: &Candidate, now: Instant) -> bool {
        let worst = self
            .candidates
            .iter()
            .filter(|(_, candidate)| candidate.due().is_some())
            .max_by_key(|(address, candidate)| (candidate.rank(address, now), **address))
            .map(|(address, candidate)| (*address, candidate.rank(address, now)));
        match worst {
            Some((worst, rank)) if rank > new.rank(&address, now) => {
                self.candidates.remove(&worst);
                true
            }
            _ => false,
        }
    }

    /// Schedules the next dial after a failure. `jitter` is in 0..=1.
    pub(super) fn failed(&mut self, address: Target, now: Instant, jitter: f64) {
        let Some(candidate) = self.candidates.get_mut(&address) else {
            return;
        };
        candidate.failures = candidate.failures.saturating_add(1);
        let lost = candidate.is_lost(now);
        let longest = match lost {
            true if address.is_circuit() => LOST_CIRCUIT_PAUSE,
            true => LOST_PAUSE,
            false => LONGEST_PAUSE,
        };
        let last_try = candidate.failures >= MAX_FAILURES && !lost;
        let pause = if last_try {
            // Whether the address is dropped is decided at the end of this pause, in `expire`.
            LONGEST_PAUSE
        } else {
            let doubled = FIRST_PAUSE.saturating_mul(1 << (candidate.failures - 1).min(10));
            // Half of it is random, so that the members of a mesh do not dial in step.
            doubled
                .min(longest)
                .mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
        };
        candidate.named = false;
        candidate.phase = Phase::Waiting(now + pause);
    }

    /// Drops an address that is due, has failed too often and was not named since; returns whether it was dropped.
    pub(super) fn expire(&mut self, address: Target, now: Instant) -> bool {
        let gone = self.candidates.get(&address).is_some_and(|candidate| {
            candidate.failures >= MAX_FAILURES && !candidate.named && !candidate.is_lost(now)
        });
        if gone {
            self.candidates.remove(&address);
        }
        gone
    }

    /// Does not dial a stranger's address for a while.
    pub(super) fn shun(&mut self, address: Target, now: Instant) {
        self.candidates.remove(&address);
        if self.strangers.len() >= MAX_STRANGERS {
            self.strangers.retain(|_, until| now < *until);
        }
        if self.strangers.len() >= MAX_STRANGERS
            && let Some(oldest) = self.strangers.iter().min_by_key(|(_, until)| **until)
        {
            let oldest = *oldest.0;
            self.strangers.remove(&oldest);
        }
        self.strangers.insert(address, now + STRANGER_TIME);
    }

    /// Records a new link with a member.
    pub(super) fn linked(
        &mut self,
        identity: IdentityId,
        peer: PeerId,
        address: Target,
        dialled: bool,
        now: Instant,
    ) {
        self.found_again(identity, peer);
        self.strangers.remove(&address);
        let up = self.linked.entry(peer).or_insert(Up {
            identity,
            links: 0,
            direct: 0,
        });
        up.links += 1;
        up.direct += usize::from(!address.is_circuit());
        let source = if dialled {
            Provenance::Cache
        } else {
            Provenance::Incoming
        };
        self.name(address, source, None, now, now);
        let found = self
            .candidates
            .get(&address)
            .map(|known| known.source.clone());
        if dialled && let Some(tally) = found.and_then(|source| self.tally(&source)) {
            tally.linked += 1;
            tally.last = Some(now);
        }
        if let Some(candidate) = self.candidates.get_mut(&address) {
            candidate.phase = Phase::Linked(peer);
            candidate.failures = 0;
            // A connection from an address does not prove that the peer can be reached there.
            candidate.successes = candidate.successes.saturating_add(u32::from(dialled));
        }
    }

    /// Ends the search for a lost member that is linked again. Its other addresses are no longer urgent, and circuits
    /// to its former run are dropped: otherwise they would be requested again and again, at relays that accept only so
    /// many requests.
    fn found_again(&mut self, identity: IdentityId, now_as: PeerId) {
        self.lost.remove(&identity);
        self.candidates.retain(|target, candidate| {
            let was_lost = candidate.lost.is_some_and(|(whose, _)| whose == identity);
            if was_lost {
                candidate.lost = None;
            }
            let ended = matches!(target, Target::Circuit { peer, .. } if *peer != now_as);
            !was_lost || !ended || candidate.due().is_none()
        });
    }

    /// Records the end of a link. Unless another link to the same peer or member is up, its addresses are dialled at
    /// once.
    pub(super) fn unlinked(
        &mut self,
        identity: IdentityId,
        peer: PeerId,
        address: Target,
        now: Instant,
    ) {
        if let Some(up) = self.linked.get_mut(&peer) {
            up.links -= 1;
            up.direct = up.direct.saturating_sub(usize::from(!address.is_circuit()));
            if up.links > 0 {
                return;
            }
            self.linked.remove(&peer);
        }
        self.name(address, Provenance::Incoming, None, now, now);
        let until = now + LOST_TIME;
        let alone = self.linked.values().all(|up| up.identity != identity);
        for candidate in self
            .candidates
            .iter_mut()
            .filter(|(other, candidate)| {
                candidate.phase == Phase::Linked(peer)
                    || (**other == address && candidate.due().is_some())
            })
            .map(|(_, candidate)| candidate)
        {
            candidate.phase = Phase::Waiting(now);
            candidate.since = now;
            candidate.failures = 0;
            // It may come back as another peer: PeerIds last for one run.
            candidate.expected = None;
            candidate.lost = alone.then_some((identity, until));
        }
        // What failed while it was not needed may be the way back.
        for candidate in self.candidates.values_mut() {
            if candidate.expected == Some(peer) && candidate.due().is_some() {
                candidate.phase = Phase::Waiting(now);
                candidate.failures = 0;
            }
        }
        if alone && self.lost.len() < MAX_CANDIDATES {
            self.lost.insert(identity, until);
        }
    }

    /// Whether members are missing, as far as we know.
    pub(super) fn is_lonely(&mut self, now: Instant) -> bool {
        self.lost.retain(|_, until| now < *until);
        self.linked.is_empty() || !self.lost.is_empty()
    }

    /// The peer expected at an address, if it is linked already, so that no dial is needed. A peer that is linked only
    /// through relays is still dialled at direct addresses.
    pub(super) fn is_covered(&self, target: &Target, candidate: &Candidate) -> Option<PeerId> {
        let covers = |up: &Up| up.direct > 0 || target.is_circuit();
        candidate
            .expected
            .filter(|peer| self.linked.get(peer).is_some_and(covers))
    }
}
