//! Finding the first nodes: those of the last run, then those that channel files name, then those of the configuration,
//! then public routers, each only if the stage before found too few. A node that has nothing to look for sends nothing
//! to public routers.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

/// With this many good nodes a table maintains itself.
const ENOUGH: usize = 4;
/// Nodes of the last run that are tried.
const MOST_SAVED: usize = 64;
/// Nodes that files may name, at a time.
const MOST_NAMED: usize = 64;
/// The time-out for resolving names.
const RESOLVE: Duration = Duration::from_secs(10);
/// The pause before everything is tried again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Where the nodes of a stage come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Saved,
    Files,
    Configured,
    Routers,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// This stage is to begin.
    At(Stage),
    /// Names of this stage are being resolved, until the time-out.
    Resolving(Stage, Instant),
    /// Lookups of this stage are under way.
    Looking(Stage),
    /// Everything is tried again at this time.
    Pause(Instant),
    /// Nothing to do: the tables are full enough.
    Idle,
}

/// The next thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Resolve these names (`host:port`). The result is expected in [`Bootstrap::resolved`].
    Resolve(Vec<String>),
    /// Look for our own id, beginning with these addresses and the table.
    Look(Vec<SocketAddr>),
}

/// The bootstrap of both families.
pub(super) struct Bootstrap {
    phase: Phase,
    tries: u32,
    saved: Vec<SocketAddr>,
    files: Vec<String>,
    configured: Vec<String>,
    routers: Vec<String>,
    /// Whether there is something to look for.
    wanted: bool,
}

impl Bootstrap {
    /// Begins with the nodes of the last run. `configured` and `routers`: `host:port` each.
    pub(super) fn new(
        saved: Vec<SocketAddr>,
        configured: Vec<String>,
        routers: Vec<String>,
    ) -> Self {
        let saved = saved.into_iter().take(MOST_SAVED).collect();
        Self {
            phase: Phase::At(Stage::Saved),
            tries: 0,
            saved,
            files: Vec::new(),
            configured: configured.into_iter().take(MOST_NAMED).collect(),
            routers,
            wanted: false,
        }
    }

    /// Records that there is something to look for.
    pub(super) fn want(&mut self) {
        if !self.wanted {
            self.wanted = true;
            if matches!(self.phase, Phase::Pause(_)) {
                self.phase = Phase::At(Stage::Routers);
            }
        }
    }

    /// Adds nodes that a channel file names. True if any of them is new.
    pub(super) fn add(&mut self, nodes: Vec<String>) -> bool {
        let before = self.files.len();
        for node in nodes {
            if self.files.len() < MOST_NAMED && !self.files.contains(&node) {
                self.files.push(node);
            }
        }
        let new = self.files.len() > before;
        if new && matches!(self.phase, Phase::Pause(_)) {
            self.phase = Phase::At(Stage::Files);
        }
        new
    }

    /// Whether lookups of a stage are under way.
    pub(super) fn is_looking(&self) -> bool {
        matches!(self.phase, Phase::Looking(_))
    }

    /// When everything is tried again, after all stages have failed.
    pub(super) fn retry(&self) -> Option<Instant> {
        match self.phase {
            Phase::Pause(until) => Some(until),
            _ => None,
        }
    }

    /// When the next step is due.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        match self.phase {
            Phase::At(_) => Some(now),
            Phase::Resolving(_, until) | Phase::Pause(until) => Some(until),
            Phase::Looking(_) | Phase::Idle => None,
        }
    }

    /// The next step.
    pub(super) fn step(&mut self, now: Instant) -> Option<Step> {
        match self.phase {
            Phase::Pause(until) if until <= now => self.phase = Phase::At(Stage::Saved),
            // Names that do not resolve lead nowhere.
            Phase::Resolving(stage, until) if until <= now => {
                self.phase = Phase::Looking(stage);
                return Some(Step::Look(Vec::new()));
            }
            _ => {}
        }
        while let Phase::At(stage) = self.phase {
            let names = match stage {
                Stage::Saved if !self.saved.is_empty() || self.tries > 0 => {
                    self.phase = Phase::Looking(stage);
                    return Some(Step::Look(self.saved.clone()));
                }
                Stage::Saved => &[],
                Stage::Files => self.files.as_slice(),
                Stage::Configured => self.configured.as_slice(),
                Stage::Routers if self.wanted => self.routers.as_slice(),
                Stage::Routers => &[],
            };
            if names.is_empty() {
                self.after(stage, now);
                continue;
            }
            let plain: Option<Vec<SocketAddr>> =
                names.iter().map(|name| name.parse().ok()).collect();
            if let Some(addresses) = plain {
                self.phase = Phase::Looking(stage);
                return Some(Step::Look(addresses));
            }
            let names = names.to_vec();
            self.phase = Phase::Resolving(stage, now + RESOLVE);
            return Some(Step::Resolve(names));
        }
        None
    }

    /// Records the addresses of names. Returns those to begin lookups with, if they were awaited.
    pub(super) fn resolved(&mut self, addresses: Vec<SocketAddr>) -> Option<Vec<SocketAddr>> {
        let Phase::Resolving(stage, _) = self.phase else {
            return None;
        };
        self.phase = Phase::Looking(stage);
        Some(addresses)
    }

    /// Records that the lookups of a stage have ended; `good` nodes are in the emptiest table.
    pub(super) fn looked(&mut self, good: usize, now: Instant) {
        let Phase::Looking(stage) = self.phase else {
            return;
        };
        if good >= ENOUGH {
            self.phase = Phase::Idle;
            self.tries = 0;
        } else {
            self.after(stage, now);
        }
    }

    fn after(&mut self, stage: Stage, now: Instant) {
        self.phase = match stage {
            Stage::Saved => Phase::At(Stage::Files),
            Stage::Files => Phase::At(Stage::Configured),
            Stage::Configured => Phase::At(Stage::Routers),
            Stage::Routers => {
                let pause = FIRST_PAUSE * 2_u32.pow(self.tries.min(10));
                self.tries = self.tries.saturating_add(1);
                Phase::Pause(now + pause.min(LONGEST_PAUSE))
            }
        };
    }

    /// Starts again, because a table ran empty.
    pub(super) fn lost(&mut self) {
        if self.phase == Phase::Idle {
            self.phase = Phase::At(Stage::Saved);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn public_routers_are_asked_only_if_there_is_something_to_look_for() {
        let now = Instant::now();
        let mut bootstrap = Bootstrap::new(vec![], vec![], vec!["router.example:1".into()]);
        assert_eq!(bootstrap.step(now), None);
        assert!(bootstrap.retry().is_some());
        bootstrap.want();
        let names = vec!["router.example:1".to_owned()];
        assert_eq!(bootstrap.step(now), Some(Step::Resolve(names)));
    }

    #[test]
    fn each_stage_is_tried_only_after_the_one_before() {
        let now = Instant::now();
        let mut bootstrap = Bootstrap::new(
            vec![at("9.9.9.9:9")],
            vec!["6.6.6.6:6".into()],
            vec!["router.example:1".into()],
        );
        bootstrap.want();
        assert!(bootstrap.add(vec!["8.8.8.8:8".into()]));
        assert!(!bootstrap.add(vec!["8.8.8.8:8".into()]));
        assert_eq!(bootstrap.step(now), Some(Step::Look(vec![at("9.9.9.9:9")])));
        assert_eq!(bootstrap.step(now), None);
        bootstrap.looked(0, now);
        assert_eq!(bootstrap.step(now), Some(Step::Look(vec![at("8.8.8.8:8")])));
        bootstrap.looked(1, now);
        assert_eq!(bootstrap.step(now), Some(Step::Look(vec![at("6.6.6.6:6")])));
        assert_eq!(bootstrap.retry(), None);
        bootstrap.looked(2, now);
        let names = vec!["router.example:1".to_owned()];
        assert_eq!(bootstrap.step(now), Some(Step::Resolve(names)));
        assert_eq!(bootstrap.step(now), None);
        assert_eq!(
            bootstrap.resolved(vec![at("7.7.7.7:7")]),
            Some(vec![at("7.7.7.7:7")])
        );
        bootstrap.looked(0, now);
        assert_eq!(bootstrap.next(now), Some(now + FIRST_PAUSE));
        assert_eq!(bootstrap.retry(), Some(now + FIRST_PAUSE));
        assert_eq!(bootstrap.step(now), None);
        let later = now + FIRST_PAUSE;
        assert!(matches!(bootstrap.step(later), Some(Step::Look(_))));
        bootstrap.looked(9, later);
        assert_eq!(bootstrap.next(later), None);
        bootstrap.lost();
        assert!(matches!(bootstrap.step(later), Some(Step::Look(_))));
    }

    #[test]
    fn names_that_do_not_resolve_and_no_nodes_at_all_end_in_ever_longer_pauses() {
        let mut now = Instant::now();
        let mut bootstrap = Bootstrap::new(Vec::new(), vec!["router.example:1".into()], Vec::new());
        let mut pauses = Vec::new();
        for _ in 0..12 {
            let start = now;
            while let Some(next) = bootstrap.next(now) {
                now = next.max(now);
                match bootstrap.step(now) {
                    Some(Step::Look(_)) => bootstrap.looked(0, now),
                    Some(Step::Resolve(_)) => {}
                    None => break,
                }
                if matches!(bootstrap.phase, Phase::Pause(_)) {
                    break;
                }
            }
            pauses.push(now - start);
        }
        assert!(pauses.last().unwrap() >= &LONGEST_PAUSE, "{pauses:?}");
        assert!(pauses.last().unwrap() <= &(LONGEST_PAUSE + RESOLVE * 2));
    }
}
