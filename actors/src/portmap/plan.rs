//! Decides when to ask the router, when to renew, and when a mapping is lost. Pure.

use std::time::{Duration, Instant};

/// The lifetime to ask for. A router that restarts forgets the mapping, and is asked again at half of this.
pub(super) const LIFETIME: Duration = Duration::from_secs(3_600);
/// The shortest interval between requests, however short the router's mappings last.
const LEAST: Duration = Duration::from_secs(10);
/// The pause after a change of the network, while addresses and routes settle.
const SETTLE: Duration = Duration::from_secs(1);
/// The pauses after successive failures; the last one repeats.
const PAUSES: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(300),
    Duration::from_secs(900),
    Duration::from_secs(3_600),
];

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask for a mapping.
    Ask,
    /// Ask to renew the mapping.
    Renew,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No mapping.
    Without { ask: Instant },
    /// A mapping that expires at `until`, or never.
    With {
        renew: Instant,
        until: Option<Instant>,
    },
}

/// The mapping's schedule.
#[derive(Debug)]
pub(super) struct Plan {
    phase: Phase,
    /// Failures in a row.
    failures: usize,
}

impl Plan {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Without { ask: now },
            failures: 0,
        }
    }

    /// What to do next, and when.
    pub(super) fn next(&self) -> (Instant, Due) {
        match self.phase {
            Phase::Without { ask } => (ask, Due::Ask),
            Phase::With { renew, .. } => (renew, Due::Renew),
        }
    }

    /// When the mapping expires unless it is renewed; `None` if there is none or it does not expire.
    pub(super) fn until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Without { .. } => None,
            Phase::With { until, .. } => until,
        }
    }

    /// Records that the router has mapped the port for `lifetime`; zero means without an end.
    pub(super) fn granted(&mut self, now: Instant, lifetime: Duration) {
        self.failures = 0;
        let until = (!lifetime.is_zero()).then(|| now + lifetime.min(LIFETIME * 2).max(LEAST * 2));
        // A router that restarts forgets also a mapping without an end.
        let renew = until.map_or(LIFETIME, |until| until - now) / 2;
        self.phase = Phase::With {
            renew: now + renew,
            until,
        };
    }

    /// Records a failed request. Returns whether an existing mapping is lost now; until then, each renewal waits half of the
    /// remaining time (RFC 6887, section 11.2.1). `gone`: the mapping is known to be lost.
    pub(super) fn failed(&mut self, now: Instant, gone: bool) -> bool {
        if let Phase::With { until, .. } = self.phase {
            let end = until.unwrap_or(now + LIFETIME);
            let left = end.saturating_duration_since(now);
            if !gone && left > LEAST && until.is_some() {
                let renew = now + (left / 2).max(LEAST);
                self.phase = Phase::With { renew, until };
                return false;
            }
            self.failures = 0;
            self.phase = Phase::Without { ask: now };
            return true;
        }
        let pause = PAUSES[self.failures.min(PAUSES.len() - 1)];
        self.failures += 1;
        self.phase = Phase::Without { ask: now + pause };
        false
    }

    /// Records a change of the network: there may be another router, and the mapping does not count any longer.
    pub(super) fn moved(&mut self, now: Instant) {
        self.failures = 0;
        self.phase = Phase::Without { ask: now + SETTLE };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_mapping_is_renewed_at_half_of_its_life_and_then_ever_sooner() {
        let start = Instant::now();
        let mut plan = Plan::new(start);
        assert_eq!(plan.next(), (start, Due::Ask));
        plan.granted(start, HOUR);
        assert_eq!(plan.next(), (start + HOUR / 2, Due::Renew));
        assert!(!plan.failed(start + HOUR / 2, false));
        assert_eq!(plan.next(), (start + HOUR * 3 / 4, Due::Renew));
        plan.granted(start + HOUR * 3 / 4, HOUR);
        assert_eq!(plan.until(), Some(start + HOUR * 7 / 4));
        let end = start + HOUR * 7 / 4;
        assert!(plan.failed(end, false), "its time is over");
        assert_eq!(plan.next(), (end, Due::Ask));
    }

    #[test]
    fn a_silent_router_is_asked_once_an_hour_in_the_end_and_at_once_elsewhere() {
        let mut now = Instant::now();
        let mut plan = Plan::new(now);
        let mut pauses = Vec::new();
        for _ in 0..6 {
            assert!(!plan.failed(now, true));
            pauses.push(plan.next().0 - now);
            now = plan.next().0;
        }
        assert_eq!(pauses[..4], PAUSES);
        assert_eq!(pauses[4..], [HOUR; 2]);
        plan.moved(now);
        assert_eq!(plan.next(), (now + SETTLE, Due::Ask));
    }

    #[test]
    fn a_mapping_without_an_end_is_renewed_as_well() {
        let now = Instant::now();
        let mut plan = Plan::new(now);
        plan.granted(now, Duration::ZERO);
        assert_eq!(plan.until(), None);
        assert_eq!(plan.next(), (now + LIFETIME / 2, Due::Renew));
        assert!(
            plan.failed(now + LIFETIME / 2, false),
            "how long it lasts is unknown"
        );
    }

    proptest! {
        #[test]
        fn whatever_a_router_answers_it_is_not_pressed(
            answers in proptest::collection::vec((proptest::option::of(0_u32..u32::MAX), any::<bool>()), 1..60),
        ) {
            let start = Instant::now();
            let (mut plan, mut now) = (Plan::new(start), start);
            for (count, (lifetime, gone)) in (1_u32..).zip(answers) {
                match lifetime {
                    Some(seconds) => plan.granted(now, Duration::from_secs(seconds.into())),
                    None => drop(plan.failed(now, gone)),
                }
                let (next, due) = plan.next();
                prop_assert!(next >= now && next <= now + LIFETIME);
                prop_assert!(due == Due::Ask || plan.until().is_none_or(|until| next <= until));
                now = next;
                // A lost mapping is asked for once without a pause; all other requests have one.
                prop_assert!(now - start >= LEAST * (count / 2));
            }
        }
    }
}
