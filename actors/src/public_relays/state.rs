//! Decides when to look for public relays, and which to try. Pure: the clocks are passed in.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bitchat_wire::channel::EpochKeys;

/// Remembered addresses. A tracker may name thousands, most of them invented.
const MAX_CANDIDATES: usize = 64;
/// Concurrent tries: each is a handshake with a stranger, who may have nothing to do with relays.
const MAX_TRIES: usize = 2;
/// Tries between two looks.
const TRIES: usize = 12;
/// Relays that are offered between two looks.
const ENOUGH: usize = 4;
/// How long an address that did not answer, or granted no reservation, is not tried again.
const REST: Duration = Duration::from_secs(3_600);
/// How long an offered relay may take to grant a reservation.
const PROOF: Duration = Duration::from_secs(30);
/// Pauses between looks while relays are needed; the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(1_800),
];

/// An input of the state.
#[derive(Debug)]
pub(super) enum Input {
    /// Whether relays are needed.
    Wanting(bool),
    /// Trackers or the DHT named these addresses.
    Found(Vec<SocketAddr>),
    /// An address was tried: whether a peer answered there, and was offered to the relays' actor.
    Tried(SocketAddr, bool),
    /// Time has passed.
    Tick,
}

/// An output of the state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Ask trackers and the DHT.
    Look,
    /// Connect, and offer the peer that answers.
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
    /// The lower, the sooner it is tried. Computed once and at each look, since a tracker may name very many.
    score: [u8; 32],
}

/// The schedule of looks, and the addresses found.
#[derive(Debug)]
pub(super) struct State {
    /// How long relays may be missing before the first look: members may come first.
    delay: Duration,
    /// When to look; `None` while no relays are needed.
    look: Option<Instant>,
    looks: usize,
    /// Tries since the last look.
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

    /// Takes in an input and returns what to do. `channels` are those whose members are to be met; `unix` is in seconds.
    pub(super) fn handle(
        &mut self,
        input: Input,
        channels: &[EpochKeys],
        now: Instant,
        unix: u64,
    ) -> Vec<Effect> {
        match input {
            Input::Wanting(true) => {
                self.look.get_or_insert(now + self.delay);
            }
            Input::Wanting(false) => {
                self.look = None;
                self.looks = 0;
            }
            Input::Found(peers) => self.found(peers, channels, unix),
            Input::Tried(address, offered) => {
                if let Some(candidate) = self.candidates.get_mut(&address) {
                    candidate.phase = match offered {
                        true => Phase::Offered(now),
                        false => Phase::Resting(now + REST),
                    };
                }
            }
            Input::Tick => {}
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

    /// When to call with [`Input::Tick`], if no other input comes before.
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
            // Relays are still needed, so this one granted nothing.
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
            // The new one with the worst score goes; outsiders cannot tell which that is. Those that were tried stay, so that
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

/// An address's score; the lower, the better. Members of one channel that know the same addresses try the same ones first,
/// so that they meet; outsiders can neither tell which those are nor craft an address that is one.
fn score(address: &SocketAddr, channels: &[EpochKeys], unix: u64) -> [u8; 32] {
    let text = address.to_string();
    let scores = channels
        .iter()
        .map(|keys| keys.relay_registration(text.as_bytes(), keys.period(unix)));
    scores.min().unwrap_or([u8::MAX; 32])
}

#[cfg(test)]
mod tests;
