//! The schedule of scrapes (BEP 48), as the client has it that we look like. Pure.
//!
//! The counts are not used, but a client that never asks for them stands out. All hashes of one tracker go into one
//! request; like that client, we delay each scrape to the next full ten seconds for that.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use url::Url;

/// Hashes per request.
const MAX_HASHES: usize = 60;
/// Times are delayed to multiples of this.
const ALIGNED_MS: u64 = 10_000;

struct Tracker {
    url: Url,
    /// The hash and the time of its next scrape, by the swarm's number.
    swarms: BTreeMap<u64, ([u8; 20], Instant)>,
}

/// The scrapes that are scheduled.
pub(super) struct Scrapes {
    every: Option<Duration>,
    trackers: BTreeMap<String, Tracker>,
}

impl Scrapes {
    /// An empty schedule. `every` is the interval; `None` means never.
    pub(super) fn new(every: Option<Duration>) -> Self {
        Self {
            every,
            trackers: BTreeMap::new(),
        }
    }

    /// Schedules a scrape after a tracker has answered an announce. `counted`: the answer already had the counts.
    pub(super) fn answered(
        &mut self,
        (name, url): (&str, &Url),
        (number, hash): (u64, [u8; 20]),
        counted: bool,
        now: Instant,
        unix_ms: u64,
    ) {
        let Some(every) = self.every else { return };
        let tracker = self
            .trackers
            .entry(name.to_owned())
            .or_insert_with(|| Tracker {
                url: url.clone(),
                swarms: BTreeMap::new(),
            });
        if counted {
            let next = (hash, aligned(now, every, unix_ms));
            tracker.swarms.insert(number, next);
        } else {
            let soon = (hash, aligned(now, Duration::ZERO, unix_ms));
            // A swarm that was scraped lately keeps its time.
            tracker.swarms.entry(number).or_insert(soon);
        }
    }

    /// Drops a swarm.
    pub(super) fn forget(&mut self, number: u64) {
        self.trackers.retain(|_, tracker| {
            tracker.swarms.remove(&number);
            !tracker.swarms.is_empty()
        });
    }

    /// Sets the trackers of a swarm; others are dropped.
    pub(super) fn replace(&mut self, number: u64, tiers: &[Vec<String>]) {
        self.trackers.retain(|name, tracker| {
            if !tiers.iter().flatten().any(|kept| kept == name) {
                tracker.swarms.remove(&number);
            }
            !tracker.swarms.is_empty()
        });
    }

    /// When the next scrape is due.
    pub(super) fn next(&self) -> Option<Instant> {
        let swarms = self.trackers.values().flat_map(|one| one.swarms.values());
        swarms.map(|(_, due)| *due).min()
    }

    /// A tracker and the hashes to ask it about, if a scrape is due.
    pub(super) fn due(&mut self, now: Instant, unix_ms: u64) -> Option<(Url, Vec<[u8; 20]>)> {
        let every = self.every?;
        let is_due = |tracker: &&mut Tracker| tracker.swarms.values().any(|(_, due)| *due <= now);
        let tracker = self.trackers.values_mut().find(is_due)?;
        let mut hashes = Vec::new();
        for (hash, due) in tracker.swarms.values_mut() {
            if *due <= now && hashes.len() < MAX_HASHES {
                hashes.push(*hash);
                *due = aligned(now, every, unix_ms);
            }
        }
        Some((tracker.url.clone(), hashes))
    }
}

/// The time that is `after` from now, delayed to the next full ten seconds of the wall clock.
fn aligned(now: Instant, after: Duration, unix_ms: u64) -> Instant {
    let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX / 2);
    let at = unix_ms.saturating_add(after_ms);
    let rest = (ALIGNED_MS - at % ALIGNED_MS) % ALIGNED_MS;
    now + after + Duration::from_millis(rest)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const EVERY: Duration = Duration::from_secs(1_800);

    fn url() -> Url {
        "http://t.example/announce".parse().unwrap()
    }

    #[test]
    fn all_of_one_tracker_go_together_and_come_again() {
        let (mut scrapes, begin) = (Scrapes::new(Some(EVERY)), Instant::now());
        scrapes.answered(("t", &url()), (1, [1; 20]), false, begin, 1_000_001_500);
        let later = begin + Duration::from_secs(2);
        scrapes.answered(("t", &url()), (2, [2; 20]), false, later, 1_000_003_500);
        let due = begin + Duration::from_millis(8_500);
        assert_eq!(scrapes.next(), Some(due));
        assert!(scrapes.due(later, 1_000_003_500).is_none());
        let (_, hashes) = scrapes.due(due, 1_000_010_000).unwrap();
        assert_eq!(hashes, [[1; 20], [2; 20]]);
        assert!(scrapes.due(due, 1_000_010_000).is_none());
        assert_eq!(scrapes.next(), Some(due + EVERY));
        // Another announce does not bring it forward, and a swarm that was left is not scraped.
        scrapes.answered(("t", &url()), (1, [1; 20]), false, due, 1_000_010_000);
        assert_eq!(scrapes.next(), Some(due + EVERY));
        scrapes.replace(1, &[vec!["t".to_owned()]]);
        assert_eq!(scrapes.next(), Some(due + EVERY));
        scrapes.replace(1, &[vec!["u".to_owned()]]);
        scrapes.forget(2);
        assert_eq!(scrapes.next(), None);
    }

    #[test]
    fn counts_in_an_announce_delay_the_scrape_and_some_clients_never_scrape() {
        let now = Instant::now();
        let mut scrapes = Scrapes::new(Some(EVERY));
        scrapes.answered(("t", &url()), (1, [1; 20]), true, now, 0);
        assert_eq!(scrapes.next(), Some(now + EVERY));
        let mut never = Scrapes::new(None);
        never.answered(("t", &url()), (1, [1; 20]), false, now, 0);
        assert_eq!(never.next(), None);
    }

    #[test]
    fn requests_are_bounded() {
        let (mut scrapes, now) = (Scrapes::new(Some(EVERY)), Instant::now());
        for number in 0..100 {
            scrapes.answered(("t", &url()), (number, [3; 20]), false, now, 0);
        }
        assert_eq!(scrapes.due(now, 0).unwrap().1.len(), MAX_HASHES);
        assert_eq!(scrapes.due(now, 0).unwrap().1.len(), 40);
        assert!(scrapes.due(now, 0).is_none());
    }
}
