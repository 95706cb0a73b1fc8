#![allow(clippy::unwrap_used)]
use proptest::{collection::vec, prelude::*};

use super::*;

#[test]
fn known_first_words() {
    let krpc = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    let mut tracker = [0; 16];
    tracker[8] = 9;
    let mut punch = [0x2a; PUNCH_LEN];
    for (datagram, class) in [
        (&krpc[..], Class::Krpc),
        (b"d2:ip6:abcdef1:eee", Class::Krpc),
        (&tracker[..], Class::TrackerReply),
        (
            &[0, 0, 0, 3, 1, 2, 3, 4, b'n', b'o'][..],
            Class::TrackerReply,
        ),
        (&[0, 0, 0, 3, 1, 2, 3][..], Class::Junk),
        (&[0, 0, 0, 4, 1, 2, 3, 4][..], Class::Junk),
        (&punch[..], Class::Punch),
        (&punch[..31], Class::Junk),
        (&[][..], Class::Junk),
        (&[0x80; 32][..], Class::Junk),
        (&[0xc3, 0, 0, 0, 1][..], Class::Quic),
        (b"d\x85rest of a short packet e", Class::Quic),
        (b"d9 a reset with a digit", Class::Quic),
        (&[0x40][..], Class::Quic),
        (b"d5e", Class::Krpc),
        (b"d5", Class::Quic),
    ] {
        assert_eq!(classify(datagram), class, "{datagram:?}");
    }
    // An announce reply with two peers is as long as a punch.
    punch[..4].copy_from_slice(&[0, 0, 0, 1]);
    assert_eq!(classify(&punch), Class::TrackerReply);
    punch[..4].copy_from_slice(&[0, 1, 0, 1]);
    assert_eq!(classify(&punch), Class::Junk);
}

proptest! {
    #[test]
    fn quic_to_us_is_quic(first in 0x40_u8..=0xff, id in 0x80_u8..=0xff, rest in vec(any::<u8>(), 0..64)) {
        // Every version 1 packet has the bit, and every short one a connection id of ours.
        let first = first | QUIC_BIT;
        let mut packet = vec![first, id];
        packet.extend(rest);
        prop_assert_eq!(classify(&packet), Class::Quic);
    }

    #[test]
    fn without_its_bit_nothing_is_quic(mut bytes in vec(any::<u8>(), 1..64)) {
        bytes[0] &= !QUIC_BIT;
        prop_assert_ne!(classify(&bytes), Class::Quic);
    }

    #[test]
    fn every_class_keeps_to_its_first_byte(bytes in vec(any::<u8>(), 0..64)) {
        match classify(&bytes) {
            Class::Quic => prop_assert!(bytes[0] & QUIC_BIT != 0),
            Class::Krpc => prop_assert!(bytes[0] == b'd' && bytes[1].is_ascii_digit()),
            Class::TrackerReply => prop_assert!(bytes[..3] == [0; 3] && bytes[3] <= 3),
            Class::Punch => prop_assert!(bytes.len() == PUNCH_LEN && bytes[0] & 0xc0 == 0),
            Class::Junk => {}
        }
    }

    #[test]
    fn compacting_keeps_quic_in_order_and_hands_out_the_rest(
        kinds in vec(0_u8..5, 1..12), stride in 8_usize..48, last in 1_usize..48, slack in 0_usize..40,
    ) {
        let mut datagrams: Vec<Vec<u8>> = Vec::new();
        for (n, kind) in kinds.iter().enumerate() {
            let mut one = vec![n as u8; stride];
            match kind {
                0 | 1 => one[0] = 0x43,
                2 => { one[..2].copy_from_slice(b"d1"); one[stride - 1] = b'e'; }
                3 => one[..4].copy_from_slice(&[0, 0, 0, 1]),
                _ => one[0] = 0x90,
            }
            datagrams.push(one);
        }
        let short = last.min(stride);
        datagrams.last_mut().unwrap().truncate(short);
        let mut buffer = datagrams.concat();
        let len = buffer.len();
        buffer.resize(len + slack, 0xff);
        let mut others = Vec::new();
        let kept = compact(&mut buffer, len, stride, |class, bytes| others.push((class, bytes.to_vec())));
        let (quic, rest): (Vec<_>, Vec<_>) = datagrams.into_iter().partition(|one| classify(one) == Class::Quic);
        prop_assert_eq!(&buffer[..kept], &quic.concat()[..]);
        let rest: Vec<_> = rest.into_iter().map(|one| (classify(&one), one)).collect();
        prop_assert_eq!(others, rest);
        // The rest still consists of datagrams of that stride.
        prop_assert!(buffer[..kept].chunks(stride).all(|one| classify(one) == Class::Quic));
    }

    #[test]
    fn no_numbers_make_it_panic(mut bytes in vec(any::<u8>(), 0..64), len in any::<usize>(), stride in any::<usize>()) {
        let full = bytes.len();
        let mut handed = 0;
        let kept = compact(&mut bytes, len, stride, |_, one| handed += one.len());
        prop_assert_eq!(kept + handed, len.min(full));
    }
}
