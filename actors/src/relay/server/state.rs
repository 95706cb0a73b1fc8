//! The serving half's quotas, reservations, circuits and registered keys. Pure: the clock is passed in.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    time::{Duration, Instant},
};

use bitchat_wire::{proto::refused::Reason, relay::MAX_MET};
use libp2p_identity::PeerId;

use crate::relay::RelayLimits;

/// Requests of one source in a burst, and how long each takes to become available again. A client needs a few an hour.
const REQUESTS: u32 = 64;
const REQUEST_TIME: Duration = Duration::from_millis(250);
/// Sources whose requests are counted. When as many have sent requests lately, others are refused.
const MAX_SOURCES: usize = 4_096;
/// Peers registered under one key.
pub(super) const MAX_MEETING: usize = 64;

/// A registration key, derived from a channel's secret (`docs/PROTOCOL.md`, relays).
pub(super) type Key = [u8; 32];

/// Identifies a reservation; not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ReservationId(u64);

/// Identifies a circuit; not reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CircuitId(u64);

/// A network source that quotas apply to: an IPv4 address, or an IPv6 /64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Source(IpAddr);

impl Source {
    pub(super) fn of(ip: IpAddr) -> Self {
        Self(match ip.to_canonical() {
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
            }
            ip => ip,
        })
    }
}

struct Reservation {
    peer: PeerId,
    source: Source,
    keys: BTreeSet<Key>,
}

struct Circuit {
    from: PeerId,
    source: Source,
    to: PeerId,
}

/// A notification to a reservation's holder: these other peers are registered under that key of its own.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Met {
    pub(super) to: ReservationId,
    pub(super) key: Key,
    pub(super) peers: Vec<PeerId>,
}

/// A source's remaining requests, as a token bucket.
struct Requests {
    left: u32,
    at: Instant,
}

/// What others hold and use here.
pub(super) struct State {
    limits: RelayLimits,
    stopping: bool,
    next: u64,
    reservations: BTreeMap<ReservationId, Reservation>,
    by_peer: HashMap<PeerId, ReservationId>,
    circuits: BTreeMap<CircuitId, Circuit>,
    meeting: HashMap<Key, BTreeSet<ReservationId>>,
    requests: HashMap<Source, Requests>,
}

impl State {
    pub(super) fn new(limits: RelayLimits) -> Self {
        Self {
            limits,
            stopping: false,
            next: 0,
            reservations: BTreeMap::new(),
            by_peer: HashMap::new(),
            circuits: BTreeMap::new(),
            meeting: HashMap::new(),
            requests: HashMap::new(),
        }
    }

    /// Refuses everything new from now on.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
    }

    pub(super) fn circuits(&self) -> usize {
        self.circuits.len()
    }

    /// Grants a reservation. Returns its id, and that of the peer's earlier one, which it replaces.
    pub(super) fn reserve(
        &mut self,
        peer: PeerId,
        source: Source,
        now: Instant,
    ) -> Result<(ReservationId, Option<ReservationId>), Reason> {
        self.request(source, now)?;
        let earlier = self.by_peer.get(&peer).copied();
        let others = |fits: &dyn Fn(&Reservation) -> bool| {
            let all = self.reservations.iter();
            all.filter(|(id, one)| Some(**id) != earlier && fits(one))
                .count()
        };
        if others(&|_| true) >= self.limits.reservations
            || others(&|one| one.source == source) >= self.limits.reservations_an_address
        {
            return Err(Reason::Full);
        }
        if let Some(earlier) = earlier {
            self.release(earlier);
        }
        let id = ReservationId(self.number());
        let reservation = Reservation {
            peer,
            source,
            keys: BTreeSet::new(),
        };
        self.reservations.insert(id, reservation);
        self.by_peer.insert(peer, id);
        Ok((id, earlier))
    }

    /// Frees a reservation; does nothing if it is freed already.
    pub(super) fn release(&mut self, id: ReservationId) {
        let Some(gone) = self.reservations.remove(&id) else {
            return;
        };
        self.by_peer.remove(&gone.peer);
        for key in gone.keys {
            self.leave(key, id);
        }
    }

    /// Replaces the holder's keys. Returns whom to notify of whom, or `None` after too many requests.
    pub(super) fn register(
        &mut self,
        id: ReservationId,
        keys: impl IntoIterator<Item = Key>,
        now: Instant,
    ) -> Option<Vec<Met>> {
        let Reservation {
            peer,
            source,
            keys: before,
        } = self.reservations.get(&id)?;
        let (peer, source, before) = (*peer, *source, before.clone());
        self.request(source, now).ok()?;
        let wanted: BTreeSet<Key> = keys.into_iter().collect();
        for key in before.difference(&wanted) {
            self.leave(*key, id);
        }
        let mut kept: BTreeSet<Key> = before.intersection(&wanted).copied().collect();
        let mut met = Vec::new();
        for key in wanted.difference(&before) {
            let here = self.meeting.entry(*key).or_default();
            if here.len() >= MAX_MEETING {
                continue;
            }
            // The latest first: they are the likeliest to be still there.
            let others: Vec<ReservationId> = here.iter().rev().take(MAX_MET).copied().collect();
            here.insert(id);
            kept.insert(*key);
            let peers: Vec<PeerId> = others
                .iter()
                .filter_map(|other| Some(self.reservations.get(other)?.peer))
                .collect();
            met.extend(others.into_iter().map(|to| Met {
                to,
                key: *key,
                peers: vec![peer],
            }));
            if !peers.is_empty() {
                met.push(Met {
                    to: id,
                    key: *key,
                    peers,
                });
            }
        }
        if let Some(reservation) = self.reservations.get_mut(&id) {
            reservation.keys = kept;
        }
        Some(met)
    }

    /// Begins a circuit to the peer `to`, if it holds a reservation, whose id is returned.
    pub(super) fn connect(
        &mut self,
        from: PeerId,
        source: Source,
        to: PeerId,
        now: Instant,
    ) -> Result<(CircuitId, ReservationId), Reason> {
        self.request(source, now)?;
        let target = *self.by_peer.get(&to).ok_or(Reason::NoReservation)?;
        let of = |fits: &dyn Fn(&Circuit) -> bool| {
            self.circuits.values().filter(|one| fits(one)).count()
        };
        let with = |peer: PeerId| of(&|one| one.from == peer || one.to == peer);
        if from == to {
            return Err(Reason::NoReservation);
        }
        if self.circuits.len() >= self.limits.circuits
            || with(from) >= self.limits.circuits_a_peer
            || with(to) >= self.limits.circuits_a_peer
            || of(&|one| one.source == source) >= self.limits.circuits_an_address
        {
            return Err(Reason::Full);
        }
        let id = CircuitId(self.number());
        self.circuits.insert(id, Circuit { from, source, to });
        Ok((id, target))
    }

    /// Frees a circuit; does nothing if it is freed already.
    pub(super) fn end(&mut self, id: CircuitId) {
        self.circuits.remove(&id);
    }

    fn leave(&mut self, key: Key, id: ReservationId) {
        if let Some(here) = self.meeting.get_mut(&key) {
            here.remove(&id);
            if here.is_empty() {
                self.meeting.remove(&key);
            }
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Counts a request, and refuses it after too many.
    fn request(&mut self, source: Source, now: Instant) -> Result<(), Reason> {
        if self.stopping {
            return Err(Reason::Stopping);
        }
        if self.requests.len() >= MAX_SOURCES && !self.requests.contains_key(&source) {
            self.requests
                .retain(|_, requests| requests.refill(now) < REQUESTS);
            if self.requests.len() >= MAX_SOURCES {
                return Err(Reason::Full);
            }
        }
        let requests = self.requests.entry(source).or_insert(Requests {
            left: REQUESTS,
            at: now,
        });
        if requests.refill(now) == 0 {
            return Err(Reason::Full);
        }
        requests.left -= 1;
        Ok(())
    }
}

impl Requests {
    fn refill(&mut self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.at);
        let more = u32::try_from(passed.as_millis() / REQUEST_TIME.as_millis()).unwrap_or(REQUESTS);
        if more > 0 {
            self.left = self.left.saturating_add(more).min(REQUESTS);
            self.at += REQUEST_TIME.saturating_mul(more).min(passed);
        }
        self.left
    }
}

#[cfg(test)]
mod tests;
