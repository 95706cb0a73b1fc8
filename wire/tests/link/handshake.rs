//! Handshakes: both sides agree, or neither gets a link.

use bitchat_wire::link::{link_tag, m1_tag};
use proptest::prelude::*;

use super::*;

fn flip(bit: usize) -> impl Fn(&mut Vec<u8>) {
    move |bytes: &mut Vec<u8>| bytes[bit / 8] ^= 1 << (bit % 8)
}

/// The failure, whichever side detected it.
fn error(result: Result<(Established, Established), Failure>) -> HandshakeError {
    match result.map(|_| ()).unwrap_err() {
        Failure::ResponderOnM1(e) | Failure::InitiatorOnM2(e) | Failure::ResponderOnM3(e) => e,
    }
}

#[test]
fn both_sides_prove_themselves_and_talk() {
    let (mut alice, mut bob) = link(1);
    assert_eq!(alice.peer, Party::bob().certificate);
    assert_eq!(bob.peer, Party::alice().certificate);
    assert_eq!(carry(&mut alice, &mut bob, b"hello"), b"hello");
    assert_eq!(carry(&mut bob, &mut alice, b""), b"");
    assert_eq!(*alice.renewal.export(), *bob.renewal.export());
}

#[test]
fn a_second_device_of_the_same_identity_is_welcome() {
    let laptop = Party::new(1, 2);
    let phone = Party::new(1, 9);
    run(1, &laptop, &phone, &Wire::default()).unwrap();
}

#[test]
fn ones_own_device_is_refused() {
    let party = Party::alice();
    assert_eq!(
        run(1, &party, &Party::alice(), &Wire::default()).map(|_| ()),
        Err(Failure::InitiatorOnM2(HandshakeError::Oneself))
    );
    // An M1 that is reflected does not carry the channel's tag.
    let keys = keys();
    let (_, m1) = Initiator::start(&keys, BINDING, TlsSide::Client, &mut rng(1));
    let mirrored = Responder::start(
        &keys,
        BINDING,
        TlsSide::Server,
        &m1,
        party.local(),
        &mut rng(2),
    );
    assert_eq!(mirrored.map(|_| ()), Err(HandshakeError::Tag));
}

#[test]
fn a_stranger_to_the_channel_gets_no_answer() {
    let bob = Party::bob();
    let ours = keys();
    let others = [
        EpochKeys::derive(ChannelId([5; 32]), 0, &[7; 32]),
        EpochKeys::derive(ChannelId([6; 32]), 0, &[6; 32]),
        EpochKeys::derive(ChannelId([5; 32]), 1, &[6; 32]),
    ];
    for theirs in &others {
        let (_, m1) = Initiator::start(theirs, BINDING, TlsSide::Client, &mut rng(1));
        let answer = Responder::start(
            &ours,
            BINDING,
            TlsSide::Client,
            &m1,
            bob.local(),
            &mut rng(2),
        );
        assert_eq!(answer.map(|_| ()), Err(HandshakeError::Tag));
    }
}

#[test]
fn a_responder_without_the_link_key_learns_and_proves_nothing() {
    // It knows the tag (for example from a leak of an earlier epoch), but not `k_link`.
    let mut half = keys();
    half.link = EpochKeys::derive(ChannelId([5; 32]), 0, &[7; 32]).link;
    let alice = Party::alice();
    let (initiator, m1) = Initiator::start(&keys(), BINDING, TlsSide::Client, &mut rng(1));
    let (_, m2) = Responder::start(
        &half,
        BINDING,
        TlsSide::Client,
        &m1,
        Party::bob().local(),
        &mut rng(2),
    )
    .unwrap();
    let end = initiator.finish(m2.as_slice(), alice.local(), |_| true);
    assert_eq!(end.map(|_| ()), Err(HandshakeError::Sealed));
}

#[test]
fn nothing_carries_over_to_another_connection() {
    let (keys, bob) = (keys(), Party::bob());
    let (_, m1) = Initiator::start(&keys, BINDING, TlsSide::Client, &mut rng(1));
    for (binding, side) in [
        (Binding([0xb2; 32]), TlsSide::Client),
        (BINDING, TlsSide::Server),
    ] {
        let answer = Responder::start(&keys, binding, side, &m1, bob.local(), &mut rng(2));
        assert_eq!(answer.map(|_| ()), Err(HandshakeError::Tag));
    }
    let exporter = [1; 32];
    let binding = Binding::new(&exporter, b"a", b"b");
    assert_ne!(binding, Binding::new(&exporter, b"b", b"a"));
    assert_ne!(binding, Binding::new(&exporter, b"ab", b""));
    assert_ne!(binding, Binding::new(&[2; 32], b"a", b"b"));
}

#[test]
fn an_answer_or_a_proof_from_another_handshake_is_refused() {
    let (keys, alice, bob) = (keys(), Party::alice(), Party::bob());
    let begin = |seed| {
        let (initiator, m1) = Initiator::start(&keys, BINDING, TlsSide::Client, &mut rng(seed));
        let (responder, m2) = Responder::start(
            &keys,
            BINDING,
            TlsSide::Client,
            &m1,
            bob.local(),
            &mut rng(seed + 100),
        )
        .unwrap();
        (initiator, responder, m2)
    };
    let (first, _, first_m2) = begin(1);
    let (second, _, _) = begin(2);
    let (_, third, _) = begin(3);
    let end = second.finish(first_m2.as_slice(), alice.local(), |_| true);
    assert_eq!(end.map(|_| ()), Err(HandshakeError::Sealed));
    let (m3, _) = first
        .finish(first_m2.as_slice(), alice.local(), |_| true)
        .unwrap();
    let end = third.finish(&m3, bob.local(), |_| true);
    assert_eq!(end.map(|_| ()), Err(HandshakeError::Sealed));
}

#[test]
fn an_unexpected_peer_is_refused_and_gets_no_m3() {
    let (keys, alice, bob) = (keys(), Party::alice(), Party::bob());
    let carol = Party::new(7, 8).certificate.identity;
    let (initiator, m1) = Initiator::start(&keys, BINDING, TlsSide::Server, &mut rng(1));
    let (responder, m2) = Responder::start(
        &keys,
        BINDING,
        TlsSide::Server,
        &m1,
        bob.local(),
        &mut rng(2),
    )
    .unwrap();
    let end = initiator.finish(m2.as_slice(), alice.local(), |peer| peer.identity == carol);
    assert_eq!(end.map(|_| ()), Err(HandshakeError::Refused));

    let (initiator, m1) = Initiator::start(&keys, BINDING, TlsSide::Server, &mut rng(1));
    drop(responder);
    let (responder, m2) = Responder::start(
        &keys,
        BINDING,
        TlsSide::Server,
        &m1,
        bob.local(),
        &mut rng(2),
    )
    .unwrap();
    let (m3, _) = initiator
        .finish(m2.as_slice(), alice.local(), |peer| {
            peer == &bob.certificate
        })
        .unwrap();
    let end = responder.finish(&m3, bob.local(), |peer| peer.identity == carol);
    assert_eq!(end.map(|_| ()), Err(HandshakeError::Refused));
}

#[test]
fn forged_credentials_of_members_are_refused() {
    let honest = Party::alice();
    // A certificate that the identity never signed.
    let mut forged = Party::bob();
    forged.certificate.created += 1;
    // The certificate of another device, without that device's key.
    let mut borrowed = Party::new(7, 8);
    borrowed.certificate = Party::bob().certificate;
    for (liar, expected) in [
        (&forged, HandshakeError::Certificate),
        (&borrowed, HandshakeError::Signature),
    ] {
        assert_eq!(
            run(1, &honest, liar, &Wire::default()).map(|_| ()),
            Err(Failure::InitiatorOnM2(expected.clone()))
        );
        assert_eq!(
            run(1, liar, &honest, &Wire::default()).map(|_| ()),
            Err(Failure::ResponderOnM3(expected))
        );
    }
}

#[test]
fn the_first_message_is_checked_in_order() {
    let big: Change<'_> = &|m1| m1[73..76].fill(0xff);
    let modulus: Change<'_> = &|m1| {
        // The first coefficient becomes q = 3,329 = 0xd01.
        m1[73] = 0x01;
        m1[74] = (m1[74] & 0xf0) | 0x0d;
    };
    let zero: Change<'_> = &|m1| m1[41..73].fill(0);
    let one: Change<'_> = &|m1| {
        m1[41..73].fill(0);
        m1[41] = 1;
    };
    let work: Change<'_> = &|m1| m1[33] = 1;
    let tag: Change<'_> = &|m1| m1[1] ^= 1;
    let long: Change<'_> = &|m1| m1.push(0);
    let cases: [(&[Change<'_>], HandshakeError); 9] = [
        (&[zero], HandshakeError::Point),
        (&[one], HandshakeError::Point),
        (&[big], HandshakeError::KemKey),
        (&[modulus], HandshakeError::KemKey),
        (&[zero, big], HandshakeError::KemKey),
        (&[work], HandshakeError::ProofOfWork),
        (&[zero, big, work], HandshakeError::ProofOfWork),
        (&[zero, big, work, tag], HandshakeError::Tag),
        (&[zero, big, work, tag, long], HandshakeError::Malformed),
    ];
    for (changes, expected) in cases {
        let all = |m1: &mut Vec<u8>| changes.iter().for_each(|change| change(m1));
        let wire = Wire {
            m1: Some(&all),
            ..Wire::default()
        };
        assert_eq!(
            run(1, &Party::alice(), &Party::bob(), &wire).map(|_| ()),
            Err(Failure::ResponderOnM1(expected))
        );
    }
}

#[test]
fn a_low_order_answer_is_refused() {
    let wire = Wire {
        m2: Some(&|m2: &mut Vec<u8>| m2[1..33].fill(0)),
        ..Wire::default()
    };
    assert_eq!(
        run(1, &Party::alice(), &Party::bob(), &wire).map(|_| ()),
        Err(Failure::InitiatorOnM2(HandshakeError::Point))
    );
}

#[test]
fn the_tag_is_readable_from_a_first_message_only() {
    let keys = keys();
    let (_, m1) = Initiator::start(&keys, BINDING, TlsSide::Server, &mut rng(1));
    assert_eq!(
        m1_tag(&m1),
        Some(link_tag(&keys, &BINDING, TlsSide::Server))
    );
    assert_ne!(
        m1_tag(&m1),
        Some(link_tag(&keys, &BINDING, TlsSide::Client))
    );
    assert_eq!(m1_tag(&m1[..M1_LEN - 1]), None);
    assert_eq!(m1_tag(&[]), None);
    let mut other = m1;
    other[0] = 2;
    assert_eq!(m1_tag(&other), None);
}

#[test]
fn every_bit_of_the_last_message_counts() {
    for bit in (0..M3_LEN * 8).step_by(7) {
        let change = flip(bit);
        let wire = Wire {
            m3: Some(&change),
            ..Wire::default()
        };
        let expected = if bit < 8 {
            HandshakeError::Malformed
        } else {
            HandshakeError::Sealed
        };
        assert_eq!(
            run(1, &Party::alice(), &Party::bob(), &wire).map(|_| ()),
            Err(Failure::ResponderOnM3(expected)),
            "bit {bit}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_changed_bit_ends_the_handshake(
        seed: u64, which in 0usize..3,
        bit1 in 0..M1_LEN * 8, bit2 in 0..M2_LEN * 8, bit3 in 0..M3_LEN * 8,
    ) {
        let (f1, f2, f3) = (flip(bit1), flip(bit2), flip(bit3));
        let mut wire = Wire::default();
        match which {
            0 => wire.m1 = Some(&f1),
            1 => wire.m2 = Some(&f2),
            _ => wire.m3 = Some(&f3),
        }
        prop_assert!(run(seed, &Party::alice(), &Party::bob(), &wire).is_err());
    }

    #[test]
    fn any_other_length_is_malformed(seed: u64, which in 0usize..3, len in 0usize..3_000) {
        let resize = move |bytes: &mut Vec<u8>| {
            let len = if len == bytes.len() { len + 1 } else { len };
            bytes.resize(len, 0);
        };
        let mut wire = Wire::default();
        match which {
            0 => wire.m1 = Some(&resize),
            1 => wire.m2 = Some(&resize),
            _ => wire.m3 = Some(&resize),
        }
        let end = run(seed, &Party::alice(), &Party::bob(), &wire);
        prop_assert_eq!(error(end), HandshakeError::Malformed);
    }

    #[test]
    fn no_bytes_make_it_panic(m1: Vec<u8>, exact in prop::array::uniform32(any::<u8>())) {
        let (keys, bob) = (keys(), Party::bob());
        let mut full = [0; M1_LEN];
        full[0] = 1;
        full[33..65].copy_from_slice(&exact);
        for bytes in [m1.as_slice(), &full] {
            prop_assert!(Responder::start(&keys, BINDING, TlsSide::Client, bytes, bob.local(), &mut rng(1)).is_err());
        }
    }
}
