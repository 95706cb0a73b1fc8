//! Admission of incoming handshakes, and bars: pure rules, without clock or sockets.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use tokio_util::sync::CancellationToken;

/// Most incoming QUIC handshakes in progress: each costs a signature and a KEM operation.
pub(crate) const MAX_PENDING: usize = 64;
/// Most incoming TCP handshakes in progress. Over TCP a stranger can start one for free and then stay silent, so they
/// are counted separately, and when there are too many the oldest is dropped.
pub(crate) const MAX_PENDING_TCP: usize = 64;
/// Most handshakes of either kind from one source.
pub(crate) const MAX_PENDING_SOURCE: usize = 4;
/// With this many QUIC handshakes in progress, a source must first prove by a Retry that it receives at its address, so
/// that forged addresses fill at most this much of [`MAX_PENDING`].
pub(crate) const RETRY_FROM: usize = 16;
/// Most incoming connections, unless we serve as a relay. Outgoing ones are counted separately, so strangers cannot use
/// up all.
pub(crate) const MAX_INCOMING: usize = 256;
/// Most incoming connections from one source: enough for a household behind one address, not for a flood.
const MAX_INCOMING_SOURCE: usize = 32;
/// Most barred peers, and most barred addresses; when full, the bar that expires first is dropped.
const MAX_BARRED: usize = 1_024;

/// One source: an IPv4 address, or the IPv6 /64 that a single host may fill alone.
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
    /// Handshakes whose source address is unproven.
    unproven: usize,
    /// Handshakes whose source answered a Retry.
    proven: usize,
    /// Handshakes over TCP.
    tcp: usize,
    open: usize,
}

impl Counts {
    fn all(&self) -> usize {
        self.unproven + self.proven + self.tcp + self.open
    }
}

/// Limits on the connections that other nodes open to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncomingLimits {
    /// In total.
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
    /// QUIC handshakes in progress.
    pending: usize,
    /// TCP handshakes in progress, oldest first; the token makes one give up its slot.
    tcp: BTreeMap<u64, (Source, CancellationToken)>,
    next: u64,
    open: usize,
}

impl Tally {
    fn is_full(&self) -> bool {
        self.pending + self.tcp.len() + self.open >= self.limits.all
    }
}

/// The verdict on a stranger's first packet.
pub(crate) enum Verdict {
    /// Perform the handshake; the slot is taken until the ticket is dropped.
    Accept(Ticket),
    /// Ask it to prove its address, which costs us nothing.
    Retry,
    /// Refuse it.
    Refuse,
}

/// The slots for incoming connections.
#[derive(Clone, Default)]
pub(crate) struct Admission(Arc<Mutex<Tally>>);

impl Admission {
    pub(crate) fn new(limits: IncomingLimits) -> Self {
        Self(Arc::new(Mutex::new(Tally {
            limits,
            ..Tally::default()
        })))
    }

    /// The most incoming connections that may be open.
    pub(crate) fn most(&self) -> usize {
        self.tally().limits.all
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges a QUIC handshake from `ip`; `proven` if the source has answered a Retry.
    pub(crate) fn judge(&self, ip: IpAddr, proven: bool) -> Verdict {
        let source = Source::of(ip);
        let mut tally = self.tally();
        let (pending, full, most) = (tally.pending, tally.is_full(), tally.limits.of_source);
        let counts = tally.sources.entry(source).or_default();
        let of_source = counts.all();
        // Programs on this machine are not strangers to each other: only the total limits apply to them.
        let local = ip.is_loopback();
        let verdict = if full || (of_source >= most && !local) {
            Some(Verdict::Refuse)
        } else if proven {
            // Counted apart from unproven handshakes, so that forging an address cannot lock out its owner.
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

    /// Judges a TCP handshake from `ip`; TCP's own handshake has proven the address. The token that comes with the
    /// ticket is cancelled when the slot is needed by others.
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

    /// Handshakes in progress, and open connections.
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

/// A slot for an incoming connection, freed on drop.
pub(crate) struct Ticket {
    admission: Admission,
    source: Source,
    slot: Slot,
}

/// What a ticket is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Unproven,
    Proven,
    Tcp(u64),
    Open,
}

impl Ticket {
    /// Turns the slot of a finished handshake into that of an open connection. This works even if the slot was to be
    /// given up: a peer that has come so far is not idle.
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
            // The slot may have been given up already.
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

/// Peers and addresses that are refused for some time.
///
/// An address is barred together with its port, so that others behind the same NAT or on the same machine are not
/// affected.
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
        // A time beyond the clock's range is cut to a day: nobody is barred for ever.
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
mod tests;
