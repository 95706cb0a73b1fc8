//! Who may begin a handshake, and who is barred: pure rules, no clock and no socket.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use tokio_util::sync::CancellationToken;

/// Handshakes of others that may be under way by QUIC: each costs a signature and a KEM operation.
pub(crate) const MAX_PENDING: usize = 64;
/// The same by TCP, where it costs a stranger nothing to begin one and say no more: so they are counted apart, and
/// when there are too many the oldest makes room.
pub(crate) const MAX_PENDING_TCP: usize = 64;
/// Of each, how many may come from one source.
pub(crate) const MAX_PENDING_SOURCE: usize = 4;
/// From this many on, a source must first prove by a Retry that it receives at its address, so that forged
/// addresses fill at most this much of [`MAX_PENDING`].
pub(crate) const RETRY_FROM: usize = 16;
/// Connections that others opened, unless a relay's clients are expected. Those that we dial are counted apart, so
/// strangers cannot use up all.
pub(crate) const MAX_INCOMING: usize = 256;
/// Of them, how many may come from one source: a household behind one address, not a flood.
const MAX_INCOMING_SOURCE: usize = 32;
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
    /// Handshakes by TCP.
    tcp: usize,
    open: usize,
}

impl Counts {
    fn all(&self) -> usize {
        self.unproven + self.proven + self.tcp + self.open
    }
}

/// How many connections others may have open here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncomingLimits {
    /// In all.
    pub all: usize,
    /// From one IPv4 address, or one /64.
    pub of_source: usize,
}

impl Default for IncomingLimits {
    fn default() -> Self {
        Self {
            all: MAX_INCOMING,
            of_source: MAX_INCOMING_SOURCE,
        }
    }
}

#[derive(Default)]
struct Tally {
    limits: IncomingLimits,
    sources: HashMap<Source, Counts>,
    /// By QUIC.
    pending: usize,
    /// By TCP, the oldest first; each can be told to make room.
    tcp: BTreeMap<u64, (Source, CancellationToken)>,
    next: u64,
    open: usize,
}

impl Tally {
    fn is_full(&self) -> bool {
        self.pending + self.tcp.len() + self.open >= self.limits.all
    }
}

/// What to do with a stranger's first packet.
pub(crate) enum Verdict {
    /// Shake hands; the slot is taken until the ticket drops.
    Accept(Ticket),
    /// Ask for proof of its address: costs us nothing.
    Retry,
    /// Turn it away.
    Refuse,
}

/// The incoming side's slots.
#[derive(Clone, Default)]
pub(crate) struct Admission(Arc<Mutex<Tally>>);

impl Admission {
    pub(crate) fn new(limits: IncomingLimits) -> Self {
        Self(Arc::new(Mutex::new(Tally {
            limits,
            ..Tally::default()
        })))
    }

    /// How many may be open at most.
    pub(crate) fn most(&self) -> usize {
        self.tally().limits.all
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a handshake from `ip`; `proven` when the source has answered a Retry.
    pub(crate) fn judge(&self, ip: IpAddr, proven: bool) -> Verdict {
        let source = Source::of(ip);
        let mut tally = self.tally();
        let (pending, full, most) = (tally.pending, tally.is_full(), tally.limits.of_source);
        let counts = tally.sources.entry(source).or_default();
        let of_source = counts.all();
        // This machine's own programs are not strangers to each other: only the bounds on all apply to them.
        let local = ip.is_loopback();
        let verdict = if full || (of_source >= most && !local) {
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
            slot: if proven { Slot::Proven } else { Slot::Unproven },
        })
    }

    /// Judges a handshake from `ip` by TCP, whose own handshake has proven the address. With the ticket comes a word
    /// that it is to be given back, because others want to be heard.
    pub(crate) fn judge_tcp(&self, ip: IpAddr) -> Option<(Ticket, CancellationToken)> {
        let source = Source::of(ip);
        let mut tally = self.tally();
        let (full, most) = (tally.is_full(), tally.limits.of_source);
        let local = ip.is_loopback();
        let (all, tcp) = tally
            .sources
            .get(&source)
            .map_or((0, 0), |counts| (counts.all(), counts.tcp));
        if full || !local && (all >= most || tcp >= MAX_PENDING_SOURCE) {
            return None;
        }
        while tally.tcp.len() >= MAX_PENDING_TCP
            && let Some((&oldest, _)) = tally.tcp.first_key_value()
        {
            tally.end_tcp(oldest);
        }
        let (id, gives_way) = (tally.next, CancellationToken::new());
        tally.next += 1;
        tally.tcp.insert(id, (source, gives_way.clone()));
        tally.sources.entry(source).or_default().tcp += 1;
        drop(tally);
        let ticket = Ticket {
            admission: self.clone(),
            source,
            slot: Slot::Tcp(id),
        };
        Some((ticket, gives_way))
    }

    /// Handshakes under way, and open connections.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> (usize, usize) {
        let tally = self.tally();
        (tally.pending + tally.tcp.len(), tally.open)
    }
}

impl Tally {
    fn forget_if_empty(&mut self, source: Source) {
        if let Some(counts) = self.sources.get(&source)
            && counts.all() == 0
        {
            self.sources.remove(&source);
        }
    }
}

/// A slot of the incoming side, given back when it drops.
pub(crate) struct Ticket {
    admission: Admission,
    source: Source,
    slot: Slot,
}

/// What a ticket counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Unproven,
    Proven,
    Tcp(u64),
    Open,
}

impl Ticket {
    /// The handshake is done: the slot is now that of an open connection. A slot that was to make room is not lost
    /// for that: who has come so far has shown to be no idler.
    pub(crate) fn opened(&mut self) {
        let mut tally = self.admission.tally();
        tally.release(self.source, self.slot);
        tally.open += 1;
        tally.sources.entry(self.source).or_default().open += 1;
        self.slot = Slot::Open;
    }
}

impl Tally {
    fn release(&mut self, source: Source, slot: Slot) {
        let counts = self.sources.entry(source).or_default();
        let (field, all) = match slot {
            // It may have been given back already, to make room.
            Slot::Tcp(id) => return self.end_tcp(id),
            Slot::Unproven => (&mut counts.unproven, &mut self.pending),
            Slot::Proven => (&mut counts.proven, &mut self.pending),
            Slot::Open => (&mut counts.open, &mut self.open),
        };
        *field = field.saturating_sub(1);
        *all = all.saturating_sub(1);
    }

    fn end_tcp(&mut self, id: u64) {
        let Some((source, gives_way)) = self.tcp.remove(&id) else {
            return;
        };
        gives_way.cancel();
        if let Some(counts) = self.sources.get_mut(&source) {
            counts.tcp = counts.tcp.saturating_sub(1);
        }
        self.forget_if_empty(source);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut tally = self.admission.tally();
        tally.release(self.source, self.slot);
        tally.forget_if_empty(self.source);
    }
}

/// Peers and addresses that are turned away for a while.
///
/// An address is barred with its port: others behind the same NAT, or on the same machine, are not to suffer.
#[derive(Default)]
pub(crate) struct Barred {
    peers: Expiring<PeerId>,
    addresses: Expiring<SocketAddr>,
}

impl Barred {
    pub(crate) fn bar(
        &mut self,
        peer: PeerId,
        address: Option<SocketAddr>,
        now: Instant,
        time: Duration,
    ) {
        self.peers.insert(peer, now, time);
        if let Some(address) = address {
            self.addresses.insert(address, now, time);
        }
    }

    pub(crate) fn has_peer(&self, peer: &PeerId, now: Instant) -> bool {
        self.peers.has(peer, now)
    }

    pub(crate) fn has_address(&self, address: &SocketAddr, now: Instant) -> bool {
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

    #[test]
    fn by_tcp_the_oldest_makes_room_and_takes_nobody_elses_place() {
        let admission = Admission::default();
        let of = |n: u8| admission.judge_tcp(format!("10.1.{n}.1").parse().unwrap());
        let mut held: Vec<_> = (0..64).map(|n| of(n).unwrap()).collect();
        assert!(!held[0].1.is_cancelled());
        held.push(of(64).unwrap());
        assert!(held[0].1.is_cancelled() && !held[1].1.is_cancelled());
        assert_eq!(admission.in_use(), (MAX_PENDING_TCP, 0));
        assert!(take(&admission, "10.2.0.1", false).is_some(), "QUIC");
        // It was done at the same moment.
        held[0].0.opened();
        assert_eq!(admission.in_use(), (MAX_PENDING_TCP, 1));
        // One source does not make others give way.
        let mut same: Vec<_> = (0..20).filter_map(|_| of(200)).collect();
        assert_eq!(same.len(), MAX_PENDING_SOURCE);
        same.clear();
        held.clear();
        assert_eq!(admission.in_use(), (0, 0));
        assert!(admission.tally().sources.is_empty());
    }

    proptest! {
        #[test]
        fn no_order_of_events_leaks_a_slot(steps in proptest::collection::vec((0_u8..5, 0_u8..6, any::<bool>()), 0..400)) {
            let admission = Admission::default();
            let mut held = Vec::new();
            for (step, host, proven) in steps {
                match step {
                    0 | 1 => held.extend(take(&admission, &format!("10.0.0.{host}"), proven)),
                    2 if !held.is_empty() => {
                        let at = usize::from(host) % held.len();
                        if held[at].slot != Slot::Open { held[at].opened(); }
                    }
                    3 => held.extend(admission.judge_tcp(format!("10.0.0.{host}").parse().unwrap()).map(|(ticket, _)| ticket)),
                    _ if !held.is_empty() => { held.swap_remove(usize::from(host) % held.len()); }
                    _ => {}
                }
                let open = held.iter().filter(|ticket| ticket.slot == Slot::Open).count();
                prop_assert_eq!(admission.in_use(), (held.len() - open, open));
                prop_assert!(admission.in_use().0 <= MAX_PENDING + MAX_PENDING_TCP && open <= MAX_INCOMING);
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
        barred.bar(peer, Some(address(1)), now, Duration::from_secs(60));
        assert!(barred.has_peer(&peer, now) && barred.has_address(&address(1), now));
        assert!(
            !barred.has_address(&address(2), now),
            "another port is another node"
        );
        let later = now + Duration::from_secs(61);
        assert!(!barred.has_peer(&peer, later) && !barred.has_address(&address(1), later));
        for port in 2..3_000 {
            let time = Duration::from_secs(100 + u64::from(port));
            barred.bar(PeerId::random(), Some(address(port)), now, time);
        }
        assert_eq!(barred.addresses.0.len(), MAX_BARRED);
        assert!(barred.has_address(&address(2_999), now));
        barred.bar(PeerId::random(), Some(address(9)), now, Duration::MAX);
    }
}
