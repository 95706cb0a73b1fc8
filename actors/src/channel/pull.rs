//! Pulling what others have and we lack (`docs/PROTOCOL.md`, sync). Pure.
//!
//! Claims state who has what. What a link claimed when it came up is history, and requested at once; what it claims
//! later is most likely on its way to us already, and is requested only if nothing of it arrives for two seconds. A
//! range is requested from one member at a time, two ranges per link, so that a newcomer gets the history once, and not
//! once from every member. A member that claims what it does not deliver is asked last, and its claims cost no more than
//! a look at its own list: it can neither hold up others nor keep us busy.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::{Duration, Instant},
};

use bitchat_wire::proto;
use bytes::Bytes;

use super::{
    device::{Device, MAX_DEVICES},
    logs::Logs,
};
use crate::link::LinkId;

/// Ranges in flight per link.
const IN_FLIGHT: usize = 2;
/// Events in a range: as many small messages as fit one answer.
const RANGE: u64 = 256;
/// How far ahead of what we have ranges are requested: less than `logs` can hold back.
pub(super) const AHEAD: u64 = 1_024;
/// A request without an answer is abandoned after this long, and sent to another link.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a link that did not answer is left alone; doubled with each further failure.
const BACKOFF: Duration = Duration::from_secs(10);
/// How many times [`BACKOFF`] is doubled at most.
const BACKOFF_DOUBLINGS: u32 = 5;
/// How long a link is left alone that had no room for a request.
const NO_ROOM: Duration = Duration::from_secs(1);
/// Failed requests after which a link is left alone for a while.
const FAILURES: u32 = 3;
/// How long an event that was claimed live may take to arrive before it is requested.
const LIVE_WAIT: Duration = Duration::from_secs(2);

/// What one link claims, and what was requested from it.
#[derive(Default)]
struct Source {
    /// The end of each log that it claims to have.
    claims: HashMap<Device, u64>,
    /// Logs of which it claims more than we have, as far as we know.
    wanted: BTreeSet<Device>,
    requested: VecDeque<Request>,
    /// The next event of a log, if it delivered that and the event waits for our clock.
    gave: HashMap<Device, u64>,
    /// Answers to abandoned requests, which may still arrive; answers come in the order of the requests.
    owed: usize,
    /// Requests without a useful answer, less those with one.
    failures: u32,
    /// When it may be asked again; `None`: at once.
    rests_until: Option<Instant>,
}

impl Source {
    fn is_free(&self, now: Instant) -> bool {
        self.requested.len() < IN_FLIGHT && self.rests_until.is_none_or(|until| now >= until)
    }

    /// Whether it claims to have an event, and has not delivered one of that number that waits for our clock.
    fn has(&self, device: &Device, seq: u64) -> bool {
        let claimed = self
            .claims
            .get(device)
            .is_some_and(|claimed| *claimed > seq);
        claimed && self.gave.get(device) != Some(&seq)
    }

    fn rest(&mut self, now: Instant) {
        let doublings = self.failures.saturating_sub(1).min(BACKOFF_DOUBLINGS);
        self.rests_until = Some(now + BACKOFF * (1 << doublings));
    }
}

/// A request to a link.
pub(super) struct Request {
    pub(super) device: Device,
    pub(super) from: u64,
    to: u64,
    since: Instant,
}

/// Whether a claim of all events below `claimed` exceeds what we have, in a log that can still grow.
fn exceeds(logs: &Logs, device: &Device, claimed: u64) -> bool {
    claimed.min(logs.end(device).unwrap_or(u64::MAX)) > logs.next(device)
}

/// A log of which some link claims more than we have.
struct Lack {
    /// Events below this number are requested at once.
    urgent_to: u64,
    /// When an event of it last arrived, or it was first claimed.
    progress: Instant,
}

/// What we lack, which links claim to have it, and what was requested from them.
#[derive(Default)]
pub(super) struct Pull {
    links: BTreeMap<LinkId, Source>,
    lacks: HashMap<Device, Lack>,
}

impl Pull {
    /// Adds a link.
    pub(super) fn up(&mut self, link: LinkId) {
        self.links.insert(link, Source::default());
    }

    /// Removes a link.
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

    /// Records a link's claim to have all of `device`'s log below `next`.
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

    /// The end of a log that a link claims to have.
    pub(super) fn claimed(&self, link: LinkId, device: &Device) -> u64 {
        self.links
            .get(&link)
            .and_then(|source| source.claims.get(device))
            .copied()
            .unwrap_or(0)
    }

    /// Requests all below `seq` at once: `seq` arrived live, so what is missing before it is not on its way.
    pub(super) fn gap(&mut self, device: Device, seq: u64, now: Instant) {
        let lack = self.lacks.entry(device).or_insert(Lack {
            urgent_to: 0,
            progress: now,
        });
        lack.urgent_to = lack.urgent_to.max(seq);
    }

    /// Records that an event of a log was accepted.
    pub(super) fn progress(&mut self, device: &Device, now: Instant) {
        if let Some(lack) = self.lacks.get_mut(device) {
            lack.progress = now;
        }
    }

    /// Compares all claims with the logs again, after accepted events were lost.
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

    /// The request that a link's answer belongs to; `None` if that was abandoned before.
    pub(super) fn answered(&mut self, link: LinkId) -> Option<Request> {
        let source = self.links.get_mut(&link)?;
        if let Some(owed) = source.owed.checked_sub(1) {
            source.owed = owed;
            // It is slow, but it does answer.
            source.rests_until = None;
            return None;
        }
        source.requested.pop_front()
    }

    /// Judges an answer by its first event: without it, the link does not have what it claimed, and is trusted less.
    pub(super) fn judge(&mut self, link: LinkId, request: &Request, logs: &Logs, now: Instant) {
        let Some(source) = self.links.get_mut(&link) else {
            return;
        };
        let Request { device, from, .. } = request;
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
        if source.failures >= FAILURES {
            source.rest(now);
        }
    }

    /// Takes back the latest `count` requests to a link, for which it had no room.
    pub(super) fn not_sent(&mut self, link: LinkId, count: usize, now: Instant) {
        if let Some(source) = self.links.get_mut(&link) {
            let keep = source.requested.len().saturating_sub(count);
            source.requested.truncate(keep);
            source.rests_until = Some(now + NO_ROOM);
        }
    }

    /// The requests to send now, by link.
    pub(super) fn plan(&mut self, logs: &Logs, now: Instant) -> Vec<(LinkId, Vec<proto::Range>)> {
        self.abandon_late(now);
        self.forget_satisfied(logs, now);
        let free = self.links.values().filter(|source| source.is_free(now));
        let lacking: BTreeSet<Device> = free.flat_map(|source| &source.wanted).copied().collect();
        let mut plan: BTreeMap<LinkId, Vec<proto::Range>> = BTreeMap::new();
        for device in lacking {
            while let Some((link, from, to)) = self.choose(&device, logs, now) {
                if let Some(source) = self.links.get_mut(&link) {
                    source.requested.push_back(Request {
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

    /// Removes what we have by now from the lists of links that can be asked.
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

    /// The next range of a log to request, and the link to ask.
    fn choose(&self, device: &Device, logs: &Logs, now: Instant) -> Option<(LinkId, u64, u64)> {
        let lack = self.lacks.get(device)?;
        let next = logs.next(device);
        let waiting = now < lack.progress + LIVE_WAIT;
        if waiting && lack.urgent_to <= next {
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
        let end = if waiting {
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
            .min_by_key(|(_, source)| (source.failures, source.requested.len()))?;
        let claimed = source.claims.get(device).copied().unwrap_or(0);
        let mut to = from + 1;
        let stop = end.min(claimed).min(from.saturating_add(RANGE));
        while to < stop && !logs.is_held(device, to) && !self.covered(device, to) {
            to += 1;
        }
        Some((link, from, to))
    }

    /// The first number from `next` on that is neither held nor requested.
    fn first_open(&self, device: &Device, next: u64, end: u64, logs: &Logs) -> Option<u64> {
        let mut seq = next;
        while seq < end {
            if let Some(request) = self.request_for(device, seq) {
                seq = request.to;
            } else if logs.is_held(device, seq) {
                seq += 1;
            } else {
                return Some(seq);
            }
        }
        None
    }

    fn request_for(&self, device: &Device, seq: u64) -> Option<&Request> {
        self.links
            .values()
            .flat_map(|source| &source.requested)
            .find(|request| request.device == *device && request.from <= seq && seq < request.to)
    }

    fn covered(&self, device: &Device, seq: u64) -> bool {
        self.request_for(device, seq).is_some()
    }

    fn abandon_late(&mut self, now: Instant) {
        for source in self.links.values_mut() {
            if source
                .requested
                .front()
                .is_some_and(|request| now >= request.since + TIMEOUT)
            {
                source.owed += source.requested.len();
                source.requested.clear();
                source.failures = source.failures.saturating_add(1);
                source.rest(now);
            }
        }
    }

    /// When [`Pull::plan`] may return something new if nothing else happens.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let answers = self
            .links
            .values()
            .filter_map(|source| source.requested.front())
            .map(|request| request.since + TIMEOUT);
        let lacks = self
            .lacks
            .values()
            .map(|lack| lack.progress + LIVE_WAIT)
            .filter(|at| *at > now);
        let rests = self
            .links
            .values()
            .filter_map(|source| source.rests_until)
            .filter(|at| *at > now);
        let rests = rests.filter(|_| !self.lacks.is_empty());
        answers.chain(lacks).chain(rests).min()
    }

    /// Whether any link claims more of a log than we have.
    pub(super) fn is_lacking(&self) -> bool {
        !self.lacks.is_empty()
    }
}
