//! Limits on handshakes: how many at once, and what becomes of peers that fail them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, PoisonError},
};

use crate::transport::ConnectionId;

/// Handshakes that we answer at once, in all (`docs/PROTOCOL.md`, link handshake).
const PENDING: usize = 64;
/// Handshakes that we answer at once for one address, or one /64 of IPv6.
const PENDING_PER_ADDRESS: usize = 4;
/// The same for this machine's own addresses: all nodes that run on it come from there.
const PENDING_FROM_HERE: usize = PENDING / 2;
/// A connection that fails so many handshakes is closed, and its peer barred.
const FAILURES: u8 = 3;
/// Connections whose failures are remembered. Beyond, all are forgiven: they cost a stranger a connection each.
const REMEMBERED: usize = 1_024;

/// Counts pending handshakes.
#[derive(Default)]
pub(super) struct Pending {
    by_address: Mutex<HashMap<IpAddr, usize>>,
}

/// A place among the pending handshakes, given back when dropped.
pub(super) struct Place {
    pending: Arc<Pending>,
    address: IpAddr,
}

impl Pending {
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = network(address);
        let mut counts = self
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let all: usize = counts.values().sum();
        let here = counts.get(&address).copied().unwrap_or(0);
        let most = if address.is_loopback() {
            PENDING_FROM_HERE
        } else {
            PENDING_PER_ADDRESS
        };
        if all >= PENDING || here >= most {
            return None;
        }
        counts.insert(address, here + 1);
        Some(Place {
            pending: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self
            .pending
            .by_address
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

/// Counts failed handshakes a connection.
#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<ConnectionId, u8>>);

impl Failures {
    /// Counts one; true when the peer has had enough of them.
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

/// What one subscriber controls: an IPv4 address, or a /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None if v6.is_loopback() => address,
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_bounded_by_address_and_in_all_and_given_back() {
        let pending = Arc::new(Pending::default());
        let one: IpAddr = "10.0.0.1".parse().unwrap();
        let held: Vec<_> = (0..4).map(|_| pending.enter(one).unwrap()).collect();
        assert!(pending.enter(one).is_none());
        let others: Vec<_> = (0..60u8)
            .map(|n| pending.enter(IpAddr::from([10, 1, 0, n])).unwrap())
            .collect();
        assert!(
            pending.enter("10.2.0.1".parse().unwrap()).is_none(),
            "64 in all"
        );
        drop(held);
        assert!(pending.enter(one).is_some());
        drop(others);
        assert!(pending.by_address.lock().unwrap().is_empty());
    }

    #[test]
    fn many_nodes_of_one_machine_link_at_once() {
        let pending = Arc::new(Pending::default());
        for here in ["127.0.0.1", "::ffff:127.0.0.1", "::1"] {
            let here: IpAddr = here.parse().unwrap();
            let held: Vec<_> = (0..32).map(|_| pending.enter(here).unwrap()).collect();
            assert!(pending.enter(here).is_none());
            assert_eq!(held.len(), 32);
        }
    }

    #[test]
    fn a_64_of_ipv6_is_one_address() {
        assert_eq!(
            network("2001:db8::1".parse().unwrap()),
            network("2001:db8::ffff:1".parse().unwrap())
        );
        assert_ne!(
            network("2001:db8::1".parse().unwrap()),
            network("2001:db8:0:1::1".parse().unwrap())
        );
        assert_eq!(
            network("::ffff:10.0.0.1".parse().unwrap()),
            network("10.0.0.1".parse().unwrap())
        );
    }

    #[test]
    fn the_third_failure_is_one_too_many() {
        let failures = Failures::default();
        let ends: Vec<_> = (0..4).map(|_| failures.count(ConnectionId(1))).collect();
        assert_eq!(ends, [false, false, true, false]);
    }
}
