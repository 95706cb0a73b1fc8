#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn nat(votes: &[(&str, &str)]) -> Nat {
    let mut nat = Nat::default();
    nat.local("192.168.1.2".parse().unwrap());
    for (by, sees) in votes {
        nat.observed(at(by), at(sees));
    }
    nat
}

fn kind(votes: &[(&str, &str)]) -> NatKind {
    nat(votes).view(false).kind
}

#[test]
fn kinds_follow_from_what_others_see() {
    assert_eq!(kind(&[]), NatKind::Unknown);
    let one = [("1.1.1.1:5", "9.9.9.9:7000")];
    assert_eq!(kind(&one), NatKind::Unknown);
    assert_eq!(nat(&one).view(false).external, Some(at("9.9.9.9:7000")));
    assert!(!nat(&one).view(false).sure);
    let same_host = [("1.1.1.1:5", "9.9.9.9:7000"), ("1.1.1.1:6", "9.9.9.9:7001")];
    assert_eq!(kind(&same_host), NatKind::Unknown, "a host has one vote");
    let two = [("1.1.1.1:5", "9.9.9.9:7000"), ("2.2.2.2:5", "9.9.9.9:7000")];
    let restricted = nat(&two);
    assert_eq!(restricted.view(false).kind, NatKind::PortRestricted);
    assert_eq!(restricted.port(), Some(7000));
    assert!(restricted.is_ours("9.9.9.9".parse().unwrap()));
    let differ = [("1.1.1.1:5", "9.9.9.9:7000"), ("2.2.2.2:5", "9.9.9.9:7001")];
    let symmetric = nat(&differ);
    assert_eq!(symmetric.view(false).kind, NatKind::Symmetric);
    assert_eq!(symmetric.view(false).external, Some(at("9.9.9.9:0")));
    assert_eq!(symmetric.port(), None);
    let liar = [&two[..], &[("3.3.3.3:5", "9.9.9.9:1")]].concat();
    assert_eq!(kind(&liar), NatKind::PortRestricted, "one against two");
    let neighbour = [("192.168.1.9:5", "192.168.1.2:7000")];
    assert_eq!(nat(&neighbour).view(false).external, None);
}

#[test]
fn other_evidence_counts_as_well() {
    let mut open = nat(&[("1.1.1.1:5", "9.9.9.9:7000")]);
    open.local("9.9.9.9".parse().unwrap());
    assert_eq!(open.view(false).kind, NatKind::Open);

    let mut cone = nat(&[("1.1.1.1:5", "9.9.9.9:7000"), ("2.2.2.2:5", "9.9.9.9:7000")]);
    cone.reached(false);
    assert_eq!(cone.view(false).kind, NatKind::FullCone);
    assert_eq!(cone.view(true).kind, NatKind::Unknown);

    let mut blocked = nat(&[]);
    blocked.only_tcp("192.168.1.1".parse().unwrap());
    assert_eq!(blocked.view(false).kind, NatKind::Unknown, "at home");
    blocked.only_tcp("1.1.1.1".parse().unwrap());
    assert_eq!(blocked.view(false).kind, NatKind::UdpBlocked);
    blocked.observed(at("1.1.1.1:5"), at("9.9.9.9:7000"));
    assert_eq!(blocked.view(false).kind, NatKind::Unknown);

    let mut mapped = nat(&[("1.1.1.1:5", "9.9.9.9:7000")]);
    mapped.mapped(false, Some(at("9.9.9.9:4001")));
    assert_eq!(mapped.port(), Some(4001));
    mapped.mapped(false, None);
    assert_eq!(mapped.port(), None);
    let mut twice = nat(&[("1.1.1.1:5", "9.9.9.9:7000"), ("2.2.2.2:5", "9.9.9.9:7000")]);
    twice.mapped(false, Some(at("8.8.8.8:4001")));
    assert_eq!(
        twice.port(),
        Some(7000),
        "the router has another one behind it"
    );
    assert_eq!(twice.view(false).mapped, None);

    let mut dht = nat(&[]);
    dht.dht(at("9.9.9.9:0"));
    assert_eq!(dht.view(false).kind, NatKind::Unknown);
    dht.dht(at("9.9.9.9:7000"));
    assert_eq!(dht.view(false).kind, NatKind::PortRestricted);
    assert_eq!(dht.port(), Some(7000));

    let mut tracked = nat(&[]);
    tracked.tracker("9.9.9.9".parse().unwrap());
    assert_eq!(tracked.view(false).external, Some(at("9.9.9.9:0")));
    tracked.moved();
    assert_eq!(tracked.view(false), NatView::default());
    tracked.set_only(NatKind::Proxy);
    assert_eq!(tracked.view(true).kind, NatKind::Proxy);
}

#[test]
fn tcp_is_judged_by_what_was_dialled_from_our_port() {
    let of = |votes: &[(&str, &str)]| {
        let mut nat = nat(&[]);
        for (by, sees) in votes {
            nat.observed_tcp(at(by), at(sees));
        }
        assert_eq!(
            nat.view(false),
            NatView::default(),
            "it reveals nothing about UDP"
        );
        nat.tcp(false, 7_001)
    };
    assert_eq!(of(&[]), None);
    let one = ("1.1.1.1:5", "9.9.9.9:7005");
    assert_eq!(of(&[one]), Some(at("9.9.9.9:7005")));
    let same = ("2.2.2.2:5", "9.9.9.9:7005");
    assert_eq!(of(&[one, same]), Some(at("9.9.9.9:7005")));
    let other = ("2.2.2.2:5", "9.9.9.9:7006");
    assert_eq!(of(&[one, other]), None, "symmetric");
    assert_eq!(
        of(&[one, other, ("3.3.3.3:5", "9.9.9.9:7005")]),
        Some(at("9.9.9.9:7005"))
    );
    let home = ("192.168.1.9:5", "192.168.1.2:7001");
    assert_eq!(of(&[home]), None);

    // Without TCP observations, a NAT is assumed to treat TCP as it treats UDP.
    let kept = nat(&[("1.1.1.1:5", "9.9.9.9:7001")]);
    assert_eq!(kept.tcp(false, 7_001), Some(at("9.9.9.9:7001")));
    assert_eq!(kept.tcp(false, 7_002), None);
    assert_eq!(kept.tcp(true, 7_001), None);
    let each = nat(&[("1.1.1.1:5", "9.9.9.9:7001"), ("2.2.2.2:5", "9.9.9.9:7002")]);
    assert_eq!(each.tcp(false, 7_001), None);
    let mut proxied = kept;
    proxied.set_only(NatKind::Proxy);
    assert_eq!(proxied.tcp(false, 7_001), None);
}

proptest! {
    #[test]
    fn no_two_hosts_alone_make_us_announce_what_none_sees(
        votes in proptest::collection::vec((1_u8..12, 1_u8..4, 1_u16..6), 0..40),
    ) {
        let mut nat = Nat::default();
        for (by, ip, port) in &votes {
            nat.observed(
                SocketAddr::from(([1, 1, 1, *by], 1)),
                SocketAddr::from(([9, 9, 9, *ip], *port)),
            );
        }
        let view = nat.view(false);
        prop_assert!(view.observers <= MOST_VOTES);
        if let Some(port) = nat.port() {
            let sees = |(_, ip, seen): &&(u8, u8, u16)| {
                *seen == port && view.external.unwrap().ip() == IpAddr::from([9, 9, 9, *ip])
            };
            prop_assert!(votes.iter().filter(sees).count() >= 2);
        }
    }
}
