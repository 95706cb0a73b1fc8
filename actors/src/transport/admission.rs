//! Who may begin a handshake, and who is barred: pure rules, no clock and no socket.

use std::{
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;

/// Handshakes of others that may be under way: each costs a signature and a KEM operation.
pub(super) const MAX_PENDING: usize = 64;
/// Of them, how many may come from one source.
pub(super) const MAX_PENDING_SOURCE: usize = 4;
/// From this many on, a source must first prove by a Retry that it receives at its address, so that forged
/// addresses fill at most this much of [`MAX_PENDING`].
pub(super) const RETRY_FROM: usize = 16;
/// Connections that others opened. Those that we dial are counted apart, so strangers cannot use up all.
pub(super) const MAX_INCOMING: usize = 256;
/// Of them, how many may come from one source: a household behind one address, not a flood.
pub(super) const MAX_INCOMING_SOURCE: usize = 32;
/// Barred peers and addresses that are remembered; the one whose time ends first makes room.
const MAX_BARRED: usize = 1_024;

/// What counts as one source: an IPv4 address, or the /64 that any one IPv6 host may fill alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Source(u64, bool);

impl Source {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(u64::from(u32::from(ip)), false),
            // The upper half of 128 bits always fits.
            IpAddr::V6(ip) => Self((u128::from(ip) >> 64) as u64, true),
        }
    }
}

#[derive(Default)]
struct Counts {
    /// Handshakes whose source address nothing proves yet.
    unproven: usize,
    /// Handshakes whose source answered a Retry.
    proven: usize,
    open: usize,
}

#[derive(Default)]
struct Tally {
    sources: HashMap<Source, Counts>,
    pending: usize,
    open: usize,
}

/// What to do with a stranger's first packet.
pub(super) enum Verdict {
    /// Shake hands; the slot is taken until the ticket drops.
    Accept(Ticket),
    /// Ask for proof of its address: costs us nothing.
    Retry,
    /// Turn it away.
    Refuse,
}

/// The incoming side's slots.
#[derive(Clone, Default)]
pub(super) struct Admission(Arc<Mutex<Tally>>);

impl Admission {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a handshake from `ip`; `proven` when the source has answered a Retry.
    pub(super) fn judge(&self, ip: IpAddr, proven: bool) -> Verdict {
        let source = Source::of(ip);
        let mut tally = self.tally();
        let (pending, open) = (tally.pending, tally.open);
        let full = pending + open >= MAX_INCOMING;
        let counts = tally.sources.entry(source).or_default();
        let of_source = counts.unproven + counts.proven + counts.open;
        // This machine's own programs are not strangers to each other: only the bounds on all apply to them.
        let local = ip.is_loopback();
        let verdict = if full || (of_source >= MAX_INCOMING_SOURCE && !local) {
            Some(Verdict::Refuse)
        } else if proven {
            // Counted apart from the unproven ones: whoever forges an address cannot lock its owner out.
            (pending >= MAX_PENDING || (counts.proven >= MAX_PENDING_SOURCE && !local))
                .then_some(Verdict::Refuse)
        } else {
            (pending >= RETRY_FROM || (counts.unproven >= MAX_PENDING_SOURCE && !local))
                .then_some(Verdict::Retry)
        };
        if let Some(verdict) = verdict {
            tally.forget_if_empty(source);
            return verdict;
        }
        if proven {
            counts.proven += 1;
        } else {
            counts.unproven += 1;
        }
        tally.pending += 1;
        drop(tally);
        Verdict::Accept(Ticket {
            admission: self.clone(),
            source,
            proven,
            open: false,
        })
    }

    /// Handshakes under way, and open connections.
    #[cfg(test)]
    pub(super) fn in_use(&self) -> (usize, usize) {
        let tally = self.tally();
        (tally.pending, tally.open)
    }
}

impl Tally {
    fn forget_if_empty(&mut self, source: Source) {
        if let Some(counts) = self.sources.get(&source)
            && counts.unproven + counts.proven + counts.open == 0
        {
            self.sources.remove(&source);
        }
    }
}

/// A slot of the incoming side, given back when it drops.
pub(super) struct Ticket {
    admission: Admission,
    source: Source,
    proven: bool,
    open: bool,
}

impl Ticket {
    /// The handshake is done: the slot is now that of an open connection.
    pub(super) fn opened(&mut self) {
        let mut tally = self.admission.tally();
        tally.release(self.source, self.proven, self.open);
        tally.open += 1;
        tally.sources.entry(self.source).or_default().open += 1;
        self.open = true;
    }
}

impl Tally {
    fn release(&mut self, source: Source, proven: bool, open: bool) {
        let counts = self.sources.entry(source).or_default();
        if open {
            counts.open = counts.open.saturating_sub(1);
            self.open = self.open.saturating_sub(1);
            return;
        }
        let field = if proven {
            &mut counts.proven
        } else {
            &mut counts.unproven
        };
        *field = field.saturating_sub(1);
        self.pending = self.pending.saturating_sub(1);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut tally = self.admission.tally();
        tally.release(self.source, self.proven, self.open);
        tally.forget_if_empty(self.source);
    }
}

/// Peers and addresses that are turned away for a while.
///
/// An address is barred with its port: others behind the same NAT, or on the same machine, are not to suffer.
#[derive(Default)]
pub(super) struct Barred {
    peers: Expiring<PeerId>,
    addresses: Expiring<SocketAddr>,
}

impl Barred {
    pub(super) fn bar(&mut self, peer: PeerId, address: SocketAddr, now: Instant, time: Duration) {
        self.peers.insert(peer, now, time);
        self.addresses.insert(address, now, time);
    }

    pub(super) fn has_peer(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers.has(peer, now)
    }

    pub(super) fn has_address(&self, address: &SocketAddr, now: Instant) -> bool {
        self.addresses.has(address, now)
    }
}

struct Expiring<K>(HashMap<K, Instant>);

impl<K> Default for Expiring<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Hash + Eq + Copy> Expiring<K> {
    fn insert(&mut self, key: K, now: Instant, time: Duration) {
        // A time beyond what the clock can hold is a day: nobody is barred for ever.
        let until = now
            .checked_add(time)
            .unwrap_or_else(|| now + Duration::from_secs(86_400));
        if self.0.len() >= MAX_BARRED && !self.0.contains_key(&key) {
            self.0.retain(|_, until| *until > now);
            if self.0.len() >= MAX_BARRED
                && let Some(first) = self.0.iter().min_by_key(|(_, until)| **until)
            {
                let first = *first.0;
                self.0.remove(&first);
            }
        }
        self.0.insert(key, until);
    }

    fn has(&self, key: &K, now: Instant) -> bool {
        self.0.get(key).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn take(admission: &Admission, ip: &str, proven: bool) -> Option<Ticket> {
        match admission.judge(ip.parse().unwrap(), proven) {
            Verdict::Accept(ticket) => Some(ticket),
            Verdict::Retry | Verdict::Refuse => None,
        }
    }

    #[test]
    fn a_source_gets_four_handshakes_and_its_slash_64_is_one_source() {
        let admission = Admission::default();
        let mut held: Vec<_> = (1..=4)
            .map(|n| take(&admission, &format!("2001:db8::{n}"), false).unwrap())
            .collect();
        let fifth = admission.judge("2001:db8::ffff:1".parse().unwrap(), false);
        assert!(matches!(fifth, Verdict::Retry));
        held.push(take(&admission, "2001:db8:0:1::1", false).unwrap());
        held.push(take(&admission, "192.0.2.1", false).unwrap());
        held.remove(0);
        assert!(take(&admission, "2001:db8::9", false).is_some());
        drop(held);
        assert_eq!(admission.in_use(), (0, 0));
        assert!(
            admission.tally().sources.is_empty(),
            "nothing is remembered"
        );
    }

    #[test]
    fn forged_addresses_cannot_lock_out_their_owners() {
        let admission = Admission::default();
        let _forged: Vec<_> = (0..100)
            .filter_map(|_| take(&admission, "192.0.2.1", false))
            .collect();
        assert!(take(&admission, "192.0.2.1", true).is_some());
        let _more: Vec<_> = (0..200_u8)
            .filter_map(|n| take(&admission, &format!("198.51.100.{n}"), false))
            .collect();
        assert_eq!(admission.in_use().0, RETRY_FROM);
        assert!(matches!(
            admission.judge("203.0.113.1".parse().unwrap(), false),
            Verdict::Retry
        ));
        assert!(take(&admission, "203.0.113.1", true).is_some());
    }

    #[test]
    fn open_connections_are_bounded_in_all_and_a_source() {
        let admission = Admission::default();
        let mut held = Vec::new();
        for a in 0..=255_u8 {
            for b in 0..2 {
                if let Some(mut ticket) = take(&admission, &format!("10.0.{b}.{a}"), true) {
                    ticket.opened();
                    held.push(ticket);
                }
            }
        }
        assert_eq!(admission.in_use(), (0, MAX_INCOMING));
        drop(held);
        let mut held = Vec::new();
        while let Some(mut ticket) = take(&admission, "10.0.0.1", true) {
            ticket.opened();
            held.push(ticket);
        }
        assert_eq!(held.len(), MAX_INCOMING_SOURCE);
        while let Some(mut ticket) = take(&admission, "127.0.0.1", true) {
            ticket.opened();
            held.push(ticket);
        }
        assert_eq!(held.len(), MAX_INCOMING);
    }

    proptest! {
        #[test]
        fn no_order_of_events_leaks_a_slot(steps in proptest::collection::vec((0_u8..4, 0_u8..6, any::<bool>()), 0..400)) {
            let admission = Admission::default();
            let mut held = Vec::new();
            for (step, host, proven) in steps {
                match step {
                    0 | 1 => held.extend(take(&admission, &format!("10.0.0.{host}"), proven)),
                    2 if !held.is_empty() => {
                        let at = usize::from(host) % held.len();
                        if !held[at].open { held[at].opened(); }
                    }
                    _ if !held.is_empty() => { held.swap_remove(usize::from(host) % held.len()); }
                    _ => {}
                }
                let open = held.iter().filter(|ticket| ticket.open).count();
                prop_assert_eq!(admission.in_use(), (held.len() - open, open));
                prop_assert!(admission.in_use().0 <= MAX_PENDING && open <= MAX_INCOMING);
            }
            held.clear();
            prop_assert!(admission.tally().sources.is_empty());
        }
    }

    #[test]
    fn bars_end_and_their_number_is_bounded() {
        let mut barred = Barred::default();
        let now = Instant::now();
        let address = |port| SocketAddr::new([192, 0, 2, 1].into(), port);
        let peer = PeerId::random();
        barred.bar(peer, address(1), now, Duration::from_secs(60));
        assert!(barred.has_peer(&peer, now) && barred.has_address(&address(1), now));
        assert!(
            !barred.has_address(&address(2), now),
            "another port is another node"
        );
        let later = now + Duration::from_secs(61);
        assert!(!barred.has_peer(&peer, later) && !barred.has_address(&address(1), later));
        for port in 2..3_000 {
            let time = Duration::from_secs(100 + u64::from(port));
            barred.bar(PeerId::random(), address(port), now, time);
        }
        assert_eq!(barred.addresses.0.len(), MAX_BARRED);
        assert!(barred.has_address(&address(2_999), now));
        barred.bar(PeerId::random(), address(9), now, Duration::MAX);
    }
}
