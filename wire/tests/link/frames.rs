//! Frames are delivered once and in order, or the direction is dead.

use bitchat_wire::link::{FrameError, MAX_FRAME, MAX_MESSAGE, MIN_FRAME, frame_len};
use proptest::prelude::*;

use super::*;

/// The frame of a message: its prefix and its ciphertext.
fn frame(from: &mut Established, message: &[u8]) -> ([u8; 4], Vec<u8>) {
    let mut out = Vec::new();
    from.sealer.seal(message, &mut out).unwrap();
    let body = out.split_off(4);
    (out.try_into().unwrap(), body)
}

#[test]
fn lengths_are_bounded_before_anything_is_allocated() {
    for len in [0, 1, 79, 270_353, u32::MAX] {
        assert_eq!(frame_len(len.to_be_bytes()), Err(FrameError::Length));
    }
    assert_eq!(frame_len(80u32.to_be_bytes()), Ok(MIN_FRAME));
    assert_eq!(frame_len(270_352u32.to_be_bytes()), Ok(MAX_FRAME));
}

#[test]
fn the_longest_message_fits_and_the_next_does_not() {
    let (mut alice, mut bob) = link(1);
    let longest = vec![7; MAX_MESSAGE];
    let (prefix, mut body) = frame(&mut alice, &longest);
    assert_eq!(frame_len(prefix), Ok(MAX_FRAME));
    assert_eq!(bob.opener.open(&mut body).unwrap(), longest);

    let mut out = vec![1, 2, 3];
    assert_eq!(
        alice.sealer.seal(&vec![7; MAX_MESSAGE + 1], &mut out),
        Err(FrameError::TooLong)
    );
    assert_eq!(out, [1, 2, 3]);
    // A refused message has no effect.
    assert_eq!(carry(&mut alice, &mut bob, b"next"), b"next");
    assert_eq!(alice.sealer.usage().0, 2);
    assert_eq!(alice.sealer.usage(), bob.opener.usage());
}

#[test]
fn a_replayed_frame_ends_the_direction() {
    let (mut alice, mut bob) = link(1);
    let (_, body) = frame(&mut alice, b"once");
    assert_eq!(bob.opener.open(&mut body.clone()).unwrap(), b"once");
    let mut again = body.clone();
    assert_eq!(bob.opener.open(&mut again), Err(FrameError::Sealed));
    assert!(again.is_empty(), "nothing unproven is left in the buffer");
    let (_, mut next) = frame(&mut alice, b"twice");
    assert_eq!(bob.opener.open(&mut next), Err(FrameError::Closed));
    // The other direction has its own key.
    assert_eq!(carry(&mut bob, &mut alice, b"still here"), b"still here");
}

#[test]
fn frames_out_of_order_do_not_open() {
    let (mut alice, mut bob) = link(1);
    let (_, _first) = frame(&mut alice, b"first");
    let (_, mut second) = frame(&mut alice, b"second");
    assert_eq!(bob.opener.open(&mut second), Err(FrameError::Sealed));
}

#[test]
fn a_frame_does_not_open_at_its_sender_or_on_another_link() {
    let (mut alice, _) = link(1);
    let (_, body) = frame(&mut alice, b"mine");
    assert_eq!(
        alice.opener.open(&mut body.clone()),
        Err(FrameError::Sealed)
    );
    let (_, mut other) = link(2);
    assert_eq!(
        other.opener.open(&mut body.clone()),
        Err(FrameError::Sealed)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn messages_survive(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3_000), 1..8)) {
        let (mut alice, mut bob) = link(1);
        for message in &messages {
            prop_assert_eq!(&carry(&mut alice, &mut bob, message), message);
            prop_assert_eq!(&carry(&mut bob, &mut alice, message), message);
        }
    }

    #[test]
    fn lengths_tell_little(a in 0usize..40_000, seed: u64) {
        let (mut alice, _) = link(seed);
        let (prefix, body) = frame(&mut alice, &vec![0; a]);
        prop_assert_eq!(frame_len(prefix), Ok(body.len()));
        // Padding never costs more than 12 % beyond the smallest frame.
        prop_assert!(body.len() <= ((a + 4).max(64) * 112 / 100) + 16);
    }

    #[test]
    fn any_changed_bit_is_noticed(message in prop::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, bit in 0..8u8) {
        let (mut alice, mut bob) = link(1);
        let (_, mut body) = frame(&mut alice, &message);
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        prop_assert_eq!(bob.opener.open(&mut body), Err(FrameError::Sealed));
    }

    #[test]
    fn any_other_length_is_noticed(message in prop::collection::vec(any::<u8>(), 0..300), len in 0usize..600) {
        let (mut alice, mut bob) = link(1);
        let (_, mut body) = frame(&mut alice, &message);
        prop_assume!(len != body.len());
        body.resize(len, 0);
        prop_assert!(bob.opener.open(&mut body).is_err());
    }
}
