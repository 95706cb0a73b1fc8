//! Decides at which relays to hold reservations, and which keys to register there. Pure: the clock is passed in.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::{Duration, Instant},
};

use bitchat_wire::{
    channel::{ChannelId, EpochKeys},
    proto::refused::Reason,
    relay::MAX_KEYS,
};
use libp2p_identity::PeerId;
use rand::{Rng, RngExt};

use crate::transport::{Relay, Target};

/// Public relays that one source may name at a time, and that are known in all.
pub const MOST_OFFERED: usize = 16;
/// Reservations to hold while the node needs relays.
const RESERVATIONS: usize = 3;
/// Relays at which one channel's members look for each other.
const MEETINGS: usize = 2;
/// Reservations in all.
const MAX_HELD: usize = 8;
/// A relay that fails this often in a row is skipped until its pause ends.
const GONE: u32 = 2;
/// A public relay that fails this often in a row is forgotten.
const FORGET: u32 = 5;
/// Known relays in all; those of members and channel files displace public ones.
const MAX_KNOWN: usize = 256;
/// The pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How a relay came to be known, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::relay) enum Origin {
    /// It is a member that this node has connected to.
    Member,
    /// A channel file or the user names it.
    Named,
    /// It announces itself in public.
    Public,
}

/// An input of the state.
pub(in crate::relay) enum Input {
    /// Whether others can reach this node through relays only.
    Needed(bool),
    /// A relay is known.
    Known(Relay, Origin),
    /// That origin does not vouch for the relay any longer.
    Unknown(PeerId, Origin),
    /// A channel's members are to meet at relays, those of its file among them.
    Watch(ChannelId, Box<EpochKeys>, Vec<Relay>),
    /// They are not to meet any longer.
    Unwatch(ChannelId),
    /// A reservation was granted.
    Reserved(PeerId),
    /// A reservation was refused (for this reason), ended, or got no answer. It is not requested again before the pause
    /// is over.
    Ended(PeerId, Option<Reason>, Duration),
    /// The relay is about to stop.
    Leaving(PeerId),
    /// Other peers are registered at that relay under one of this node's keys.
    Met(PeerId, [u8; 32], Vec<PeerId>),
    /// Time has passed.
    Tick,
}

/// An output of the state.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::relay) enum Effect {
    /// Request a reservation; [`Input::Reserved`] and [`Input::Ended`] report on it.
    Reserve(Relay),
    /// End a reservation or the request for it; this is not reported back.
    Release(PeerId),
    /// Register these keys there, in place of the ones before.
    Register(PeerId, BTreeSet<[u8; 32]>),
    /// Members of that channel are at these targets.
    Found(ChannelId, Vec<Target>),
    /// This node can be reached through exactly these relays from now on.
    Reachable(Vec<Relay>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Not requested; may be from then on.
    Idle(Instant),
    Requested,
    Held,
}

struct Known {
    relay: Relay,
    origins: BTreeSet<Origin>,
    phase: Phase,
    failures: u32,
    leaving: bool,
    registered: BTreeSet<[u8; 32]>,
}

struct Watched {
    keys: Box<EpochKeys>,
    named: HashSet<PeerId>,
}

/// The known relays, the channels to meet at them, and what is held where.
pub(in crate::relay) struct State {
    own: PeerId,
    needed: bool,
    known: HashMap<PeerId, Known>,
    watched: HashMap<ChannelId, Watched>,
    /// As in the last [`Effect::Reachable`].
    reachable: Vec<Relay>,
}

impl State {
    pub(in crate::relay) fn new(own: PeerId) -> Self {
        Self {
            own,
            needed: false,
            known: HashMap::new(),
            watched: HashMap::new(),
            reachable: Vec::new(),
        }
    }

    /// The relay of that peer, if a reservation is held there, so that circuits from it are expected.
    pub(in crate::relay) fn held(&self, peer: &PeerId) -> Option<Relay> {
        let known = self.known.get(peer)?;
        (known.phase == Phase::Held).then_some(known.relay)
    }

    /// The number of reservations.
    pub(in crate::relay) fn count(&self) -> usize {
        self.reachable.len()
    }

    /// Whether the node needs relays while none of members or channel files works, and of public ones too few work for the
    /// members of one channel to meet.
    pub(in crate::relay) fn wants(&self) -> bool {
        let works = |known: &&Known| !known.leaving && known.failures < GONE;
        let ours = |known: &&Known| known.origins.iter().any(|one| *one != Origin::Public);
        let working = || self.known.values().filter(works);
        self.needed
            && !self.watched.is_empty()
            && working().filter(ours).count() == 0
            && working().count() < MEETINGS
    }

    /// Takes in an input and returns what to do. `unix` is in seconds.
    pub(in crate::relay) fn handle(
        &mut self,
        input: Input,
        now: Instant,
        unix: u64,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Needed(needed) => self.needed = needed,
            Input::Known(relay, origin) => self.know(relay, origin, now),
            Input::Unknown(peer, origin) => {
                if let Some(known) = self.known.get_mut(&peer) {
                    known.origins.remove(&origin);
                }
            }
            Input::Watch(cid, keys, relays) => {
                self.unwatch(cid);
                let named = relays.iter().map(|relay| relay.peer).collect();
                self.watched.insert(cid, Watched { keys, named });
                for relay in relays {
                    self.know(relay, Origin::Named, now);
                }
            }
            Input::Unwatch(cid) => self.unwatch(cid),
            Input::Reserved(peer) => {
                if let Some(known) = self.known.get_mut(&peer) {
                    known.phase = Phase::Held;
                    known.failures = 0;
                    known.leaving = false;
                    known.registered.clear();
                }
            }
            Input::Ended(peer, reason, pause) => {
                if let Some(known) = self.known.get_mut(&peer) {
                    // A relay that was held is tried again at once: it may just have been restarted.
                    if known.phase == Phase::Held && reason.is_none() {
                        known.failures = 0;
                    }
                    let doubled = FIRST_PAUSE.saturating_mul(1 << known.failures.min(10));
                    let pause = doubled.min(LONGEST_PAUSE).max(pause);
                    let jitter = pause.mul_f64(0.5 + rng.random::<f64>() / 2.0);
                    known.failures = known.failures.saturating_add(1);
                    known.phase = Phase::Idle(now + jitter);
                    known.registered.clear();
                    if known.failures >= FORGET {
                        known.origins.remove(&Origin::Public);
                    }
                }
            }
            Input::Leaving(peer) => {
                if let Some(known) = self.known.get_mut(&peer) {
                    known.leaving = true;
                }
            }
            Input::Met(relay, key, peers) => self.met(relay, key, peers, (now, unix), &mut effects),
            Input::Tick => {}
        }
        self.settle(now, unix, &mut effects);
        effects
    }

    /// When to call with [`Input::Tick`], if no other input comes before.
    pub(in crate::relay) fn next(&self, now: Instant) -> Option<Instant> {
        let pauses = self.known.values().filter_map(|known| match known.phase {
            // A pause that is over needs no timer: the reservation was requested, or is not wanted.
            Phase::Idle(at) if at > now => Some(at),
            _ => None,
        });
        pauses.min()
    }

    fn know(&mut self, relay: Relay, origin: Origin, now: Instant) {
        if relay.peer == self.own {
            return;
        }
        if let Some(known) = self.known.get_mut(&relay.peer) {
            known.origins.insert(origin);
            // A member's address is fresher than a file's.
            if matches!(known.phase, Phase::Idle(_)) {
                known.relay = relay;
            }
            if origin == Origin::Member && known.failures > 0 {
                known.failures = 0;
                if let Phase::Idle(at) = &mut known.phase {
                    *at = (*at).min(now);
                }
            }
            return;
        }
        let strangers = |known: &&Known| known.origins.first() == Some(&Origin::Public);
        if origin == Origin::Public && self.known.values().filter(strangers).count() >= MOST_OFFERED
        {
            return;
        }
        if self.known.len() >= MAX_KNOWN {
            let idle = |known: &Known| matches!(known.phase, Phase::Idle(_));
            let worst = self
                .known
                .iter()
                .filter(|(_, known)| idle(known) && known.origins.first() > Some(&origin))
                .map(|(peer, _)| *peer)
                .next();
            match worst {
                Some(worst) => drop(self.known.remove(&worst)),
                None => return,
            }
        }
        let known = Known {
            relay,
            origins: BTreeSet::from([origin]),
            phase: Phase::Idle(now),
            failures: 0,
            leaving: false,
            registered: BTreeSet::new(),
        };
        self.known.insert(relay.peer, known);
    }

    fn unwatch(&mut self, cid: ChannelId) {
        let Some(gone) = self.watched.remove(&cid) else {
            return;
        };
        for peer in gone.named {
            let elsewhere = self.watched.values().any(|one| one.named.contains(&peer));
            if let Some(known) = self.known.get_mut(&peer).filter(|_| !elsewhere) {
                known.origins.remove(&Origin::Named);
            }
        }
    }

    /// The relays at which a channel's members meet: the first in the channel's own order (`docs/PROTOCOL.md`, rendezvous).
    /// A node that needs no relays registers only at those of the file.
    fn meetings(&self, watched: &Watched, now: Instant, unix: u64) -> Vec<PeerId> {
        let period = watched.keys.period(unix);
        let strangers = |known: &Known| {
            known.origins.contains(&Origin::Named) || known.origins.contains(&Origin::Public)
        };
        let mut ranked: Vec<_> = self
            .known
            .iter()
            .filter(|(peer, known)| {
                let named = watched.named.contains(peer);
                // A relay that fails now and then keeps its place; one that keeps failing leaves it to the next.
                let paused = matches!(known.phase, Phase::Idle(at) if at > now);
                let works = !known.leaving && (known.failures < GONE || !paused);
                works && (named || (self.needed && strangers(known)))
            })
            .map(|(peer, _)| {
                let key = watched.keys.relay_registration(&peer.to_bytes(), period);
                (key, *peer)
            })
            .collect();
        ranked.sort_unstable();
        ranked
            .into_iter()
            .take(MEETINGS)
            .map(|(_, peer)| peer)
            .collect()
    }

    fn wanted(&self, now: Instant, unix: u64) -> Vec<PeerId> {
        let mut wanted: Vec<PeerId> = Vec::new();
        for watched in self.watched.values() {
            for peer in self.meetings(watched, now, unix) {
                if !wanted.contains(&peer) {
                    wanted.push(peer);
                }
            }
        }
        wanted.sort_unstable();
        wanted.truncate(MAX_HELD - 1);
        if self.needed {
            let mut more: Vec<_> = self
                .known
                .iter()
                .filter(|(peer, known)| !known.leaving && !wanted.contains(peer))
                .filter_map(|(peer, known)| {
                    let origin = known.origins.first()?;
                    let later = match known.phase {
                        Phase::Held => 0,
                        Phase::Requested => 1,
                        Phase::Idle(at) if at <= now => 2,
                        // Its pause is not over: another relay may do.
                        Phase::Idle(_) => return None,
                    };
                    Some((later, *origin, known.failures, *peer))
                })
                .collect();
            more.sort_unstable();
            let paused = |peer: &&PeerId| {
                let phase = self.known.get(peer).map(|known| known.phase);
                matches!(phase, Some(Phase::Idle(at)) if at > now)
            };
            let working = wanted.iter().filter(|peer| !paused(peer)).count();
            let room = RESERVATIONS.saturating_sub(working);
            wanted.extend(more.into_iter().take(room).map(|one| one.3));
        }
        wanted.truncate(MAX_HELD);
        wanted
    }

    fn settle(&mut self, now: Instant, unix: u64, effects: &mut Vec<Effect>) {
        let wanted = self.wanted(now, unix);
        for (peer, known) in &mut self.known {
            match known.phase {
                Phase::Idle(at) if at <= now && wanted.contains(peer) => {
                    known.phase = Phase::Requested;
                    effects.push(Effect::Reserve(known.relay));
                }
                // A reservation at a relay that is leaving is kept until the relay ends it.
                Phase::Requested | Phase::Held if !wanted.contains(peer) && !known.leaving => {
                    known.phase = Phase::Idle(now);
                    known.registered.clear();
                    effects.push(Effect::Release(*peer));
                }
                _ => {}
            }
        }
        self.known
            .retain(|_, known| !known.origins.is_empty() || !matches!(known.phase, Phase::Idle(_)));
        self.register(now, unix, effects);
        let held = |known: &&Known| known.phase == Phase::Held && !known.leaving;
        let mut reachable: Vec<Relay> = self
            .known
            .values()
            .filter(held)
            .map(|known| known.relay)
            .collect();
        reachable.sort_unstable();
        if reachable != self.reachable {
            self.reachable.clone_from(&reachable);
            effects.push(Effect::Reachable(reachable));
        }
    }

    fn keys_at(&self, peer: &PeerId, now: Instant, unix: u64) -> HashMap<[u8; 32], ChannelId> {
        let mut keys = HashMap::new();
        let id = peer.to_bytes();
        for (cid, watched) in &self.watched {
            if self.meetings(watched, now, unix).contains(peer) {
                for period in watched.keys.announced_periods(unix) {
                    keys.insert(watched.keys.relay_registration(&id, period), *cid);
                }
            }
        }
        keys
    }

    fn register(&mut self, now: Instant, unix: u64, effects: &mut Vec<Effect>) {
        let held: Vec<PeerId> = self
            .known
            .iter()
            .filter(|(_, known)| known.phase == Phase::Held)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in held {
            let keys: BTreeSet<[u8; 32]> = self
                .keys_at(&peer, now, unix)
                .into_keys()
                .take(MAX_KEYS)
                .collect();
            if let Some(known) = self.known.get_mut(&peer)
                && known.registered != keys
            {
                known.registered.clone_from(&keys);
                effects.push(Effect::Register(peer, keys));
            }
        }
    }

    fn met(
        &self,
        relay: PeerId,
        key: [u8; 32],
        peers: Vec<PeerId>,
        (now, unix): (Instant, u64),
        effects: &mut Vec<Effect>,
    ) {
        let (Some(known), Some(cid)) = (
            self.known.get(&relay),
            self.keys_at(&relay, now, unix).get(&key).copied(),
        ) else {
            return;
        };
        let targets: Vec<Target> = peers
            .into_iter()
            .filter(|peer| *peer != self.own && *peer != relay)
            .map(|peer| Target::Circuit {
                relay: known.relay,
                peer,
            })
            .collect();
        if !targets.is_empty() {
            effects.push(Effect::Found(cid, targets));
        }
    }
}

#[cfg(test)]
mod tests;
