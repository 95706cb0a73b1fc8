//! Pulling what others have and we lack (`docs/PROTOCOL.md`, sync). Pure.
//!
//! Claims say who has what. What a link claimed when it came up is history, wanted at once; what a claim
//! raised later is most likely on its way to us already, and is wanted only when nothing of it came for
//! two seconds. A range is asked of one member at a time, two ranges a link, so that a newcomer gets the
//! history once and not once from everybody. A member that claims what it does not give is asked last, and
//! its claims cost no more than a look at its own list: it can neither hold others up nor keep us busy.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use bitchat_wire::proto;
use bytes::Bytes;

use super::logs::{Device, Logs, MAX_DEVICES};
use crate::link::LinkId;

/// Ranges in flight a link.
const IN_FLIGHT: usize = 2;
/// Events in a range: what fits one answer of small messages.
const RANGE: u64 = 256;
/// How far ahead of what we have ranges are asked for: less than what can be held back.
pub(super) const AHEAD: u64 = 1_024;
/// An answer that takes longer is given up, and asked of another.
const PATIENCE: Duration = Duration::from_secs(5);
/// A link that was given up is not asked again for so long; twice as long with each further time.
const SULK: Duration = Duration::from_secs(10);
/// So often at most it grows twice as long.
const SULK_DOUBLINGS: u32 = 5;
/// A link is not asked again so soon after it had no room for a question.
const NO_ROOM: Duration = Duration::from_secs(1);
/// Useless answers in a row that make a link be left alone for a while.
const USELESS: u32 = 3;
/// A live event that was announced but does not come is asked for after so long.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Source {
    claims: HashMap<Device, u64>,
    /// Logs of which it claims more than we have, as far as we know.
    wanted: BTreeSet<Device>,
    asked: VecDeque<Asked>,
    /// The next event of a log that it gave, and that waits for our clock.
    gave: HashMap<Device, u64>,
    /// Answers to questions that were given up, which may yet come; answers come in the order of questions.
    owed: usize,
    /// Questions without a useful answer; useful ones take them back.
    failures: u32,
    sulks_until: Option<Instant>,
}

impl Source {
    fn is_free(&self, now: Instant) -> bool {
        self.asked.len() < IN_FLIGHT && self.sulks_until.is_none_or(|until| now >= until)
    }

    /// Whether it claims to have an event, and did not give one already that waits.
    fn has(&self, device: &Device, seq: u64) -> bool {
        let claimed = self
            .claims
            .get(device)
            .is_some_and(|claimed| *claimed > seq);
        claimed && self.gave.get(device) != Some(&seq)
    }

    fn sulk(&mut self, now: Instant) {
        let doublings = self.failures.saturating_sub(1).min(SULK_DOUBLINGS);
        self.sulks_until = Some(now + SULK * (1 << doublings));
    }
}

/// A question to a link.
pub(super) struct Asked {
    pub(super) device: Device,
    pub(super) from: u64,
    to: u64,
    since: Instant,
}

/// Whether a claim of all below `claimed` is more than we have and may have.
fn exceeds(logs: &Logs, device: &Device, claimed: u64) -> bool {
    claimed.min(logs.end(device).unwrap_or(u64::MAX)) > logs.next(device)
}

/// A log of which somebody claims more than we have.
struct Lack {
    /// Wanted at once below this number.
    urgent_to: u64,
    /// When something of it last came, or was first heard of.
    progress: Instant,
}

/// What we lack, who has it, and what was asked of whom.
#[derive(Default)]
pub(super) struct Pull {
    links: BTreeMap<LinkId, Source>,
    lacks: HashMap<Device, Lack>,
}

impl Pull {
    pub(super) fn up(&mut self, link: LinkId) {
        self.links.insert(link, Source::default());
    }

    pub(super) fn down(&mut self, link: LinkId) {
        let Some(gone) = self.links.remove(&link) else {
            return;
        };
        for device in gone.wanted {
            if !self.is_wanted(&device) {
                self.lacks.remove(&device);
            }
        }
    }

    fn is_wanted(&self, device: &Device) -> bool {
        self.links
            .values()
            .any(|source| source.wanted.contains(device))
    }

    /// A link claims to have all of `device`'s log below `next`.
    pub(super) fn claim(
        &mut self,
        link: LinkId,
        device: Device,
        next: u64,
        initial: bool,
        logs: &Logs,
        now: Instant,
    ) {
        let Some(source) = self.links.get_mut(&link) else {
            return;
        };
        if source.claims.len() >= MAX_DEVICES && !source.claims.contains_key(&device) {
            return;
        }
        let claimed = source.claims.entry(device).or_insert(0);
        *claimed = (*claimed).max(next);
        if exceeds(logs, &device, next) {
            source.wanted.insert(device);
            let lack = self.lacks.entry(device).or_insert(Lack {
                urgent_to: 0,
                progress: now,
            });
            if initial {
                lack.urgent_to = lack.urgent_to.max(next);
            }
        }
    }

    /// What a link claims to have of a log.
    pub(super) fn claimed(&self, link: LinkId, device: &Device) -> u64 {
        self.links
            .get(&link)
            .and_then(|source| source.claims.get(device))
            .copied()
            .unwrap_or(0)
    }

    /// All below `seq` is missing though `seq` came: nothing to wait for.
    pub(super) fn gap(&mut self, device: Device, seq: u64, now: Instant) {
        let lack = self.lacks.entry(device).or_insert(Lack {
            urgent_to: 0,
            progress: now,
        });
        lack.urgent_to = lack.urgent_to.max(seq);
    }

    /// Something of a log was accepted.
    pub(super) fn progress(&mut self, device: &Device, now: Instant) {
        if let Some(lack) = self.lacks.get_mut(device) {
            lack.progress = now;
        }
    }

    /// What was accepted was lost again: whatever is claimed and not there is wanted anew.
    pub(super) fn reassess(&mut self, logs: &Logs, now: Instant) {
        for source in self.links.values_mut() {
            for (device, &claimed) in &source.claims {
                if exceeds(logs, device, claimed) {
                    source.wanted.insert(*device);
                    let lack = self.lacks.entry(*device).or_insert(Lack {
                        urgent_to: 0,
                        progress: now,
                    });
                    lack.urgent_to = lack.urgent_to.max(claimed);
                }
            }
        }
    }

    /// A link answered: which question, unless that was given up before.
    pub(super) fn answered(&mut self, link: LinkId) -> Option<Asked> {
        let source = self.links.get_mut(&link)?;
        if let Some(owed) = source.owed.checked_sub(1) {
            source.owed = owed;
            // Slow, but it does answer.
            source.sulks_until = None;
            return None;
        }
        source.asked.pop_front()
    }

    /// What came of an answer. If not the very first event that was asked for, the link has nothing of it
    /// whatever it claimed, and will be believed less.
    pub(super) fn judge(&mut self, link: LinkId, asked: &Asked, logs: &Logs, now: Instant) {
        let Some(source) = self.links.get_mut(&link) else {
            return;
        };
        let Asked { device, from, .. } = asked;
        if logs.waits_for_clock(device, *from) {
            source.gave.insert(*device, *from);
            return;
        }
        source.gave.remove(device);
        if logs.next(device) > *from
            || logs.is_held(device, *from)
            || logs.end(device).is_some_and(|end| end <= *from)
        {
            source.failures = source.failures.saturating_sub(1);
            return;
        }
        source.failures = source.failures.saturating_add(1);
        if let Some(claimed) = source.claims.get_mut(device) {
            *claimed = (*claimed).min(*from);
        }
        if source.failures >= USELESS {
            source.sulk(now);
        }
    }

    /// There was no room for the latest `count` questions to a link.
    pub(super) fn not_asked(&mut self, link: LinkId, count: usize, now: Instant) {
        if let Some(source) = self.links.get_mut(&link) {
            let keep = source.asked.len().saturating_sub(count);
            source.asked.truncate(keep);
            source.sulks_until = Some(now + NO_ROOM);
        }
    }

    /// What to ask now, by link.
    pub(super) fn plan(&mut self, logs: &Logs, now: Instant) -> Vec<(LinkId, Vec<proto::Range>)> {
        self.give_up(now);
        self.forget_satisfied(logs, now);
        let free = self.links.values().filter(|source| source.is_free(now));
        let lacking: BTreeSet<Device> = free.flat_map(|source| &source.wanted).copied().collect();
        let mut plan: BTreeMap<LinkId, Vec<proto::Range>> = BTreeMap::new();
        for device in lacking {
            while let Some((link, from, to)) = self.choose(&device, logs, now) {
                if let Some(source) = self.links.get_mut(&link) {
                    source.asked.push_back(Asked {
                        device,
                        from,
                        to,
                        since: now,
                    });
                }
                plan.entry(link).or_default().push(proto::Range {
                    device: Bytes::copy_from_slice(&device),
                    from,
                    to,
                });
                if !self.links.values().any(|source| source.is_free(now)) {
                    return plan.into_iter().collect();
                }
            }
        }
        plan.into_iter().collect()
    }

    /// Looks at the lists of links that can be asked, and strikes out what we have.
    fn forget_satisfied(&mut self, logs: &Logs, now: Instant) {
        let mut satisfied = Vec::new();
        for source in self.links.values_mut().filter(|source| source.is_free(now)) {
            let claims = &source.claims;
            source.wanted.retain(|device| {
                let claimed = claims.get(device).copied().unwrap_or(0);
                let wanted = exceeds(logs, device, claimed);
                if !wanted {
                    satisfied.push(*device);
                }
                wanted
            });
        }
        for device in satisfied {
            if !self.is_wanted(&device) {
                self.lacks.remove(&device);
            }
        }
    }

    /// The next range of a log, and whom to ask for it.
    fn choose(&self, device: &Device, logs: &Logs, now: Instant) -> Option<(LinkId, u64, u64)> {
        let lack = self.lacks.get(device)?;
        let next = logs.next(device);
        let patient = now < lack.progress + GRACE;
        if patient && lack.urgent_to <= next {
            return None;
        }
        let best = self
            .links
            .values()
            .filter_map(|source| source.claims.get(device))
            .copied()
            .max()
            .unwrap_or(0);
        let end = best
            .min(logs.end(device).unwrap_or(u64::MAX))
            .min(next.saturating_add(AHEAD));
        let end = if patient {
            end.min(lack.urgent_to)
        } else {
            end
        };
        let other = |source: &Source| source.has(device, next);
        let from = if next < end
            && logs.waits_for_clock(device, next)
            && !self.covered(device, next)
            && self.links.values().any(other)
        {
            next
        } else {
            self.first_open(device, next, end, logs)?
        };
        let (&link, source) = self
            .links
            .iter()
            .filter(|(_, source)| source.is_free(now) && source.has(device, from))
            .min_by_key(|(_, source)| (source.failures, source.asked.len()))?;
        let claimed = source.claims.get(device).copied().unwrap_or(0);
        let mut to = from + 1;
        let stop = end.min(claimed).min(from.saturating_add(RANGE));
        while to < stop && !logs.is_held(device, to) && !self.covered(device, to) {
            to += 1;
        }
        Some((link, from, to))
    }

    /// The first number from `next` on that is neither held nor asked for.
    fn first_open(&self, device: &Device, next: u64, end: u64, logs: &Logs) -> Option<u64> {
        let mut seq = next;
        while seq < end {
            if let Some(asked) = self.asked_for(device, seq) {
                seq = asked.to;
            } else if logs.is_held(device, seq) {
                seq += 1;
            } else {
                return Some(seq);
            }
        }
        None
    }

    fn asked_for(&self, device: &Device, seq: u64) -> Option<&Asked> {
        self.links
            .values()
            .flat_map(|source| &source.asked)
            .find(|asked| asked.device == *device && asked.from <= seq && seq < asked.to)
    }

    fn covered(&self, device: &Device, seq: u64) -> bool {
        self.asked_for(device, seq).is_some()
    }

    fn give_up(&mut self, now: Instant) {
        for source in self.links.values_mut() {
            if source
                .asked
                .front()
                .is_some_and(|asked| now >= asked.since + PATIENCE)
            {
                source.owed += source.asked.len();
                source.asked.clear();
                source.failures = source.failures.saturating_add(1);
                source.sulk(now);
            }
        }
    }

    /// When [`Pull::plan`] may have something new to say, if nothing else happens.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let answers = self
            .links
            .values()
            .filter_map(|source| source.asked.front())
            .map(|asked| asked.since + PATIENCE);
        let lacks = self
            .lacks
            .values()
            .map(|lack| lack.progress + GRACE)
            .filter(|at| *at > now);
        let sulks = self
            .links
            .values()
            .filter_map(|source| source.sulks_until)
            .filter(|at| *at > now);
        let sulks = sulks.filter(|_| !self.lacks.is_empty());
        answers.chain(lacks).chain(sulks).min()
    }

    /// Whether any log is known to lack something.
    pub(super) fn lacking(&self) -> usize {
        self.lacks.len()
    }
}
