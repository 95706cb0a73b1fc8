//! Datagrams that keep a NAT open towards addresses that do not answer, so that a peer there, behind a NAT of its own,
//! gets through when it does the same (`docs/PROTOCOL.md`, punching). Pure: a schedule, and a budget that makes it
//! useless for attacking others.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::transport::network::subscriber;

/// Addresses probed at a time.
pub(super) const MOST: usize = 64;
/// Addresses among them of one host (for IPv6, one /64).
pub(super) const MOST_A_HOST: usize = 8;
/// The interval of the first [`FIRST`] probes: NATs keep a mapping for at least half a minute.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// Probes at that interval: from 0 s to 30 s.
pub(super) const FIRST: u32 = 7;
/// The first pause after them; it doubles.
const PAUSE: Duration = Duration::from_secs(60);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// An address that is named again is probed at once if its last probe is at least this old.
const NAMED_AGAIN: Duration = Duration::from_secs(45);
/// Probes of one address per hour.
pub(super) const MOST_AN_HOUR: u32 = 24;
const HOUR: Duration = Duration::from_secs(3_600);
/// An address that has not been named for this long is dropped.
const FORGOTTEN: Duration = Duration::from_secs(2 * 3_600);
/// The shortest time between two dials that probes from one address trigger.
const RECEIVED_PAUSE: Duration = Duration::from_secs(2);

struct Probe {
    sent: u32,
    last: Option<Instant>,
    next: Instant,
    named: Instant,
    received: Option<Instant>,
    /// When the current hour began, and the number of probes sent in it.
    hour: (Instant, u32),
}

/// All addresses that are probed.
#[derive(Default)]
pub(super) struct Probes {
    all: HashMap<SocketAddr, Probe>,
}

impl Probes {
    /// Starts to probe an address at which a member may be, but does not answer. Addresses beyond the budget are
    /// ignored.
    pub(super) fn want(&mut self, address: SocketAddr, now: Instant) {
        if self.all.contains_key(&address) {
            return;
        }
        let neighbours = self
            .all
            .keys()
            .filter(|at| subscriber(at.ip()) == subscriber(address.ip()));
        if self.all.len() >= MOST || neighbours.count() >= MOST_A_HOST {
            return;
        }
        let probe = Probe {
            sent: 0,
            last: None,
            next: now,
            named: now,
            received: None,
            hour: (now, 0),
        };
        self.all.insert(address, probe);
    }

    /// Records that an address was named again: the member there may have just learned ours, too.
    pub(super) fn named(&mut self, address: SocketAddr, now: Instant) {
        if let Some(probe) = self.all.get_mut(&address) {
            probe.named = now;
            let long_ago = |last: Instant| now.saturating_duration_since(last) >= NAMED_AGAIN;
            if probe.last.is_none_or(long_ago) {
                probe.next = probe.next.min(now);
            }
        }
    }

    /// Stops probing an address.
    pub(super) fn forget(&mut self, address: &SocketAddr) {
        self.all.remove(address);
    }

    /// Records a probe from an address; returns whether to dial it now.
    pub(super) fn received(&mut self, address: &SocketAddr, now: Instant) -> bool {
        let Some(probe) = self.all.get_mut(address) else {
            return false;
        };
        let lately = |at: Instant| now.saturating_duration_since(at) < RECEIVED_PAUSE;
        let fresh = !probe.received.is_some_and(lately);
        if fresh {
            probe.received = Some(now);
        }
        fresh
    }

    /// The addresses to probe now.
    pub(super) fn due(&mut self, now: Instant) -> Vec<SocketAddr> {
        self.all
            .retain(|_, probe| now.saturating_duration_since(probe.named) < FORGOTTEN);
        let mut due = Vec::new();
        for (address, probe) in &mut self.all {
            if probe.next > now {
                continue;
            }
            if now.saturating_duration_since(probe.hour.0) >= HOUR {
                probe.hour = (now, 0);
            }
            if probe.hour.1 >= MOST_AN_HOUR {
                probe.next = probe.hour.0 + HOUR;
                continue;
            }
            probe.hour.1 += 1;
            probe.sent = probe.sent.saturating_add(1);
            probe.last = Some(now);
            probe.next = now + pause(probe.sent);
            due.push(*address);
        }
        due
    }

    /// When to call [`Probes::due`] again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.all.values().map(|probe| probe.next).min()
    }
}

/// The pause after this many probes.
fn pause(sent: u32) -> Duration {
    match sent.checked_sub(FIRST) {
        None => EVERY,
        Some(more) => PAUSE.saturating_mul(1 << more.min(8)).min(LONGEST_PAUSE),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn address(host: u8, port: u16) -> SocketAddr {
        SocketAddr::from(([9, 9, 9, host], port))
    }

    #[test]
    fn every_five_seconds_for_half_a_minute_and_then_ever_less() {
        let start = Instant::now();
        let mut probes = Probes::default();
        let at = address(1, 7);
        probes.want(at, start);
        probes.want(at, start);
        let mut times = Vec::new();
        while let Some(next) = probes.next() {
            if next > start + HOUR {
                break;
            }
            times.extend(probes.due(next).iter().map(|_| (next - start).as_secs()));
        }
        let wanted = [
            0, 5, 10, 15, 20, 25, 30, 90, 210, 450, 930, 1_530, 2_130, 2_730, 3_330,
        ];
        assert_eq!(times, wanted);
    }

    #[test]
    fn an_address_named_again_is_probed_soon_within_the_budget() {
        let start = Instant::now();
        let mut probes = Probes::default();
        let at = address(1, 7);
        probes.want(at, start);
        let mut sent = 0;
        for second in 0..3_600 {
            let now = start + Duration::from_secs(second);
            if second % 60 == 0 {
                probes.named(at, now);
            }
            sent += probes.due(now).len();
        }
        assert_eq!(sent, MOST_AN_HOUR as usize);
        probes.named(at, start + HOUR);
        assert_eq!(probes.due(start + HOUR), [at]);
        assert_eq!(probes.due(start + HOUR + FORGOTTEN), []);
        assert_eq!(probes.next(), None, "nobody names it any more");
    }

    #[test]
    fn a_probe_that_comes_back_triggers_a_dial_now_and_then() {
        let start = Instant::now();
        let mut probes = Probes::default();
        let at = address(1, 7);
        assert!(!probes.received(&at, start), "a stranger");
        probes.want(at, start);
        assert!(probes.received(&at, start));
        assert!(!probes.received(&at, start + RECEIVED_PAUSE / 2));
        assert!(probes.received(&at, start + RECEIVED_PAUSE));
        probes.forget(&at);
        assert!(!probes.received(&at, start + RECEIVED_PAUSE * 9));
    }

    proptest! {
        #[test]
        fn nobody_is_flooded(
            wanted in proptest::collection::vec((0_u8..12, 0_u16..20, 0_u64..600, any::<bool>()), 0..400),
        ) {
            let start = Instant::now();
            let mut probes = Probes::default();
            let (mut now, mut all, mut each) = (start, 0_usize, HashMap::new());
            for (host, port, pause, named) in wanted {
                now += Duration::from_secs(pause % 40);
                let at = address(host, port);
                if named { probes.named(at, now) } else { probes.want(at, now) }
                for sent in probes.due(now) {
                    all += 1;
                    *each.entry(sent).or_insert(0_u64) += 1;
                }
                prop_assert!(probes.all.len() <= MOST);
                for host in 0..12 {
                    let of_host = |at: &&SocketAddr| at.ip() == std::net::IpAddr::from([9, 9, 9, host]);
                    prop_assert!(probes.all.keys().filter(of_host).count() <= MOST_A_HOST);
                }
                let hours = (now - start).as_secs() / 3_600 + 2;
                prop_assert!(each.values().all(|sent| *sent <= hours * u64::from(MOST_AN_HOUR)));
            }
            let _ = all;
        }
    }
}
