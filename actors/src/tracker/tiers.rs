//! The state machine that decides which tracker of a swarm to ask next, and when (BEP 12, BEP 31). Pure.
//!
//! Every tier is announced to, as Transmission and qBittorrent do. Intervals and pauses are those of the client that
//! the node looks like, or longer. Within a tier one tracker is current: at first the first one of a shuffled order; a
//! failure makes the next one current, a success moves a tracker to the front.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt, seq::SliceRandom};

use crate::disguise::{BackOff, Client};

use super::{
    TrackerState, TrackerStatus,
    announce::Event,
    reply::{Answer, Retry},
};

/// Trackers of one channel that are used; a file may name thousands.
pub(super) const MAX_TRACKERS: usize = 64;
/// The longest URL that is used, in bytes.
pub(super) const MAX_URL: usize = 2_048;
/// The shortest interval of regular announces, whatever a tracker allows.
pub(super) const SHORTEST_INTERVAL: Duration = Duration::from_secs(300);
/// The shortest distance of an extra announce from the one before.
pub(super) const EXTRA_DISTANCE: Duration = Duration::from_secs(60);
/// Extra announces within [`EXTRAS_WINDOW`].
pub(super) const EXTRAS: usize = 10;
/// The time over which extra announces are counted.
pub(super) const EXTRAS_WINDOW: Duration = Duration::from_secs(3_600);
/// The shortest pause after a failure, whatever a tracker allows.
const SHORTEST_PAUSE: Duration = Duration::from_secs(20);

/// An announce to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    /// The tracker's index, which is valid for one generation.
    pub(super) tracker: usize,
    /// The set of trackers that the index refers to.
    pub(super) generation: u64,
    /// Its URL as written in the channel's file.
    pub(super) name: String,
    /// Its URL, parsed.
    pub(super) url: url::Url,
    /// The event to report.
    pub(super) event: Event,
    /// The tracker id to send back.
    pub(super) tracker_id: Option<Vec<u8>>,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// The reason, for users.
    pub(super) text: String,
    /// When the tracker wants to be asked again; `None` if it does not tell.
    pub(super) retry: Option<Retry>,
    /// Whether there was no answer at all.
    pub(super) silent: bool,
}

#[derive(Clone)]
struct Tracker {
    name: String,
    /// `None` if it is not supported.
    url: Option<url::Url>,
    tier: usize,
    state: TrackerState,
    peers: usize,
    error: Option<String>,
    silent: bool,
    answered: Option<Instant>,
    /// Failures in a row.
    failures: usize,
    tracker_id: Option<Vec<u8>>,
    min_interval: Duration,
    last: Option<Instant>,
    /// Whether it has answered us and has not been sent `stopped`.
    known: bool,
    /// Whether it refused further requests.
    retired: bool,
    /// When it may be asked again.
    due: Instant,
    extras: VecDeque<Instant>,
}

struct Tier {
    /// Indexes of trackers, the preferred one first.
    order: Vec<usize>,
    /// The place in `order` of the current tracker.
    current: usize,
    in_flight: bool,
}

/// The trackers of one swarm.
pub(super) struct Tiers {
    client: &'static Client,
    trackers: Vec<Tracker>,
    tiers: Vec<Tier>,
    generation: u64,
}

impl Tiers {
    /// Trackers that have not been asked yet. A URL that is named twice counts once.
    pub(super) fn new(
        client: &'static Client,
        urls: &[Vec<String>],
        now: Instant,
        rng: &mut impl Rng,
    ) -> Self {
        let mut trackers: Vec<Tracker> = Vec::new();
        let mut tiers = Vec::new();
        for (number, urls) in urls.iter().enumerate() {
            let mut order = Vec::new();
            for name in urls {
                if trackers.len() == MAX_TRACKERS {
                    break;
                }
                if trackers.iter().all(|tracker| tracker.name != *name) {
                    order.push(trackers.len());
                    trackers.push(Tracker::new(client, name, number, now));
                }
            }
            order.shuffle(rng);
            tiers.push(Tier {
                order,
                current: 0,
                in_flight: false,
            });
        }
        let mut this = Self {
            client,
            trackers,
            tiers,
            generation: 0,
        };
        for tier in 0..this.tiers.len() {
            // The first one of the order may be unsupported.
            this.choose(tier, 0, now);
        }
        this
    }

    /// Changes the trackers; those that stay keep their state. Returns the farewells to the others.
    pub(super) fn replace(
        &mut self,
        urls: &[Vec<String>],
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<Request> {
        let mut new = Self::new(self.client, urls, now, rng);
        new.generation = self.generation + 1;
        for tracker in &mut new.trackers {
            if let Some(old) = self
                .trackers
                .iter_mut()
                .find(|old| old.name == tracker.name)
            {
                let tier = tracker.tier;
                *tracker = old.clone();
                tracker.tier = tier;
                old.known = false;
            }
        }
        for tier in 0..new.tiers.len() {
            new.choose(tier, 0, now);
        }
        let farewell = self.stop();
        *self = new;
        farewell
    }

    /// When the next announce is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.tiers
            .iter()
            .filter(|tier| !tier.in_flight)
            .filter_map(|tier| self.current(tier))
            .map(|tracker| tracker.due)
            .min()
    }

    /// An announce that is due; it counts as under way until [`Tiers::done`].
    pub(super) fn due(&mut self, now: Instant) -> Option<Request> {
        let (number, index) = self.tiers.iter().enumerate().find_map(|(number, tier)| {
            let tracker = self.current(tier)?;
            (!tier.in_flight && tracker.due <= now).then(|| (number, tier.order[tier.current]))
        })?;
        self.tiers[number].in_flight = true;
        let tracker = &mut self.trackers[index];
        tracker.last = Some(now);
        let event = if tracker.known {
            Event::Regular
        } else {
            Event::Started
        };
        tracker.request(index, self.generation, event)
    }

    /// Records the result of a request. Results of an earlier generation are ignored.
    pub(super) fn done(
        &mut self,
        request: &Request,
        result: Result<&Answer, &Failure>,
        now: Instant,
        rng: &mut impl Rng,
    ) {
        if request.generation != self.generation {
            return;
        }
        let Some(tracker) = self.trackers.get_mut(request.tracker) else {
            return;
        };
        let number = tracker.tier;
        match result {
            Ok(answer) => tracker.answered(self.client, answer, now),
            Err(failure) => tracker.failed(self.client, failure, now, rng),
        }
        let tier = &mut self.tiers[number];
        tier.in_flight = false;
        let place = tier
            .order
            .iter()
            .position(|&index| index == request.tracker);
        match (result, place) {
            (Ok(_), Some(place)) => {
                tier.order[..=place].rotate_right(1);
                tier.current = 0;
            }
            (Err(_), Some(place)) => self.choose(number, place + 1, now),
            (_, None) => {}
        }
    }

    /// Brings announces forward within the limits, to trackers whose last request was answered.
    pub(super) fn extra(&mut self, now: Instant) {
        for tier in &self.tiers {
            if tier.in_flight {
                continue;
            }
            if let Some(&index) = tier.order.get(tier.current) {
                self.trackers[index].extra(now);
            }
        }
    }

    /// Announces for a user, to the named tracker or to the current one of each tier; returns the number of announces.
    /// Trackers that failed are asked as well if their pause allows it, and a named one becomes its tier's current one.
    pub(super) fn by_hand(&mut self, name: Option<&str>, now: Instant) -> usize {
        let mut asked = 0;
        for tier in &mut self.tiers {
            let place = match name {
                Some(name) => tier
                    .order
                    .iter()
                    .position(|&index| self.trackers[index].name == name),
                None => Some(tier.current).filter(|place| *place < tier.order.len()),
            };
            let Some(place) = place.filter(|_| !tier.in_flight) else {
                continue;
            };
            if self.trackers[tier.order[place]].by_hand(now) {
                tier.current = place;
                asked += 1;
            }
        }
        asked
    }

    /// Ends all requests and returns the farewells to all trackers that know us.
    pub(super) fn stop(&mut self) -> Vec<Request> {
        for tier in &mut self.tiers {
            tier.in_flight = false;
        }
        self.generation += 1;
        let generation = self.generation;
        self.trackers
            .iter_mut()
            .enumerate()
            .filter(|(_, tracker)| tracker.known)
            .filter_map(|(index, tracker)| {
                tracker.known = false;
                tracker.request(index, generation, Event::Stopped)
            })
            .collect()
    }

    /// The status of each tracker, in the order of the channel's file.
    pub(super) fn status(&self) -> Vec<TrackerStatus> {
        self.trackers
            .iter()
            .enumerate()
            .map(|(index, tracker)| {
                let tier = &self.tiers[tracker.tier];
                let current = tier.order.get(tier.current) == Some(&index);
                TrackerStatus {
                    url: tracker.name.clone(),
                    tier: tracker.tier,
                    state: tracker.state,
                    peers: tracker.peers,
                    next_announce: (current && tracker.usable() && !tier.in_flight)
                        .then_some(tracker.due),
                    last_success: tracker.answered,
                    silent: tracker.silent,
                    error: tracker.error.clone(),
                }
            })
            .collect()
    }

    fn current(&self, tier: &Tier) -> Option<&Tracker> {
        let index = *tier.order.get(tier.current)?;
        self.trackers.get(index).filter(|tracker| tracker.usable())
    }

    /// Makes current the first tracker from a place on, around the tier, that may be asked now; otherwise the one that
    /// may be asked first.
    fn choose(&mut self, number: usize, from: usize, now: Instant) {
        let tier = &mut self.tiers[number];
        let places = tier.order.len();
        let trackers = &self.trackers;
        let best = (0..places)
            .map(|step| (from + step) % places)
            .filter(|&place| trackers[tier.order[place]].usable())
            // Of equal ones the first is taken.
            .min_by_key(|&place| trackers[tier.order[place]].due.max(now));
        if let Some(place) = best {
            tier.current = place;
        }
    }
}

impl Tracker {
    fn new(client: &Client, name: &str, tier: usize, now: Instant) -> Self {
        let (url, error) = match served(name) {
            Ok(url) => (Some(url), None),
            Err(error) => (None, Some(error.to_owned())),
        };
        Self {
            name: name.to_owned(),
            state: if url.is_some() {
                TrackerState::Waiting
            } else {
                TrackerState::Unsupported
            },
            url,
            tier,
            peers: 0,
            error,
            silent: false,
            answered: None,
            failures: 0,
            tracker_id: None,
            min_interval: client.min_interval,
            last: None,
            known: false,
            retired: false,
            due: now,
            extras: VecDeque::new(),
        }
    }

    fn usable(&self) -> bool {
        self.url.is_some() && !self.retired
    }

    fn request(&self, tracker: usize, generation: u64, event: Event) -> Option<Request> {
        Some(Request {
            tracker,
            generation,
            name: self.name.clone(),
            url: self.url.clone()?,
            event,
            tracker_id: self.tracker_id.clone(),
        })
    }

    fn answered(&mut self, client: &Client, answer: &Answer, now: Instant) {
        self.state = TrackerState::Working;
        // The minimum interval counts from the end of the announce, which is the later time.
        self.last = Some(now);
        self.answered = Some(now);
        self.silent = false;
        self.failures = 0;
        self.known = true;
        self.peers = answer.peers.len();
        self.error = answer.warning.as_ref().map(|text| format!("warns: {text}"));
        // A tracker that sends no id this time has not withdrawn the former one.
        if answer.tracker_id.is_some() {
            self.tracker_id.clone_from(&answer.tracker_id);
        }
        self.min_interval = answer.min_interval.unwrap_or(client.min_interval);
        let interval = answer
            .interval
            .unwrap_or(client.interval)
            .max(SHORTEST_INTERVAL)
            .max(answer.min_interval.unwrap_or_default());
        self.due = now + interval;
    }

    fn failed(&mut self, client: &Client, failure: &Failure, now: Instant, rng: &mut impl Rng) {
        self.state = TrackerState::Failing;
        self.silent = failure.silent;
        self.failures += 1;
        self.peers = 0;
        self.error = Some(failure.text.clone());
        let pause = match failure.retry {
            Some(Retry::After(pause)) => pause.max(SHORTEST_PAUSE),
            Some(Retry::Never) => {
                self.retired = true;
                return;
            }
            None => back_off(client.back_off, self.failures, rng),
        };
        self.due = now + pause;
    }

    fn extra(&mut self, now: Instant) {
        if self.state == TrackerState::Working && self.due > now && self.may_extra(now) {
            self.extras.push_back(now);
            self.due = now;
        }
    }

    /// Brings an announce forward for a user; returns whether the tracker is asked now.
    fn by_hand(&mut self, now: Instant) -> bool {
        let may = self.usable() && (self.due <= now || self.last.is_none() || self.may_extra(now));
        if may && self.due > now {
            self.extras.push_back(now);
            self.due = now;
        }
        may
    }

    /// Whether an extra announce keeps the tracker's distance and our budget.
    fn may_extra(&mut self, now: Instant) -> bool {
        while self
            .extras
            .front()
            .is_some_and(|&sent| now.saturating_duration_since(sent) >= EXTRAS_WINDOW)
        {
            self.extras.pop_front();
        }
        // A tracker that failed has not set a distance.
        let distance = match self.state {
            TrackerState::Working => self.min_interval.max(EXTRA_DISTANCE),
            _ => EXTRA_DISTANCE,
        };
        let rested = self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) >= distance);
        self.usable() && rested && self.extras.len() < EXTRAS
    }
}

/// The pause after `failures` failures in a row.
fn back_off(back_off: BackOff, failures: usize, rng: &mut impl Rng) -> Duration {
    match back_off {
        BackOff::Steps {
            first,
            minutes,
            jitter,
        } => match (failures, minutes) {
            (0 | 1, _) | (_, []) => first,
            (more, _) => {
                let minutes = minutes[(more - 2).min(minutes.len() - 1)];
                Duration::from_secs(minutes * 60 + rng.random_range(0..=jitter))
            }
        },
        BackOff::Square { longest } => {
            let n = u64::try_from(failures).unwrap_or(u64::MAX).clamp(1, 1_000);
            Duration::from_secs(5 + n * n * 25 / 2).min(longest)
        }
    }
}

/// The URL, or the reason why this program cannot announce to it.
fn served(name: &str) -> Result<url::Url, &'static str> {
    if name.len() > MAX_URL {
        return Err("is longer than 2048 bytes: not used");
    }
    let url = url::Url::parse(name).map_err(|_| "is not a URL: not used")?;
    match url.scheme() {
        "http" | "https" if url.host().is_some() => Ok(url),
        "udp" if url.host().is_some() && url.port().is_some_and(|port| port != 0) => Ok(url),
        "udp" => Err("names no host or no port: not used"),
        _ => Err("is not an http, https or udp URL: not used"),
    }
}
