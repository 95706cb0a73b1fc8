//! The state machine that decides which addresses to dial. Pure: the clock and the random generator are passed in.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bitchat_wire::{channel::ChannelId, identity::IdentityId};
use libp2p_identity::PeerId;
use rand::{Rng, RngExt};

use super::{
    Outcome, Provenance, Sighting,
    book::{Book, Candidate, Phase, Tallies},
    budget::{Budget, Room},
};
use crate::transport::{DialError, Target, network::is_plausible};

/// The time within which the outcome of a [`Effect::Reached`] connection must be reported. A handshake has 10 s.
pub(super) const OUTCOME_TIME: Duration = Duration::from_secs(20);
/// How long the higher of two PeerIds waits for the dial of the lower one, if both know of each other.
pub(super) const HIGHER_WAITS: Duration = Duration::from_secs(1);
/// As [`HIGHER_WAITS`], for a circuit learned from a member. Shorter, because a newcomer learns of the others about a
/// second before they learn of it.
const HIGHER_WAITS_CIRCUIT: Duration = Duration::from_millis(400);
/// How long a circuit waits for the direct addresses that were named with it.
const CIRCUIT_WAITS: Duration = Duration::from_millis(400);
/// How often the sources are asked while members are missing; they keep to limits of their own.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// How long an address that led to ourselves is not dialled. It is short because addresses change hands: after we have
/// used a member's address for a while, that member must be found there again.
const OWN_TIME: Duration = Duration::from_secs(60);
/// Own addresses that are remembered.
const MAX_OWN: usize = 64;

/// An input of the state machine.
#[derive(Debug)]
pub(super) enum Input {
    /// A channel wants members.
    Want(ChannelId),
    /// A channel is not wanted any more.
    Forget(ChannelId),
    /// Addresses at which an earlier run reached members, the latest success first.
    Cached(ChannelId, Vec<SocketAddr>),
    /// A source named addresses.
    Sighted(ChannelId, Sighting),
    /// The outcome of a connection or link was reported.
    Outcome(ChannelId, Outcome),
    /// A dial ended.
    Dialled(Target, Result<PeerId, DialError>),
    /// The peer at this address is trying to reach us, so that a dial may get through now.
    Knocked(SocketAddr),
    /// The network has changed: what failed may work now, and the dials under way left over the old network.
    Moved,
    /// Time has passed.
    Tick,
}

/// What the actor must do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Dial an address, where only that peer is accepted, if one is given. The result is expected as
    /// [`Input::Dialled`].
    Dial(Target, Option<PeerId>),
    /// Give up a dial. No result is expected.
    GiveUp(Target),
    /// Hand the connection of the dial that just ended to a channel.
    Reached {
        cid: ChannelId,
        address: Target,
        source: Provenance,
        took: Duration,
    },
    /// Ask a channel's sources.
    Announce(ChannelId),
    /// Store an address for the next run.
    Remember(ChannelId, IdentityId, SocketAddr),
}

/// A channel that wants members.
pub(super) struct Channel {
    pub(super) book: Book,
    /// When its sources were last asked.
    asked: Instant,
}

/// The candidates of all channels, and the dials under way.
pub(super) struct State {
    own: PeerId,
    own_addresses: HashMap<Target, Instant>,
    pub(super) channels: HashMap<ChannelId, Channel>,
    pub(super) budget: Budget,
}

impl State {
    /// A state without channels. `own` is our PeerId.
    pub(super) fn new(own: PeerId) -> Self {
        Self {
            own,
            own_addresses: HashMap::new(),
            channels: HashMap::new(),
            budget: Budget::new(),
        }
    }

    /// Handles an input and returns what must be done.
    pub(super) fn handle(&mut self, input: Input, now: Instant, rng: &mut impl Rng) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Want(cid) => {
                self.channels.entry(cid).or_insert_with(|| Channel {
                    book: Book::default(),
                    asked: now,
                });
            }
            Input::Forget(cid) => self.forget(cid, &mut effects),
            Input::Cached(cid, addresses) => {
                for address in addresses.into_iter().map(Target::Direct) {
                    self.name(cid, address, Provenance::Cache, None, now, now);
                }
            }
            Input::Sighted(cid, sighting) => self.sighted(cid, &sighting, now),
            Input::Outcome(cid, outcome) => self.outcome(cid, &outcome, now, rng, &mut effects),
            Input::Dialled(address, result) => {
                self.dialled(address, &result, now, rng, &mut effects)
            }
            Input::Knocked(address) => {
                let channels = self.channels.values_mut();
                let there = Target::Direct(address);
                for candidate in channels.filter_map(|one| one.book.candidates.get_mut(&there)) {
                    if let Phase::Waiting(at) = &mut candidate.phase {
                        *at = (*at).min(now);
                    }
                }
            }
            Input::Moved => self.moved(now, &mut effects),
            Input::Tick => {}
        }
        self.overdue(now, rng);
        self.launch(now, &mut effects);
        self.ask(now, &mut effects);
        effects
    }

    /// When to call with [`Input::Tick`], if no other input comes first.
    pub(super) fn next(&mut self, now: Instant) -> Option<Instant> {
        let room = self.room(now);
        let dials = &self.budget.dials;
        self.channels
            .values_mut()
            .flat_map(|channel| {
                let asks = channel
                    .book
                    .is_lonely(now)
                    .then_some(channel.asked + ASK_AGAIN);
                let moments = channel
                    .book
                    .candidates
                    .iter()
                    .filter_map(|(address, candidate)| {
                        match candidate.phase {
                            // While another channel dials the same address, the end of that dial wakes us.
                            Phase::Waiting(_) if dials.contains_key(address) => None,
                            Phase::Waiting(at) => match room {
                                Room::For(_) => Some(at),
                                Room::At(then) => Some(at.max(then)),
                                Room::None => None,
                            },
                            Phase::Reached(until) => Some(until),
                            Phase::Dialling | Phase::Linked(_) => None,
                        }
                    });
                asks.into_iter().chain(moments)
            })
            .min()
    }

    fn room(&self, now: Instant) -> Room {
        let candidates = self
            .channels
            .values()
            .flat_map(|channel| channel.book.candidates.values());
        let reached = candidates.filter_map(|candidate| match candidate.phase {
            // The connection was handed over this long before the deadline.
            Phase::Reached(until) => until.checked_sub(OUTCOME_TIME),
            _ => None,
        });
        self.budget.room(reached, now)
    }

    /// The number of addresses that are not linked, and of those being dialled; `None` for a channel that is not
    /// wanted.
    pub(super) fn counts(&self, cid: ChannelId) -> Option<(usize, usize)> {
        let candidates = &self.channels.get(&cid)?.book.candidates;
        let of = |which: fn(Phase) -> bool| candidates.values().filter(|c| which(c.phase)).count();
        Some((
            of(|phase| !matches!(phase, Phase::Linked(_))),
            of(|phase| phase == Phase::Dialling),
        ))
    }

    fn moved(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (address, _) in self.budget.dials.drain() {
            effects.push(Effect::GiveUp(address));
        }
        for channel in self.channels.values_mut() {
            for candidate in channel.book.candidates.values_mut() {
                if matches!(candidate.phase, Phase::Waiting(_) | Phase::Dialling) {
                    candidate.phase = Phase::Waiting(now);
                    candidate.failures = 0;
                }
            }
        }
    }

    /// The tallies of a channel's sources; `None` for a channel that is not wanted.
    pub(super) fn tallies(&self, cid: ChannelId) -> Option<Tallies> {
        Some(self.channels.get(&cid)?.book.tallies())
    }

    /// Whether a member that has not been reached may be at this address.
    pub(super) fn is_sought(&self, address: SocketAddr) -> bool {
        let there = Target::Direct(address);
        self.channels.values().any(|channel| {
            let candidate = channel.book.candidates.get(&there);
            candidate.is_some_and(|candidate| matches!(candidate.phase, Phase::Waiting(_)))
        })
    }

    fn forget(&mut self, cid: ChannelId, effects: &mut Vec<Effect>) {
        self.channels.remove(&cid);
        effects.extend(self.budget.forget(cid).into_iter().map(Effect::GiveUp));
    }

    fn name(
        &mut self,
        cid: ChannelId,
        address: Target,
        source: Provenance,
        expected: Option<PeerId>,
        now: Instant,
        at: Instant,
    ) {
        let address = address.canonical();
        let own = self
            .own_addresses
            .get(&address)
            .is_some_and(|&until| now < until);
        if own || !address.is_plausible() {
            return;
        }
        if let Some(channel) = self.channels.get_mut(&cid) {
            channel.book.name(address, source, expected, now, at);
        }
    }

    fn sighted(&mut self, cid: ChannelId, sighting: &Sighting, now: Instant) {
        if sighting.peer == Some(self.own) {
            return;
        }
        // Of two peers that know of each other, the lower one dials, so that they do not dial at the same time.
        let waits = sighting.peer.is_some_and(|peer| self.own > peer);
        let from_member = matches!(sighting.source, Provenance::Pex);
        // An address that the user entered is not questioned.
        let local = sighting.local || matches!(sighting.source, Provenance::Hand);
        // A relay is for where nothing else works, so direct addresses get a head start.
        let only_circuits = sighting.addresses.iter().all(Target::is_circuit);
        for &address in &sighting.addresses {
            let circuit = address.is_circuit();
            let mut at = now;
            if waits {
                at += if circuit && from_member {
                    HIGHER_WAITS_CIRCUIT
                } else {
                    HIGHER_WAITS
                };
            }
            if circuit && !only_circuits {
                at += CIRCUIT_WAITS;
            }
            if address.is_believable(local) {
                self.name(
                    cid,
                    address,
                    sighting.source.clone(),
                    sighting.peer,
                    now,
                    at,
                );
            }
        }
    }

    fn outcome(
        &mut self,
        cid: ChannelId,
        outcome: &Outcome,
        now: Instant,
        rng: &mut impl Rng,
        effects: &mut Vec<Effect>,
    ) {
        let Some(channel) = self.channels.get_mut(&cid) else {
            return;
        };
        let book = &mut channel.book;
        match *outcome {
            Outcome::Linked {
                identity,
                peer,
                address,
                dialled,
            } => {
                let address = address.canonical();
                let phase = book.candidates.get(&address).map(|known| known.phase);
                book.linked(identity, peer, address, dialled, now);
                if let Some(Phase::Reached(until)) = phase {
                    self.budget
                        .took(OUTCOME_TIME.saturating_sub(until.saturating_duration_since(now)));
                }
                // A circuit leads to a PeerId, which lasts for one run only.
                if let Target::Direct(address) = address
                    && is_plausible(address)
                {
                    effects.push(Effect::Remember(cid, identity, address));
                }
            }
            Outcome::Stranger { address } => {
                let address = address.canonical();
                let candidate = book.candidates.get(&address);
                let is = |fits: fn(&Candidate) -> bool| candidate.is_some_and(fits);
                if is(|candidate| matches!(candidate.phase, Phase::Linked(_))) {
                    return;
                }
                // A member that has only just started refuses us as a stranger would.
                if is(Candidate::is_trusted) {
                    book.failed(address, now, rng.random());
                } else {
                    book.shun(address, now);
                }
            }
            Outcome::Lost {
                identity,
                peer,
                address,
            } => {
                let address = address.canonical();
                book.unlinked(identity, peer, address, now);
            }
        }
    }

    fn dialled(
        &mut self,
        address: Target,
        result: &Result<PeerId, DialError>,
        now: Instant,
        rng: &mut impl Rng,
        effects: &mut Vec<Effect>,
    ) {
        let Some(dial) = self.budget.dials.remove(&address) else {
            return;
        };
        if result.is_ok() {
            self.budget.took(now.saturating_duration_since(dial.since));
        }
        if matches!(result, Err(DialError::Ourselves)) {
            self.ourselves(address, now);
            return;
        }
        for cid in dial.channels {
            let Some(book) = self.channels.get_mut(&cid).map(|channel| &mut channel.book) else {
                continue;
            };
            let Some(candidate) = book
                .candidates
                .get_mut(&address)
                .filter(|candidate| candidate.phase == Phase::Dialling)
            else {
                continue;
            };
            match result {
                Ok(peer) if book.linked.contains_key(peer) => {
                    candidate.phase = Phase::Linked(*peer);
                }
                Ok(peer) if candidate.expected.is_none_or(|expected| expected == *peer) => {
                    candidate.phase = Phase::Reached(now + OUTCOME_TIME);
                    effects.push(Effect::Reached {
                        cid,
                        address,
                        source: candidate.source.clone(),
                        took: now.saturating_duration_since(candidate.since),
                    });
                }
                // Relay and peer belong to a run that has ended.
                Ok(_) | Err(DialError::OtherPeer) if address.is_circuit() => {
                    book.candidates.remove(&address);
                }
                // Another peer is there. What a member named is refuted; what others named may still hold.
                Ok(_) | Err(DialError::OtherPeer) if candidate.open => {
                    candidate.expected = None;
                    book.failed(address, now, rng.random());
                }
                Ok(_) | Err(DialError::OtherPeer | DialError::NoSocket) => {
                    book.candidates.remove(&address);
                }
                Err(_) => book.failed(address, now, rng.random()),
            }
        }
    }

    /// A source named our own address.
    fn ourselves(&mut self, address: Target, now: Instant) {
        self.own_addresses.retain(|_, until| now < *until);
        if self.own_addresses.len() < MAX_OWN {
            self.own_addresses.insert(address, now + OWN_TIME);
        }
        for channel in self.channels.values_mut() {
            channel.book.candidates.remove(&address);
        }
    }

    /// A connection whose outcome was not reported in time counts as failed.
    fn overdue(&mut self, now: Instant, rng: &mut impl Rng) {
        for channel in self.channels.values_mut() {
            let late: Vec<Target> = channel
                .book
                .candidates
                .iter()
                .filter(|(_, candidate)| matches!(candidate.phase, Phase::Reached(until) if until <= now))
                .map(|(address, _)| *address)
                .collect();
            for address in late {
                channel.book.failed(address, now, rng.random());
            }
        }
    }

    /// Dials the addresses that are due, the best first, within the budget.
    fn launch(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut due: Vec<_> = self
            .channels
            .iter()
            .flat_map(|(cid, channel)| {
                let candidates = channel.book.candidates.iter();
                candidates.map(move |(address, candidate)| (cid, address, candidate))
            })
            .filter(|(_, _, candidate)| candidate.due().is_some_and(|at| at <= now))
            .map(|(cid, address, candidate)| {
                (
                    candidate.rank(address, now),
                    candidate.due(),
                    *cid,
                    *address,
                )
            })
            .collect();
        due.sort_unstable();
        let mut room = match self.room(now) {
            Room::For(count) => count,
            Room::At(_) | Room::None => 0,
        };
        for (_, _, cid, address) in due {
            let Some(channel) = self.channels.get_mut(&cid) else {
                continue;
            };
            if channel.book.expire(address, now) {
                continue;
            }
            let Some(candidate) = channel.book.candidates.get(&address) else {
                continue;
            };
            let phase = if let Some(peer) = channel.book.is_covered(&address, candidate) {
                Phase::Linked(peer)
            } else if let Some(begun) = self.budget.join(cid, address, candidate) {
                if !begun {
                    continue;
                }
                Phase::Dialling
            } else if room > 0 {
                room -= 1;
                effects.push(Effect::Dial(address, candidate.expected));
                self.budget.begin(address, cid, candidate.expected, now);
                Phase::Dialling
            } else {
                continue;
            };
            if let Some(candidate) = channel.book.candidates.get_mut(&address) {
                candidate.phase = phase;
            }
        }
    }

    /// Asks the sources of channels whose members are missing.
    fn ask(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for (cid, channel) in &mut self.channels {
            if channel.asked + ASK_AGAIN <= now && channel.book.is_lonely(now) {
                channel.asked = now;
                effects.push(Effect::Announce(*cid));
            }
        }
    }
}
