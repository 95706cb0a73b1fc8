//! Tests that need the keys: frames that a member pads wrongly, and keys at their limits.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn pair() -> (Sealer, Opener) {
    let root = Secret::new([9; 32]);
    (
        Sealer::new(&root, Role::Initiator),
        Opener::new(&root, Role::Initiator),
    )
}

/// Seals any plaintext, correctly padded or not.
fn seal_raw(sealer: &mut Sealer, plaintext: &[u8]) -> Vec<u8> {
    let nonce = sealer.key.next(plaintext.len()).unwrap();
    let prefix = to_u32(plaintext.len() + TAG_LEN).to_be_bytes();
    let mut body = plaintext.to_vec();
    let tag = sealer
        .key
        .aes
        .encrypt_inout_detached(&nonce, &prefix, body.as_mut_slice().into())
        .unwrap();
    body.extend_from_slice(&tag);
    body
}

fn plaintext(n: u32, message: &[u8], len: usize) -> Vec<u8> {
    let mut out = n.to_be_bytes().to_vec();
    out.extend_from_slice(message);
    out.resize(len, 0);
    out
}

#[test]
fn padme_matches_its_definition_by_hand() {
    for (len, expected) in [
        (0, 0),
        (1, 1),
        (2, 2),
        (9, 10),
        (64, 64),
        (65, 72),
        (72, 72),
        (73, 80),
        (128, 128),
        (129, 144),
        (1_000, 1_024),
        (1_025, 1_088),
        (65_537, 67_584),
        (262_148, 270_336),
    ] {
        assert_eq!(padme(len), expected, "of {len}");
    }
    assert_eq!(padded(MAX_MESSAGE) + TAG_LEN, MAX_FRAME);
    assert_eq!(padded(0) + TAG_LEN, MIN_FRAME);
}

#[test]
fn a_wrongly_padded_frame_is_refused() {
    let mut dirty = plaintext(5, b"hello", 64);
    dirty[63] = 1;
    for bad in [
        plaintext(5, b"hello", 65),
        plaintext(5, b"hello", 72),
        plaintext(61, &[1; 60], 64),
        plaintext(62, &[1; 60], 64),
        plaintext(u32::MAX, b"hello", 64),
        plaintext(262_145, b"hello", 270_336),
        plaintext(0, b"hello", 64),
        dirty,
    ] {
        let (mut sealer, mut opener) = pair();
        let mut body = seal_raw(&mut sealer, &bad);
        assert_eq!(opener.open(&mut body), Err(FrameError::Padding));
        assert!(body.is_empty());
        assert_eq!(opener.open(&mut body), Err(FrameError::Closed));
    }
    let (mut sealer, mut opener) = pair();
    let mut body = seal_raw(&mut sealer, &plaintext(60, &[1; 60], 64));
    assert_eq!(opener.open(&mut body).unwrap(), [1; 60]);
}

#[test]
fn keys_end_at_their_limits() {
    let (mut sealer, mut opener) = pair();
    sealer.key.frames = MAX_KEY_FRAMES - 1;
    opener.key.frames = MAX_KEY_FRAMES - 1;
    let mut out = Vec::new();
    sealer.seal(b"the last", &mut out).unwrap();
    let mut body = out.split_off(4);
    assert_eq!(opener.open(&mut body).unwrap(), b"the last");
    out.clear();
    assert_eq!(
        sealer.seal(b"one more", &mut out),
        Err(FrameError::Exhausted)
    );
    assert!(out.is_empty());
    assert_eq!(opener.open(&mut vec![0; 80]), Err(FrameError::Exhausted));

    let (mut sealer, mut opener) = pair();
    sealer.key.bytes = MAX_KEY_BYTES - 64;
    opener.key.bytes = MAX_KEY_BYTES - 63;
    assert_eq!(
        sealer.seal(&[0; 61], &mut out),
        Err(FrameError::Exhausted),
        "72 bytes of plaintext"
    );
    sealer.seal(&[0; 60], &mut out).unwrap();
    assert_eq!(
        opener.open(&mut out.split_off(4)),
        Err(FrameError::Exhausted)
    );
    assert_eq!(sealer.usage(), (1, MAX_KEY_BYTES));
}

#[test]
fn a_switch_resets_both_counters() {
    let (mut sealer, mut opener) = pair();
    sealer.key.frames = MAX_KEY_FRAMES;
    opener.key.frames = MAX_KEY_FRAMES;
    let switch = || KeySwitch {
        sender: Role::Initiator,
        key: Secret::new([3; 32]),
    };
    sealer.switch(switch());
    opener.switch(switch());
    let mut out = Vec::new();
    sealer.seal(b"fresh", &mut out).unwrap();
    assert_eq!(opener.open(&mut out.split_off(4)).unwrap(), b"fresh");
    assert_eq!(sealer.usage(), (1, 64));
    assert_eq!(opener.usage(), (1, 64));
}

proptest! {
    #[test]
    fn padme_grows_little_and_is_idempotent(len in 0usize..(1 << 30)) {
        let out = padme(len);
        prop_assert!(out >= len);
        prop_assert!(out - len <= len * 12 / 100);
        prop_assert_eq!(padme(out), out);
        prop_assert!(padme(len + 1) >= out);
    }
}
