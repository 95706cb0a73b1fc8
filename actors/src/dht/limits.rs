//! Rate limits: for the queries that we answer, per host and in all, and for those that we send.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use super::network::{Host, host};

/// Queries of one host that are answered at once, and one more per [`HOST_PAUSE`]: a host usually sends a few queries a
/// minute, and a flood costs it more than us.
const HOST_BURST: u32 = 60;
const HOST_PAUSE: Duration = Duration::from_millis(100);
/// Datagrams of strangers that are handled in all: 500 a second, less than a hundredth of one core.
const ALL_BURST: u32 = 2_000;
const ALL_PAUSE: Duration = Duration::from_millis(2);
/// Queries that we send: 100 a second, and a few lookups at once.
const OWN_BURST: u32 = 400;
const OWN_PAUSE: Duration = Duration::from_millis(10);
/// Pings to strangers that sent us a query. Their addresses may be forged, so a flood must not make us ping many.
const CHECK_BURST: u32 = 40;
const CHECK_PAUSE: Duration = Duration::from_millis(200);
/// Hosts that are remembered. About 300 KB.
const MOST_HOSTS: usize = 4_096;

/// A leaky bucket that drains one per `pause` and holds `burst`, stored as the time at which it would be empty.
#[derive(Clone, Copy)]
struct Bucket {
    empty: Option<Instant>,
    pause: Duration,
    burst: u32,
}

impl Bucket {
    const fn new(burst: u32, pause: Duration) -> Self {
        Self {
            empty: None,
            pause,
            burst,
        }
    }

    /// Adds one, if there is room.
    fn take(&mut self, now: Instant) -> bool {
        let empty = self.empty.map_or(now, |empty| empty.max(now));
        let room = empty.saturating_duration_since(now) + self.pause <= self.pause * self.burst;
        if room {
            self.empty = Some(empty + self.pause);
        }
        room
    }

    /// When there is room again; `None` for now.
    fn room(&self, now: Instant) -> Option<Instant> {
        let full = self.pause * (self.burst - 1);
        let empty = self.empty?;
        (empty.saturating_duration_since(now) > full).then(|| empty - full)
    }
}

/// All rate limits.
pub(super) struct Limits {
    hosts: HashMap<Host, Bucket>,
    all: Bucket,
    own: Bucket,
    checks: Bucket,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            hosts: HashMap::new(),
            all: Bucket::new(ALL_BURST, ALL_PAUSE),
            own: Bucket::new(OWN_BURST, OWN_PAUSE),
            checks: Bucket::new(CHECK_BURST, CHECK_PAUSE),
        }
    }
}

impl Limits {
    /// Whether to handle a datagram that answers none of our queries.
    pub(super) fn stranger(&mut self, from: SocketAddr, now: Instant) -> bool {
        let from = host(from);
        if let Some(known) = self.hosts.get_mut(&from) {
            // The host's own limit comes first, so that one host alone cannot use up the common one.
            return known.take(now) && self.all.take(now);
        }
        if !self.all.take(now) {
            return false;
        }
        if self.hosts.len() >= MOST_HOSTS {
            self.hosts
                .retain(|_, bucket| bucket.empty.is_some_and(|empty| empty > now));
            if self.hosts.len() > MOST_HOSTS / 2 {
                // A flood of forged addresses: each of them is let in once, and the common limit counts.
                self.hosts.clear();
            }
        }
        let mut bucket = Bucket::new(HOST_BURST, HOST_PAUSE);
        bucket.take(now);
        self.hosts.insert(from, bucket);
        true
    }

    /// Whether to send a query now.
    pub(super) fn ask(&mut self, now: Instant) -> bool {
        self.own.take(now)
    }

    /// When a query may be sent again; `None` for now.
    pub(super) fn may_ask(&self, now: Instant) -> Option<Instant> {
        self.own.room(now)
    }

    /// Whether to ping a stranger now.
    pub(super) fn check(&mut self, now: Instant) -> bool {
        self.own.room(now).is_none() && self.checks.take(now) && self.own.take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: u32) -> SocketAddr {
        SocketAddr::from(((0x0900_0000 + number).to_be_bytes(), 1))
    }

    #[test]
    fn one_host_is_answered_in_bursts() {
        let (start, mut limits) = (Instant::now(), Limits::default());
        let answered = (0..1_000)
            .filter(|_| limits.stranger(from(1), start))
            .count();
        assert_eq!(answered, HOST_BURST as usize);
        assert!(
            limits.stranger(from(2), start),
            "another host is not touched"
        );
        let later = start + HOST_PAUSE * 10;
        let answered = (0..1_000)
            .filter(|_| limits.stranger(from(1), later))
            .count();
        assert_eq!(answered, 10);
    }

    #[test]
    fn forged_addresses_run_into_the_common_limit() {
        let (start, mut limits) = (Instant::now(), Limits::default());
        // Ten thousand a second for ten seconds.
        let answered = (0..100_000)
            .filter(|n| limits.stranger(from(*n), start + Duration::from_micros(100) * *n))
            .count();
        assert!(answered <= 2_000 + 5_001, "{answered}");
        assert!(limits.hosts.len() <= MOST_HOSTS);
    }

    #[test]
    fn our_own_queries_have_a_next_time() {
        let (start, mut limits) = (Instant::now(), Limits::default());
        assert_eq!(limits.may_ask(start), None);
        for _ in 0..OWN_BURST {
            assert!(limits.ask(start));
        }
        assert!(!limits.ask(start));
        let next = limits.may_ask(start);
        assert_eq!(next, Some(start + OWN_PAUSE));
        assert!(limits.ask(start + OWN_PAUSE));
        assert!(!limits.ask(start + OWN_PAUSE));
    }
}
