//! The state machine that decides when to send, and which announces to believe. Pure: the clocks and the random
//! generator are passed in.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddrV4,
    time::{Duration, Instant},
};

use bitchat_wire::channel::{ChannelId, EpochKeys};
use rand::{Rng, RngExt};

use super::message::{Announce, MAX_TAGS, Message, SALT, Tag, question, read};

/// The port from and to which multicast DNS is sent.
pub(super) const PORT: u16 = 5_353;
/// Announces at a time, of [`MAX_TAGS`] tags each: channels beyond 400 (200 while two hashes count) are not announced.
pub(super) const MAX_PARTS: usize = 4;
/// An announce is sent twice, since datagrams get lost, and a query three times, with pauses that double.
const ANNOUNCES: u8 = 2;
const QUESTIONS: u8 = 3;
/// The pause between two announces or two queries; RFC 6762 (6) asks for at least a second.
const PAUSE: Duration = Duration::from_secs(1);
/// The pause before a new channel is announced, since a start opens many.
const FIRST: Duration = Duration::from_millis(20);
/// The delay of an answer to a query, in milliseconds (RFC 6762, 6), so that not all nodes answer at once.
const ANSWER_MS: std::ops::RangeInclusive<u64> = 20..=120;
/// Datagrams about our service that are handled: this many at once, and one more per `REFILL`. A home has a few nodes.
const BURST: u32 = 100;
const REFILL: Duration = Duration::from_millis(50);
/// An address is not reported again for this long.
pub(super) const REPORTED: Duration = Duration::from_secs(5);
/// Addresses of one channel that are reported within [`WINDOW`]: whoever received a tag can repeat it from forged
/// addresses, and each costs a dial.
pub(super) const MAX_REPORTED: usize = 32;
pub(super) const WINDOW: Duration = Duration::from_secs(60);
/// Reported addresses that are remembered, for all channels.
pub(super) const MAX_REMEMBERED: usize = 2_048;

/// An input of the state machine.
pub(super) enum Input<'a> {
    Watch(ChannelId, Box<EpochKeys>),
    Unwatch(ChannelId),
    /// Members are missing.
    Ask,
    /// The network has changed.
    Moved,
    /// A datagram was received.
    Datagram(SocketAddrV4, &'a [u8]),
    Tick,
}

/// What the actor must do.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// Send a datagram to all networks.
    Send(Vec<u8>),
    /// Report an address at which a member may be.
    Found(ChannelId, SocketAddrV4),
}

/// The schedule of a datagram that is sent a few times, and not too often.
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
    announced_at: Option<Instant>,
    /// Addresses reported since the beginning of the window.
    reported: usize,
    window: Instant,
}

/// The channels that are announced, and the schedules.
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
    pub(super) reported: HashMap<(ChannelId, SocketAddrV4), Instant>,
}

impl State {
    /// A state without channels; `port` is announced.
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
            reported: HashMap::new(),
        }
    }

    /// Handles an input and returns what must be done.
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
                let (announced_at, window) = (None, now);
                let known = self.channels.insert(
                    cid,
                    Watched {
                        keys: *keys,
                        announced_at,
                        reported: 0,
                        window,
                    },
                );
                if known.is_none() {
                    self.announce.begin(now + FIRST, ANNOUNCES);
                    self.question.begin(now + FIRST, QUESTIONS);
                }
                self.change = 0;
            }
            // Other nodes forget us within two minutes.
            Input::Unwatch(cid) => drop(self.channels.remove(&cid)),
            Input::Ask => self.question.begin(now, 1),
            Input::Moved => {
                self.announce.begin(now, ANNOUNCES);
                self.question.begin(now, QUESTIONS);
            }
            Input::Datagram(from, bytes) => {
                self.received(from, bytes, now, unix, rng, &mut effects)
            }
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

    /// When to call with [`Input::Tick`], if no other input comes first and the wall clock does not jump.
    pub(super) fn next(&self, now: Instant, unix: u64) -> Option<Instant> {
        let watched = !self.channels.is_empty();
        let change = watched
            .then(|| now + Duration::from_secs(self.change.saturating_sub(unix).min(86_400)));
        [self.announce.next, self.question.next, change]
            .into_iter()
            .flatten()
            .min()
    }

    /// The datagrams to send at the end.
    pub(super) fn goodbye(&self, unix: u64) -> Vec<Vec<u8>> {
        if self.announce.last.is_none() {
            return Vec::new();
        }
        self.announces(unix, true).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.channels.is_empty()
    }

    /// When a member of that channel last announced itself; the outer `None` if it is not watched.
    pub(super) fn last_announced(&self, cid: ChannelId) -> Option<Option<Instant>> {
        Some(self.channels.get(&cid)?.announced_at)
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
            // Their order must not show which ones belong together.
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

    fn received(
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
                channel.announced_at = Some(now);
                if channel.window + WINDOW <= now {
                    (channel.window, channel.reported) = (now, 0);
                }
                let of_late = |at: &Instant| now < *at + REPORTED;
                if channel.reported >= MAX_REPORTED
                    || self.reported.get(&(*cid, address)).is_some_and(of_late)
                {
                    continue;
                }
                channel.reported += 1;
                if self.reported.len() >= MAX_REMEMBERED {
                    self.reported.retain(|_, at| of_late(at));
                }
                if self.reported.len() < MAX_REMEMBERED {
                    self.reported.insert((*cid, address), now);
                }
                effects.push(Effect::Found(*cid, address));
            }
        }
    }
}
