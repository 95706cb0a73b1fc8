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
    // It finished at the same moment.
    held[0].0.opened();
    assert_eq!(admission.in_use(), (MAX_PENDING_TCP, 1));
    // One source cannot push out others.
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
