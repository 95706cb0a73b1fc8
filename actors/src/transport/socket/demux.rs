//! What shares the UDP port with QUIC, told apart by its first bytes (`docs/PROTOCOL.md`, one port). Pure.

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A packet of QUIC version 1: bit 0x40 is set (RFC 9000, section 17).
    Quic,
    /// A message of the mainline DHT (BEP 5): a bencoded dictionary whose first key begins with its length.
    Krpc,
    /// What a UDP tracker answers (BEP 15): one of four actions as a u32.
    TrackerReply,
    /// A probe that opens the way through a NAT.
    Punch,
    /// Nothing that we speak.
    Junk,
}

impl Class {
    /// As the metrics name it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Krpc => "krpc",
            Self::TrackerReply => "tracker",
            Self::Punch => "punch",
            Self::Junk => "junk",
        }
    }
}

/// Bytes of a punch.
pub const PUNCH_LEN: usize = 32;
/// The bit that every packet of QUIC version 1 has set, since nobody here greases it.
const QUIC_BIT: u8 = 0x40;
/// The bit that no punch has set, as no text of a known protocol begins so.
const LONG_BIT: u8 = 0x80;
/// A tracker's answer has at least an action and a transaction id.
const MIN_TRACKER_REPLY: usize = 8;
/// The highest action of BEP 15: error.
const MAX_ACTION: u32 = 3;

/// Tells what a datagram is. Our connection ids have the top bit of their first byte set (`endpoint`), so a
/// short QUIC packet to us never has an ASCII digit as its second byte, which a dictionary always has. A stateless
/// reset is random there: one in 400,000 looks like a dictionary, and its sender repeats it.
pub fn classify(datagram: &[u8]) -> Class {
    match datagram {
        [b'd', b'0'..=b'9', .., b'e'] => Class::Krpc,
        [first, ..] if first & QUIC_BIT != 0 => Class::Quic,
        [a, b, c, d, ..]
            if datagram.len() >= MIN_TRACKER_REPLY
                && u32::from_be_bytes([*a, *b, *c, *d]) <= MAX_ACTION =>
        {
            Class::TrackerReply
        }
        [first, ..] if datagram.len() == PUNCH_LEN && *first != 0 && first & LONG_BIT == 0 => {
            Class::Punch
        }
        _ => Class::Junk,
    }
}

/// Takes everything but QUIC out of a received buffer, whose first `len` bytes are datagrams of `stride` bytes each
/// but for the last, which may be shorter. What is QUIC moves to the front, in order and still `stride` apart; its
/// length is returned. Each other datagram goes to `other`.
pub(crate) fn compact(
    buffer: &mut [u8],
    len: usize,
    stride: usize,
    mut other: impl FnMut(Class, &[u8]),
) -> usize {
    let len = len.min(buffer.len());
    // A kernel that says nothing of a stride gave one datagram.
    let stride = if stride == 0 { len.max(1) } else { stride };
    let (mut from, mut kept) = (0, 0);
    while from < len {
        let to = from.saturating_add(stride).min(len);
        let class = classify(&buffer[from..to]);
        if class == Class::Quic {
            if kept != from {
                buffer.copy_within(from..to, kept);
            }
            kept += to - from;
        } else {
            other(class, &buffer[from..to]);
        }
        from = to;
    }
    kept
}

#[cfg(test)]
mod tests {
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
        // An announce's answer with two peers is as long as a punch.
        punch[..4].copy_from_slice(&[0, 0, 0, 1]);
        assert_eq!(classify(&punch), Class::TrackerReply);
        punch[..4].copy_from_slice(&[0, 1, 0, 1]);
        assert_eq!(classify(&punch), Class::Junk);
    }

    proptest! {
        #[test]
        fn quic_to_us_is_quic(first in 0x40_u8..=0xff, id in 0x80_u8..=0xff, rest in vec(any::<u8>(), 0..64)) {
            // Every packet of version 1 has the bit, and every short one a connection id of ours.
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
            // What is left is still made of datagrams of that stride.
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
}
