//! The infohashes under which we want to be found, and the schedule of their lookups and announces.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};

use super::{Family, Id, WatchStatus, lookup::LookupId, profile::Profile};

/// Infohashes at a time: two for each of some hundred channels.
const MOST_WATCHED: usize = 1_024;
/// Lookups after the first announce, in seconds: two nodes that start at the same moment both look before either has
/// announced, and find each other only in this way.
const FOLLOW_UP_S: [u64; 4] = [1, 3, 10, 30];
/// The shortest pause before a requested lookup. It doubles with each one that is requested between two announces:
/// other clients rarely look anything up more often than they announce it.
const FIND_AGAIN: Duration = Duration::from_secs(10);
/// The longest such pause.
const LONGEST_FIND_AGAIN: Duration = Duration::from_secs(320);
/// The pause after the first announce that no node accepted; it doubles.
const RETRY: Duration = Duration::from_secs(10);
/// The longest such pause.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

/// The state of an infohash in one family.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    find: Option<Instant>,
    announce: Instant,
    follow_ups: usize,
    /// Lookups that were requested since the last announce.
    finds: u32,
    failures: u32,
    started: Option<Instant>,
    /// The lookup under way.
    pub(super) lookup: Option<LookupId>,
    /// When a lookup was last answered, and the peers that it found.
    answered: Option<Instant>,
    found: usize,
    /// Nodes that accepted the last announce, and when it was sent.
    taken: usize,
    announced: Option<Instant>,
}

/// One infohash.
pub(super) struct Watch {
    /// The port to announce.
    pub(super) port: u16,
    pub(super) slots: [Slot; 2],
}

/// All infohashes that are watched.
pub(super) struct Watches {
    profile: Profile,
    by_hash: BTreeMap<Id, Watch>,
}

impl Watches {
    pub(super) fn new(profile: Profile) -> Self {
        Self {
            profile,
            by_hash: BTreeMap::new(),
        }
    }

    /// Adds an infohash; one that is watched keeps its schedule. False if there are too many.
    pub(super) fn add(&mut self, hash: Id, port: u16, now: Instant) -> bool {
        if let Some(watch) = self.by_hash.get_mut(&hash) {
            watch.port = port;
            return true;
        }
        if self.by_hash.len() >= MOST_WATCHED {
            return false;
        }
        let slot = Slot {
            find: None,
            announce: now,
            follow_ups: 0,
            finds: 0,
            answered: None,
            found: 0,
            failures: 0,
            started: None,
            lookup: None,
            taken: 0,
            announced: None,
        };
        let slots = [slot.clone(), slot];
        self.by_hash.insert(hash, Watch { port, slots });
        true
    }

    /// Removes an infohash. Other nodes keep the announce for up to half an hour: the DHT cannot withdraw it.
    pub(super) fn remove(&mut self, hash: &Id) -> Option<Watch> {
        self.by_hash.remove(hash)
    }

    /// Sets the port for the next announce, which is due soon.
    pub(super) fn set_port(&mut self, port: u16, now: Instant) {
        for watch in self.by_hash.values_mut() {
            if watch.port != port {
                watch.port = port;
                for slot in &mut watch.slots {
                    slot.announce = slot.announce.min(now + RETRY);
                }
            }
        }
    }

    /// Schedules a lookup soon, without an announce.
    pub(super) fn find(&mut self, hash: &Id, now: Instant) {
        if let Some(watch) = self.by_hash.get_mut(hash) {
            for slot in &mut watch.slots {
                if slot.find.is_some() || slot.lookup.is_some() {
                    continue;
                }
                let pause = FIND_AGAIN * 2_u32.pow(slot.finds.min(8));
                slot.finds += 1;
                let pause = pause.min(LONGEST_FIND_AGAIN);
                slot.find = Some(slot.started.map_or(now, |last| now.max(last + pause)));
            }
        }
    }

    /// Schedules an announce of everything, because our address has changed.
    pub(super) fn announce_again(&mut self, family: Family, now: Instant) {
        for watch in self.by_hash.values_mut() {
            let slot = &mut watch.slots[family.index()];
            slot.announce = slot.announce.min(now + RETRY);
        }
    }

    /// An infohash that is due in that family.
    pub(super) fn due(&self, family: Family, now: Instant) -> Option<Id> {
        let next = |watch: &Watch| watch.slots[family.index()].next();
        let mut due = self.by_hash.iter().filter(|(_, watch)| {
            let next = next(watch);
            next.is_some_and(|next| next <= now)
        });
        due.next().map(|(hash, _)| *hash)
    }

    /// When the next one is due in that family.
    pub(super) fn next(&self, family: Family) -> Option<Instant> {
        let slots = self
            .by_hash
            .values()
            .map(|watch| &watch.slots[family.index()]);
        slots.filter_map(Slot::next).min()
    }

    /// Records that the lookup of an infohash has begun.
    pub(super) fn begin(&mut self, hash: &Id, family: Family, lookup: LookupId, now: Instant) {
        if let Some(slot) = self.slot(hash, family) {
            slot.lookup = Some(lookup);
            slot.started = Some(now);
        }
    }

    /// Records that its lookup has ended, with the number of nodes that accept an announce and of peers found. Returns
    /// the port to announce to those nodes, if an announce is due.
    pub(super) fn ended(
        &mut self,
        hash: &Id,
        family: Family,
        (nodes, found): (usize, usize),
        now: Instant,
        rng: &mut dyn Rng,
    ) -> Option<u16> {
        let repeat = self.profile.repeat();
        let watch = self.by_hash.get_mut(hash)?;
        let slot = &mut watch.slots[family.index()];
        slot.lookup = None;
        slot.find = None;
        if nodes > 0 {
            slot.answered = Some(now);
            slot.found = found;
        }
        let tell = slot.announce <= now;
        if tell && nodes == 0 {
            let pause = RETRY * 2_u32.pow(slot.failures.min(8));
            slot.failures = slot.failures.saturating_add(1);
            slot.announce = now + pause.min(LONGEST_RETRY);
            return None;
        }
        if tell {
            slot.failures = 0;
            slot.finds = 0;
            slot.taken = 0;
            slot.announced = Some(now);
            slot.announce = now + Duration::from_millis(rng.random_range(repeat));
        }
        if let Some(pause) = FOLLOW_UP_S.get(slot.follow_ups) {
            slot.follow_ups += 1;
            let jitter = Duration::from_millis(rng.random_range(0..500));
            slot.find = Some(now + Duration::from_secs(*pause) + jitter);
        }
        tell.then_some(watch.port)
    }

    /// Records that a node accepted an announce.
    pub(super) fn taken(&mut self, hash: &Id, family: Family) {
        if let Some(slot) = self.slot(hash, family) {
            slot.taken += 1;
        }
    }

    fn slot(&mut self, hash: &Id, family: Family) -> Option<&mut Slot> {
        let watch = self.by_hash.get_mut(hash)?;
        watch.slots.get_mut(family.index())
    }

    /// Whether an infohash is watched.
    pub(super) fn contains(&self, hash: &Id) -> bool {
        self.by_hash.contains_key(hash)
    }

    /// The status of all infohashes.
    pub(super) fn status(&self) -> Vec<WatchStatus> {
        let failing = |slot: &Slot| slot.failures > 0;
        let fine = |slot: &Slot| slot.failures == 0 && slot.announced.is_some();
        // Without a socket nothing has ever been started.
        let next = |slot: &Slot| slot.started.and_then(|_| slot.next());
        let one = |(hash, watch): (&Id, &Watch)| WatchStatus {
            hash: *hash,
            port: watch.port,
            announced: watch.slots.iter().filter_map(|slot| slot.announced).max(),
            taken: watch.slots.iter().map(|slot| slot.taken).sum(),
            answered: watch.slots.iter().filter_map(|slot| slot.answered).max(),
            found: watch.slots.iter().map(|slot| slot.found).sum(),
            failing: watch.slots.iter().any(failing) && !watch.slots.iter().any(fine),
            next: watch.slots.iter().filter_map(next).min(),
            looking: watch.slots.iter().any(|slot| slot.lookup.is_some()),
        };
        self.by_hash.iter().map(one).collect()
    }
}

impl Slot {
    /// When it is due; `None` while its lookup is under way.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.lookup.is_some() {
            return None;
        }
        Some(
            self.find
                .map_or(self.announce, |find| find.min(self.announce)),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const HASH: Id = Id([1; 20]);
    const V4: Family = Family::V4;

    /// Runs a watch for some hours; returns the times of announces and lookups, in seconds.
    fn run(profile: Profile, hours: u64, nodes: usize) -> (Vec<u64>, Vec<u64>) {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut watches = Watches::new(profile);
        watches.add(HASH, 7, start);
        let (mut announces, mut lookups) = (Vec::new(), Vec::new());
        while let Some(now) = watches.next(V4) {
            let at = (now - start).as_secs();
            if at > hours * 3_600 {
                break;
            }
            assert_eq!(watches.due(V4, now), Some(HASH));
            watches.begin(&HASH, V4, 1, now);
            assert_eq!(watches.due(V4, now), None);
            lookups.push(at);
            if watches
                .ended(&HASH, V4, (nodes, 0), now, &mut rng)
                .is_some()
            {
                announces.push(at);
            }
        }
        (announces, lookups)
    }

    #[test]
    fn announces_are_as_rare_as_the_profile_demands() {
        let (announces, lookups) = run(Profile::Transmission, 5, 8);
        let pauses = announces.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(pauses.clone().count() >= 9, "{announces:?}");
        assert!(
            pauses
                .clone()
                .all(|pause| (25 * 60..=28 * 60).contains(&pause))
        );
        assert_eq!(lookups.len(), announces.len() + FOLLOW_UP_S.len());
        let (announces, _) = run(Profile::Libtorrent, 5, 8);
        let mut pauses = announces.windows(2).map(|pair| pair[1] - pair[0]);
        assert!(pauses.all(|pause| (14 * 60..=16 * 60).contains(&pause)));
    }

    #[test]
    fn an_announce_that_no_node_accepted_is_retried_ever_less_often() {
        let (announces, lookups) = run(Profile::Transmission, 1, 0);
        assert!(announces.is_empty());
        assert_eq!(lookups[..6], [0, 10, 30, 70, 150, 310]);
        assert!(lookups.len() < 20);
    }

    #[test]
    fn requested_lookups_become_rarer_until_the_next_announce() {
        let (start, mut rng) = (Instant::now(), StdRng::seed_from_u64(1));
        let mut watches = Watches::new(Profile::Transmission);
        watches.add(HASH, 7, start);
        let mut lookups = Vec::new();
        for second in 0..1_200 {
            let now = start + Duration::from_secs(second);
            watches.find(&HASH, now);
            if watches.due(V4, now).is_some() {
                watches.begin(&HASH, V4, 1, now);
                watches.ended(&HASH, V4, (8, 0), now, &mut rng);
                lookups.push(second);
            }
        }
        // The first announce and its follow-ups, then pauses that double.
        assert!((8..=12).contains(&lookups.len()), "{lookups:?}");
    }
}
