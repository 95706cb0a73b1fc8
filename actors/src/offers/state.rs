//! When to look for public relays, and which to try. Pure: clocks and randomness are passed in.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bitchat_wire::channel::EpochKeys;

/// Addresses that are remembered. A tracker may name thousands, most of them invented.
const MAX_CANDIDATES: usize = 64;
/// Tries at a time: each is a handshake with a stranger, who may be somebody that never asked for it.
const MAX_TRIES: usize = 2;
/// Tries between two looks.
const TRIES: usize = 12;
/// Relays that are offered between two looks.
const ENOUGH: usize = 4;
/// An address that did not answer, or offered nothing that lasted, is not tried again for so long.
const REST: Duration = Duration::from_secs(3_600);
/// How long what was offered may take to give us a reservation.
const PROOF: Duration = Duration::from_secs(30);
/// Pauses between looks, as long as we are in need; the last stays.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(1_800),
];

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// Whether we are in need of relays.
    Wanting(bool),
    /// Somebody named these.
    Found(Vec<SocketAddr>),
    /// Whether somebody answered there, who was offered then.
    Tried(SocketAddr, bool),
    /// Time has passed.
    Tick,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Ask trackers and the DHT.
    Look,
    /// Connect, and offer who answers.
    Try(SocketAddr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    New,
    Trying,
    Offered(Instant),
    Resting(Instant),
}

#[derive(Debug)]
struct Candidate {
    phase: Phase,
    /// Worked out once and at each look, since a tracker may name very many.
    score: [u8; 32],
}

/// The state.
#[derive(Debug)]
pub(super) struct State {
    /// How long to be in need before looking: members may come first.
    delay: Duration,
    /// When to look; `None`: we are not in need.
    look: Option<Instant>,
    looks: usize,
    /// Since the last look.
    tries: usize,
    candidates: HashMap<SocketAddr, Candidate>,
}

impl State {
    pub(super) fn new(delay: Duration) -> Self {
        Self {
            delay,
            look: None,
            looks: 0,
            tries: 0,
            candidates: HashMap::new(),
        }
    }

    /// Takes in what happened and says what to do. `channels` are those whose members are to be met; `period` is not
    /// theirs but the day since 1970, which all have alike.
    pub(super) fn handle(
        &mut self,
        event: Event,
        channels: &[EpochKeys],
        now: Instant,
        unix: u64,
    ) -> Vec<Effect> {
        match event {
            Event::Wanting(true) => {
                self.look.get_or_insert(now + self.delay);
            }
            Event::Wanting(false) => {
                self.look = None;
                self.looks = 0;
            }
            Event::Found(peers) => self.found(peers, channels, unix),
            Event::Tried(address, offered) => {
                if let Some(candidate) = self.candidates.get_mut(&address) {
                    candidate.phase = match offered {
                        true => Phase::Offered(now),
                        false => Phase::Resting(now + REST),
                    };
                }
            }
            Event::Tick => {}
        }
        let mut effects = Vec::new();
        let Some(look) = self.look else {
            return effects;
        };
        if look <= now {
            self.begin(channels, now, unix);
            effects.push(Effect::Look);
        }
        self.launch(&mut effects);
        effects
    }

    /// When to call with [`Event::Tick`], if nothing happens before.
    pub(super) fn next(&self) -> Option<Instant> {
        self.look
    }

    fn begin(&mut self, channels: &[EpochKeys], now: Instant, unix: u64) {
        let pause = PAUSES[self.looks.min(PAUSES.len() - 1)];
        self.looks += 1;
        self.look = Some(now + pause);
        self.tries = 0;
        for (address, candidate) in &mut self.candidates {
            candidate.score = score(address, channels, unix);
            // We are still in need, so it was of no use.
            if matches!(candidate.phase, Phase::Offered(since) if now >= since + PROOF) {
                candidate.phase = Phase::Resting(now + REST);
            }
        }
        self.candidates
            .retain(|_, one| !matches!(one.phase, Phase::Resting(until) if until <= now));
    }

    fn found(&mut self, peers: Vec<SocketAddr>, channels: &[EpochKeys], unix: u64) {
        for address in peers {
            if self.candidates.contains_key(&address) {
                continue;
            }
            let candidate = Candidate {
                phase: Phase::New,
                score: score(&address, channels, unix),
            };
            self.candidates.insert(address, candidate);
            if self.candidates.len() <= MAX_CANDIDATES {
                continue;
            }
            // The least fitting new one goes; which that is, nobody outside can tell. Those that were tried stay, so that
            // they are not tried again.
            let worst = self
                .candidates
                .iter()
                .filter(|(_, one)| one.phase == Phase::New)
                .max_by_key(|(_, one)| one.score)
                .map(|(at, _)| *at);
            if let Some(worst) = worst {
                self.candidates.remove(&worst);
            }
        }
    }

    fn launch(&mut self, effects: &mut Vec<Effect>) {
        let count = |is: fn(&Phase) -> bool| {
            let phases = self.candidates.values().map(|one| &one.phase);
            phases.filter(|phase| is(phase)).count()
        };
        let mut trying = count(|phase| *phase == Phase::Trying);
        let offered = count(|phase| matches!(phase, Phase::Offered(_)));
        while trying < MAX_TRIES && offered + trying < ENOUGH && self.tries < TRIES {
            let new = self
                .candidates
                .iter_mut()
                .filter(|(_, one)| one.phase == Phase::New);
            let Some((address, candidate)) = new.min_by_key(|(_, one)| one.score) else {
                break;
            };
            candidate.phase = Phase::Trying;
            effects.push(Effect::Try(*address));
            trying += 1;
            self.tries += 1;
        }
    }
}

/// The lower, the better. Members of one channel, who know the same addresses, try the same ones first, so that they meet;
/// outsiders can neither tell which those are nor make an address that is one.
fn score(address: &SocketAddr, channels: &[EpochKeys], unix: u64) -> [u8; 32] {
    let text = address.to_string();
    let scores = channels
        .iter()
        .map(|keys| keys.relay_registration(text.as_bytes(), keys.period(unix)));
    scores.min().unwrap_or([u8::MAX; 32])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use bitchat_wire::channel::ChannelId;
    use proptest::prelude::*;

    use super::*;

    const UNIX: u64 = 1_800_000_000;

    fn at(n: u16) -> SocketAddr {
        SocketAddr::from(([9, 9, (n >> 8) as u8, n as u8], 4_000))
    }

    fn keys(n: u8) -> EpochKeys {
        EpochKeys::derive(ChannelId([n; 32]), 0, &[n; 32])
    }

    fn tried(effects: &[Effect]) -> Vec<SocketAddr> {
        effects
            .iter()
            .filter_map(|effect| match effect {
                Effect::Try(address) => Some(*address),
                Effect::Look => None,
            })
            .collect()
    }

    #[test]
    fn nobody_is_asked_or_tried_without_need() {
        let now = Instant::now();
        let mut state = State::new(Duration::from_secs(5));
        assert_eq!(state.handle(Event::Found(vec![at(1)]), &[], now, UNIX), []);
        assert_eq!(state.next(), None);
        assert_eq!(
            state.handle(Event::Wanting(true), &[], now, UNIX).len(),
            1,
            "who is known is tried"
        );
        let later = now + Duration::from_secs(5);
        assert_eq!(state.next(), Some(later));
        assert_eq!(state.handle(Event::Tick, &[], later, UNIX), [Effect::Look]);
        assert_eq!(state.next(), Some(later + PAUSES[0]));
        assert_eq!(state.handle(Event::Wanting(false), &[], later, UNIX), []);
        assert_eq!(state.next(), None);
        assert_eq!(
            state.handle(Event::Found(vec![at(2)]), &[], later, UNIX),
            []
        );
    }

    #[test]
    fn members_of_one_channel_try_the_same_first() {
        let now = Instant::now();
        let all: Vec<SocketAddr> = (0..30).map(at).collect();
        let first = |channel: u8, mut named: Vec<SocketAddr>, turn: usize| {
            named.rotate_left(turn);
            let mut state = State::new(Duration::ZERO);
            let channels = [keys(channel)];
            state.handle(Event::Wanting(true), &channels, now, UNIX);
            tried(&state.handle(Event::Found(named), &channels, now, UNIX))
        };
        let one = first(1, all.clone(), 0);
        assert_eq!(one.len(), MAX_TRIES);
        assert_eq!(one, first(1, all.clone(), 17));
        assert_ne!(one, first(2, all, 0));
    }

    #[test]
    fn one_that_is_of_no_use_makes_room_for_others() {
        let mut now = Instant::now();
        let mut state = State::new(Duration::ZERO);
        state.handle(Event::Wanting(true), &[], now, UNIX);
        let mut first =
            tried(&state.handle(Event::Found((0..6).map(at).collect()), &[], now, UNIX));
        while let Some(next) = first.pop() {
            first.extend(tried(&state.handle(
                Event::Tried(next, true),
                &[],
                now,
                UNIX,
            )));
        }
        let offered = |state: &State| {
            let phases = state.candidates.values();
            phases
                .filter(|one| matches!(one.phase, Phase::Offered(_)))
                .count()
        };
        assert_eq!(offered(&state), ENOUGH);
        now = state.next().unwrap();
        let more = state.handle(Event::Tick, &[], now, UNIX);
        assert_eq!(more[0], Effect::Look);
        assert_eq!(tried(&more).len(), 2, "the others' turn");
        assert_eq!(offered(&state), 0);
    }

    proptest! {
        #[test]
        fn strangers_cannot_make_us_knock_at_many_doors(
            found in proptest::collection::vec((0_u16..2_000, 1_u16..200), 1..20),
            answers in any::<bool>(),
        ) {
            let now = Instant::now();
            let mut state = State::new(Duration::ZERO);
            let channels = [keys(1)];
            let mut open = tried(&state.handle(Event::Wanting(true), &channels, now, UNIX));
            let mut all = open.len();
            for (start, count) in found {
                let named = (start..start + count).map(at).collect();
                let more = tried(&state.handle(Event::Found(named), &channels, now, UNIX));
                all += more.len();
                open.extend(more);
                prop_assert!(open.len() <= MAX_TRIES);
                prop_assert!(state.candidates.len() <= MAX_CANDIDATES);
                if let Some(done) = open.pop() {
                    let more = tried(&state.handle(Event::Tried(done, answers), &channels, now, UNIX));
                    all += more.len();
                    open.extend(more);
                }
            }
            prop_assert!(all <= TRIES);
        }
    }
}
