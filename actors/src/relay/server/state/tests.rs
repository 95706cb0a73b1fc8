#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const LIMITS: RelayLimits = RelayLimits {
    reservations: 6,
    reservations_an_address: 3,
    circuits: 5,
    circuits_a_peer: 3,
    circuits_an_address: 4,
    ..RelayLimits::PUBLIC
};

fn peer(n: u8) -> PeerId {
    let key = libp2p_identity::Keypair::ed25519_from_bytes([n.wrapping_add(1); 32]).unwrap();
    key.public().to_peer_id()
}

fn source(n: u8) -> Source {
    Source::of(IpAddr::from([192, 0, 2, n]))
}

#[test]
fn a_peer_with_a_reservation_is_reached_until_it_ends() {
    let (mut state, now) = (State::new(LIMITS), Instant::now());
    let unknown = state.connect(peer(2), source(2), peer(1), now);
    assert_eq!(unknown, Err(Reason::NoReservation));
    let (first, none) = state.reserve(peer(1), source(1), now).unwrap();
    assert_eq!(none, None);
    let (circuit, target) = state.connect(peer(2), source(2), peer(1), now).unwrap();
    assert_eq!(target, first);
    let (second, replaced) = state.reserve(peer(1), source(9), now).unwrap();
    assert_eq!(replaced, Some(first));
    // The end of the older one does not touch the newer.
    state.release(first);
    assert_eq!(
        state.connect(peer(2), source(2), peer(1), now).unwrap().1,
        second
    );
    state.release(second);
    assert!(state.connect(peer(2), source(2), peer(1), now).is_err());
    assert_eq!(state.circuits(), 2, "circuits outlive the reservation");
    state.end(circuit);
    state.end(circuit);
    assert_eq!(state.circuits(), 1);
    state.stop();
    assert_eq!(
        state.reserve(peer(1), source(1), now),
        Err(Reason::Stopping)
    );
}

#[test]
fn an_ipv6_network_is_one_source() {
    let of = |text: &str| Source::of(text.parse().unwrap());
    assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
    assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
    assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
}

#[test]
fn peers_under_one_key_are_notified_of_each_other_once() {
    let (mut state, now) = (State::new(LIMITS), Instant::now());
    let [a, b, c] = [1, 2, 3].map(|n| state.reserve(peer(n), source(n), now).unwrap().0);
    let key = [7; 32];
    assert_eq!(state.register(a, [key], now), Some(vec![]));
    let met = |to, with: &[u8]| Met {
        to,
        key,
        peers: with.iter().map(|n| peer(*n)).collect(),
    };
    let heard = state.register(b, [key, [8; 32]], now).unwrap();
    assert_eq!(heard, [met(a, &[2]), met(b, &[1])]);
    assert_eq!(state.register(b, [key], now), Some(vec![]), "nothing new");
    let heard = state.register(c, [key], now).unwrap();
    assert_eq!(heard, [met(b, &[3]), met(a, &[3]), met(c, &[2, 1])]);
    state.release(a);
    state.register(b, [], now).unwrap();
    assert_eq!(
        state.register(b, [key], now).unwrap(),
        [met(c, &[2]), met(b, &[3])]
    );
    assert_eq!(state.register(a, [key], now), None, "it is gone");
}

#[test]
fn a_source_with_too_many_requests_waits_and_others_do_not() {
    let (mut state, mut now) = (State::new(LIMITS), Instant::now());
    let mut taken = 0;
    for _ in 0..10_000 {
        taken += u32::from(state.reserve(peer(1), source(1), now).is_ok());
    }
    assert_eq!(taken, REQUESTS);
    assert!(state.reserve(peer(2), source(2), now).is_ok());
    now += REQUEST_TIME;
    assert!(state.reserve(peer(1), source(1), now).is_ok());
    assert_eq!(state.reserve(peer(1), source(1), now), Err(Reason::Full));
    now += REQUEST_TIME * 10_000;
    for n in 0..6_000_u16 {
        let [a, b] = n.to_be_bytes();
        let _ = state.reserve(peer(3), Source::of([10, 0, a, b].into()), now);
    }
    assert!(state.requests.len() <= MAX_SOURCES);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// In whatever order: no limit is passed, and nothing is left behind.
    #[test]
    fn holds_whatever_comes(steps in proptest::collection::vec((0_u8..7, 0_u8..8, 0_u8..8, 0_u8..4), 0..300)) {
        let (mut state, mut now) = (State::new(LIMITS), Instant::now());
        let (mut reservations, mut circuits) = (Vec::new(), Vec::new());
        for (step, one, other, at) in steps {
            now += Duration::from_millis(300);
            match step {
                0 | 1 => if let Ok((id, replaced)) = state.reserve(peer(one), source(at), now) {
                    reservations.retain(|kept| Some(*kept) != replaced);
                    reservations.push(id);
                },
                2 | 3 => if let Ok((id, target)) = state.connect(peer(one), source(at), peer(other), now) {
                    prop_assert!(reservations.contains(&target));
                    prop_assert_ne!(one, other);
                    circuits.push(id);
                },
                4 if !reservations.is_empty() => {
                    let id = reservations.swap_remove(usize::from(one) % reservations.len());
                    state.release(id);
                }
                5 if !circuits.is_empty() => state.end(circuits.swap_remove(usize::from(one) % circuits.len())),
                _ if !reservations.is_empty() => {
                    let id = reservations[usize::from(one) % reservations.len()];
                    let keys = (0..other).map(|n| [n % 4; 32]);
                    for met in state.register(id, keys, now).into_iter().flatten() {
                        prop_assert!(reservations.contains(&met.to));
                        prop_assert!(!met.peers.is_empty() && met.peers.len() <= MAX_MET);
                        prop_assert!(!met.peers.contains(&state.reservations[&met.to].peer));
                    }
                }
                _ => {}
            }
            prop_assert_eq!(state.reservations.len(), reservations.len());
            prop_assert_eq!(state.by_peer.len(), reservations.len());
            prop_assert_eq!(state.circuits(), circuits.len());
            prop_assert!(reservations.len() <= LIMITS.reservations && circuits.len() <= LIMITS.circuits);
            for at in 0..4 {
                let of = |one: &&Reservation| one.source == source(at);
                prop_assert!(state.reservations.values().filter(of).count() <= LIMITS.reservations_an_address);
                let of = |one: &&Circuit| one.source == source(at);
                prop_assert!(state.circuits.values().filter(of).count() <= LIMITS.circuits_an_address);
            }
            for n in 0..8 {
                let with = |one: &&Circuit| one.from == peer(n) || one.to == peer(n);
                prop_assert!(state.circuits.values().filter(with).count() <= LIMITS.circuits_a_peer);
            }
            let registered: usize = state.reservations.values().map(|one| one.keys.len()).sum();
            prop_assert_eq!(state.meeting.values().map(BTreeSet::len).sum::<usize>(), registered);
        }
        for id in reservations {
            state.release(id);
        }
        prop_assert!(state.meeting.is_empty() && state.by_peer.is_empty());
    }
}
