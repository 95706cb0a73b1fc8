//! Limits on handshakes: how many run at once, and how many a peer may fail.

use std::{
    collections::HashMap,
    hash::Hash,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::transport::ConnectionId;

/// Handshakes that we answer at once in total (`docs/PROTOCOL.md`, link handshake).
const ANSWERING: usize = 64;
/// Handshakes that we answer at once for one IPv4 address, or one IPv6 /64.
const ANSWERING_PER_ADDRESS: usize = 4;
/// As [`ANSWERING_PER_ADDRESS`], for this machine's own addresses, which all nodes on it share.
const ANSWERING_FROM_HERE: usize = ANSWERING / 2;
/// Streams of one connection whose first message is read at once. Each takes 1.3 KB, and connections have their own limit.
const READING: usize = 16;
/// Handshakes that we begin at once on one connection. Fewer than the other side reads, for nodes that share many channels.
const BEGINNING: usize = 8;
/// Failed handshakes after which a connection is closed and its peer barred.
const FAILURES: u8 = 3;
/// Connections whose failures are remembered. Beyond, all are forgotten: each costs a stranger a connection.
const REMEMBERED: usize = 1_024;

/// Places for operations under way, limited in total and per key.
pub(super) struct Places<K> {
    all: usize,
    /// The limit for a key.
    each: fn(&K) -> usize,
    taken: Mutex<HashMap<K, usize>>,
    freed: Notify,
}

/// A place, returned when dropped.
pub(super) struct Place<K: Copy + Eq + Hash> {
    places: Arc<Places<K>>,
    key: K,
}

impl Places<IpAddr> {
    /// Places for handshakes that we answer, by [`subscriber`](crate::transport::network::subscriber). Taken only by peers
    /// that have proved that they hold the channel's key.
    pub(super) fn answering() -> Arc<Self> {
        Self::new(ANSWERING, |address| {
            if address.is_loopback() {
                ANSWERING_FROM_HERE
            } else {
                ANSWERING_PER_ADDRESS
            }
        })
    }
}

impl Places<ConnectionId> {
    /// Places for streams whose first message is being read.
    pub(super) fn reading() -> Arc<Self> {
        Self::new(usize::MAX, |_| READING)
    }

    /// Places for handshakes that we begin.
    pub(super) fn beginning() -> Arc<Self> {
        Self::new(usize::MAX, |_| BEGINNING)
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    fn new(all: usize, each: fn(&K) -> usize) -> Arc<Self> {
        Arc::new(Self {
            all,
            each,
            taken: Mutex::default(),
            freed: Notify::new(),
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place; `None` if there is none.
    pub(super) fn enter(self: &Arc<Self>, key: K) -> Option<Place<K>> {
        let mut taken = self.taken();
        let here = taken.get(&key).copied().unwrap_or(0);
        if here >= (self.each)(&key) || taken.values().sum::<usize>() >= self.all {
            return None;
        }
        taken.insert(key, here + 1);
        drop(taken);
        let places = Arc::clone(self);
        Some(Place { places, key })
    }

    /// Waits for a place. Cancel-safe.
    pub(super) async fn enter_soon(self: &Arc<Self>, key: K) -> Place<K> {
        loop {
            // Before looking, so that no place freed meanwhile is missed.
            let freed = self.freed.notified();
            if let Some(place) = self.enter(key) {
                return place;
            }
            freed.await;
        }
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Some(count) = taken.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.key);
            }
        }
        drop(taken);
        self.places.freed.notify_waiters();
    }
}

/// Counts failed handshakes per connection.
#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<ConnectionId, u8>>);

impl Failures {
    /// Counts one; true when the connection has reached the limit.
    pub(super) fn count(&self, connection: ConnectionId) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= REMEMBERED {
            counts.clear();
        }
        let count = counts.entry(connection).or_insert(0);
        *count += 1;
        let enough = *count >= FAILURES;
        if enough {
            counts.remove(&connection);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transport::network::subscriber;

    #[test]
    fn places_are_bounded_per_address_and_in_total_and_returned() {
        let pending = Places::answering();
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let held: Vec<_> = (0..4).map(|_| pending.enter(one).unwrap()).collect();
        assert!(pending.enter(one).is_none());
        let others: Vec<_> = (0..60u8)
            .map(|n| pending.enter(IpAddr::from([10, 1, 0, n])).unwrap())
            .collect();
        assert!(
            pending.enter("10.2.0.1".parse().unwrap()).is_none(),
            "64 in total"
        );
        drop(held);
        assert!(pending.enter(one).is_some());
        drop(others);
        assert!(pending.taken().is_empty());
    }

    #[tokio::test]
    async fn a_waiter_gets_the_next_free_place() {
        let places = Places::new(2, |_| 1);
        let held = places.enter(1).unwrap();
        let waits = tokio::spawn({
            let places = Arc::clone(&places);
            async move { places.enter_soon(1).await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        let _other = places.enter(2).unwrap();
        drop(held);
        let _held = waits.await.unwrap();
        assert!(places.enter(3).is_none(), "two in total");
        // Giving up the wait leaves nothing behind.
        let gives_up =
            tokio::time::timeout(std::time::Duration::from_millis(1), places.enter_soon(1));
        assert!(gives_up.await.is_err());
        assert_eq!(places.taken().len(), 2);
    }

    #[test]
    fn many_nodes_of_one_machine_link_at_once() {
        let places = Places::answering();
        for here in ["127.0.0.1", "::ffff:127.0.0.1", "::1"] {
            let here = subscriber(here.parse().unwrap());
            let held: Vec<_> = (0..32).map(|_| places.enter(here).unwrap()).collect();
            assert!(places.enter(here).is_none());
            assert_eq!(held.len(), 32);
        }
    }

    #[test]
    fn a_64_of_ipv6_is_one_address() {
        assert_eq!(
            subscriber("2001:db8::1".parse().unwrap()),
            subscriber("2001:db8::ffff:1".parse().unwrap())
        );
        assert_ne!(
            subscriber("2001:db8::1".parse().unwrap()),
            subscriber("2001:db8:0:1::1".parse().unwrap())
        );
        assert_eq!(
            subscriber("::ffff:10.0.0.1".parse().unwrap()),
            subscriber("10.0.0.1".parse().unwrap())
        );
    }

    #[test]
    fn the_third_failure_is_one_too_many() {
        let failures = Failures::default();
        let ends: Vec<_> = (0..4).map(|_| failures.count(ConnectionId(1))).collect();
        assert_eq!(ends, [false, false, true, false]);
    }
}
