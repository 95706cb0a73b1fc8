//! Pulling what others have and we lack (`docs/PROTOCOL.md`, sync). Pure.
//!
//! Claims say who has what. What a link claimed when it came up is history, wanted at once; what a claim
//! raised later is most likely on its way to us already, and is wanted only when nothing of it came for
//! two seconds. A range is asked of one member at a time, two ranges a link, so that a newcomer gets the
//! history once and not once from everybody.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
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
const AHEAD: u64 = 1_024;
/// An answer that takes longer is given up, and asked of another.
const PATIENCE: Duration = Duration::from_secs(5);
/// A link that was given up is not asked again for so long.
const SULK: Duration = Duration::from_secs(10);
/// A live event that was announced but does not come is asked for after so long.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Default)]
struct Source {
    claims: HashMap<Device, u64>,
    asked: VecDeque<Asked>,
    sulks_until: Option<Instant>,
}

struct Asked {
    device: Device,
    from: u64,
    to: u64,
    since: Instant,
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
        self.links.remove(&link);
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
        if next > logs.next(&device) {
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
    pub(super) fn progress(&mut self, device: &Device, logs: &Logs, now: Instant) {
        if let Some(lack) = self.lacks.get_mut(device) {
            lack.progress = now;
            let next = logs.next(device);
            if next >= lack.urgent_to
                && !self.links.values().any(|source| {
                    source
                        .claims
                        .get(device)
                        .is_some_and(|&claimed| claimed > next)
                })
            {
                self.lacks.remove(device);
            }
        }
    }

    /// What was accepted was lost again: whatever is claimed and not there is wanted anew.
    pub(super) fn reassess(&mut self, logs: &Logs, now: Instant) {
        for source in self.links.values() {
            for (device, &claimed) in &source.claims {
                if claimed > logs.next(device) {
                    let lack = self.lacks.entry(*device).or_insert(Lack {
                        urgent_to: 0,
                        progress: now,
                    });
                    lack.urgent_to = lack.urgent_to.max(claimed);
                }
            }
        }
    }

    /// A link answered its oldest question. `empty`: it has nothing of it, whatever it claimed.
    pub(super) fn answered(&mut self, link: LinkId, empty: bool) {
        if let Some(source) = self.links.get_mut(&link)
            && let Some(asked) = source.asked.pop_front()
            && empty
        {
            source.claims.insert(
                asked.device,
                asked
                    .from
                    .min(source.claims.get(&asked.device).copied().unwrap_or(0)),
            );
        }
    }

    /// What to ask now, by link.
    pub(super) fn plan(&mut self, logs: &Logs, now: Instant) -> Vec<(LinkId, Vec<proto::Range>)> {
        self.give_up(now);
        let mut plan: BTreeMap<LinkId, Vec<proto::Range>> = BTreeMap::new();
        let lacking: Vec<Device> = self.lacks.keys().copied().collect();
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
            }
        }
        plan.into_iter().collect()
    }

    /// The next range of a log, and whom to ask for it.
    fn choose(&mut self, device: &Device, logs: &Logs, now: Instant) -> Option<(LinkId, u64, u64)> {
        let next = logs.next(device);
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
        let lack = self.lacks.get(device)?;
        if best <= next {
            self.lacks.remove(device);
            return None;
        }
        let end = if now >= lack.progress + GRACE {
            end
        } else {
            end.min(lack.urgent_to)
        };
        let from = self.first_open(device, next, end, logs)?;
        let (&link, source) = self
            .links
            .iter()
            .filter(|(_, source)| {
                source.asked.len() < IN_FLIGHT
                    && source.sulks_until.is_none_or(|until| now >= until)
                    && source
                        .claims
                        .get(device)
                        .is_some_and(|&claimed| claimed > from)
            })
            .min_by_key(|(_, source)| source.asked.len())?;
        let claimed = source.claims.get(device).copied().unwrap_or(0);
        let mut to = from;
        let stop = end.min(claimed).min(from + RANGE);
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
                source.asked.clear();
                source.sulks_until = Some(now + SULK);
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
