//! Decides when to speak, and whom to believe. Pure: clocks and random generator are passed in.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use bitchat_wire::channel::{ChannelId, EpochKeys};
use rand::{Rng, RngExt};

use super::message::{Announce, MAX_TAGS, Message, SALT, Tag, question, read};

/// Multicast DNS is spoken from and to this port.
pub(super) const PORT: u16 = 5_353;
/// Announces at most, each of [`MAX_TAGS`] tags: channels beyond 400 (200 while two hashes count) are not announced.
const MAX_PARTS: usize = 4;
/// An announce is made twice, since datagrams get lost, and a question asked three times, with pauses that double.
const ANNOUNCES: u8 = 2;
const QUESTIONS: u8 = 3;
/// The pause between two of a kind; RFC 6762 (6) wants a second at least.
const PAUSE: Duration = Duration::from_secs(1);
/// Before the first word about a new channel, since a start opens many.
const FIRST: Duration = Duration::from_millis(20);
/// An answer to a question comes so much later (RFC 6762, 6), so that not all speak at once.
const ANSWER_MS: std::ops::RangeInclusive<u64> = 20..=120;
/// Datagrams about our service that are looked at: this many at once and one more each `REFILL`. A home has a few nodes.
const BURST: u32 = 100;
const REFILL: Duration = Duration::from_millis(50);
/// The same address is not told again for so long.
const TOLD: Duration = Duration::from_secs(5);
/// Addresses of one channel that are told within [`WINDOW`]: the tag can be repeated by whoever heard it, from addresses
/// that are invented, and each costs a dial.
const MAX_TOLD: usize = 32;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered for that, of all channels.
const MAX_REMEMBERED: usize = 2_048;

/// What happened.
pub(super) enum Input<'a> {
    Watch(ChannelId, Box<EpochKeys>),
    Unwatch(ChannelId),
    /// Members are missing.
    Ask,
    /// The network is another one.
    Moved,
    /// Somebody in the network spoke.
    Datagram(SocketAddrV4, &'a [u8]),
    Tick,
}

/// What is to be done.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Say that in all networks.
    Send(Vec<u8>),
    /// A member may be there.
    Found(ChannelId, SocketAddrV4),
}

/// Something that is said a few times, and not too often.
#[derive(Default)]
struct Pace {
    next: Option<Instant>,
    left: u8,
    gap: Duration,
    last: Option<Instant>,
}

impl Pace {
    fn begin(&mut self, at: Instant, times: u8) {
        let at = self.last.map_or(at, |last| at.max(last + PAUSE));
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
        if self.left < times {
            (self.left, self.gap) = (times, PAUSE);
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| next <= now);
        if due {
            self.left = self.left.saturating_sub(1);
            self.last = Some(now);
            self.next = (self.left > 0).then(|| now + self.gap);
            self.gap *= 2;
        }
        due
    }
}

struct Watched {
    keys: EpochKeys,
    heard: Option<Instant>,
    /// Addresses told since the beginning of the window.
    told: usize,
    window: Instant,
}

/// All of it.
pub(super) struct State {
    port: u16,
    salts: [[u8; SALT]; MAX_PARTS],
    channels: BTreeMap<ChannelId, Watched>,
    announce: Pace,
    question: Pace,
    /// When the tags change, in Unix seconds.
    change: u64,
    /// When the bucket of datagrams is empty.
    empty: Instant,
    told: HashMap<(ChannelId, SocketAddrV4), Instant>,
}

impl State {
    /// `port` is announced.
    pub(super) fn new(port: u16, now: Instant, rng: &mut impl Rng) -> Self {
        let mut salts = [[0; SALT]; MAX_PARTS];
        for salt in &mut salts {
            rng.fill_bytes(salt);
        }
        Self {
            port,
            salts,
            channels: BTreeMap::new(),
            announce: Pace::default(),
            question: Pace::default(),
            change: 0,
            empty: now,
            told: HashMap::new(),
        }
    }

    /// Takes in what happened and says what to do.
    pub(super) fn handle(
        &mut self,
        input: Input<'_>,
        now: Instant,
        unix: u64,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        match input {
            Input::Watch(cid, keys) => {
                let (heard, window) = (None, now);
                let known = self.channels.insert(
                    cid,
                    Watched {
                        keys: *keys,
                        heard,
                        told: 0,
                        window,
                    },
                );
                if known.is_none() {
                    self.announce.begin(now + FIRST, ANNOUNCES);
                    self.question.begin(now + FIRST, QUESTIONS);
                }
                self.change = 0;
            }
            // The others forget within two minutes.
            Input::Unwatch(cid) => drop(self.channels.remove(&cid)),
            Input::Ask => self.question.begin(now, 1),
            Input::Moved => {
                self.announce.begin(now, ANNOUNCES);
                self.question.begin(now, QUESTIONS);
            }
            Input::Datagram(from, bytes) => self.heard(from, bytes, now, unix, rng, &mut effects),
            Input::Tick => {}
        }
        if self.channels.is_empty() {
            self.announce.next = None;
            self.question.next = None;
            return effects;
        }
        if unix >= self.change {
            let next = self
                .channels
                .values()
                .map(|channel| channel.keys.next_change(unix));
            let first = self.change == 0;
            self.change = next.min().unwrap_or(u64::MAX);
            if !first {
                self.announce.begin(now, ANNOUNCES);
            }
        }
        if self.announce.take(now) {
            effects.extend(self.announces(unix, false).map(Effect::Send));
        }
        if self.question.take(now) {
            effects.push(Effect::Send(question()));
        }
        effects
    }

    /// When to call with [`Input::Tick`], if nothing happens before and the clock does not jump.
    pub(super) fn next(&self, now: Instant, unix: u64) -> Option<Instant> {
        let watched = !self.channels.is_empty();
        let change = watched
            .then(|| now + Duration::from_secs(self.change.saturating_sub(unix).min(86_400)));
        [self.announce.next, self.question.next, change]
            .into_iter()
            .flatten()
            .min()
    }

    /// What to say at the end.
    pub(super) fn goodbye(&self, unix: u64) -> Vec<Vec<u8>> {
        if self.announce.last.is_none() {
            return Vec::new();
        }
        self.announces(unix, true).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.channels.is_empty()
    }

    /// When a member of that channel was heard last; `None` if it is not watched.
    pub(super) fn heard_of(&self, cid: ChannelId) -> Option<Option<Instant>> {
        Some(self.channels.get(&cid)?.heard)
    }

    fn announces(&self, unix: u64, goodbye: bool) -> impl Iterator<Item = Vec<u8>> {
        let mut parts: [Vec<Tag>; MAX_PARTS] = Default::default();
        let all = self.channels.values().flat_map(|channel| {
            let periods = channel.keys.announced_periods(unix);
            periods.map(|period| (&channel.keys, period))
        });
        for (n, (keys, period)) in all.take(MAX_PARTS * MAX_TAGS).enumerate() {
            let part = n / MAX_TAGS;
            parts[part].push(keys.lan_tag(period, &self.salts[part]));
        }
        let (salts, port) = (self.salts, self.port);
        let parts = parts
            .into_iter()
            .zip(salts)
            .filter(|(tags, _)| !tags.is_empty());
        parts.map(move |(mut tags, salt)| {
            // Their order must not tell which belong together.
            tags.sort_unstable();
            Announce {
                salt,
                port,
                tags,
                goodbye,
            }
            .write()
        })
    }

    fn heard(
        &mut self,
        from: SocketAddrV4,
        bytes: &[u8],
        now: Instant,
        unix: u64,
        rng: &mut impl Rng,
        effects: &mut Vec<Effect>,
    ) {
        let Some(message) = read(bytes) else { return };
        let empty = self.empty.max(now);
        if empty.saturating_duration_since(now) >= REFILL * BURST {
            return;
        }
        self.empty = empty + REFILL;
        let announces = match message {
            Message::Question => {
                let pause = Duration::from_millis(rng.random_range(ANSWER_MS));
                self.announce.begin(now + pause, 1);
                return;
            }
            // RFC 6762 (6): an answer comes from that port.
            Message::Announces(_) if from.port() != PORT => return,
            Message::Announces(announces) => announces,
        };
        for announce in announces {
            if announce.goodbye || self.salts.contains(&announce.salt) {
                continue;
            }
            let address = SocketAddrV4::new(*from.ip(), announce.port);
            for (cid, channel) in &mut self.channels {
                let keys = &channel.keys;
                let is_meant = keys.announced_periods(unix).any(|period| {
                    let tag = keys.lan_tag(period, &announce.salt);
                    announce.tags.contains(&tag)
                });
                if !is_meant {
                    continue;
                }
                channel.heard = Some(now);
                if channel.window + WINDOW <= now {
                    (channel.window, channel.told) = (now, 0);
                }
                let of_late = |at: &Instant| now < *at + TOLD;
                if channel.told >= MAX_TOLD || self.told.get(&(*cid, address)).is_some_and(of_late)
                {
                    continue;
                }
                channel.told += 1;
                if self.told.len() >= MAX_REMEMBERED {
                    self.told.retain(|_, at| of_late(at));
                }
                if self.told.len() < MAX_REMEMBERED {
                    self.told.insert((*cid, address), now);
                }
                effects.push(Effect::Found(*cid, address));
            }
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
