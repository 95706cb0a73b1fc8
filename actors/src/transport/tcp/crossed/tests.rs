#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// A `ClientHello` with that random, followed by `more` bytes.
fn hello(random: [u8; 32], more: u16) -> Vec<u8> {
    let len = 38 + more;
    let mut bytes = vec![HANDSHAKE, 3, 1];
    bytes.extend(len.to_be_bytes());
    bytes.extend([CLIENT_HELLO, 0, 0, 34, 3, 3]);
    bytes.extend(random);
    bytes.resize(usize::from(len) + RECORD, 7);
    bytes
}

#[test]
fn answers_are_told_from_dials() {
    let ours = hello([5; 32], 100);
    let ours = &ours[..RANDOM.end];
    for answer in [
        &[21, 3, 3, 0, 2, 2, 40][..],
        &[HANDSHAKE, 3, 3, 0, 122, 2],
        b"GET",
    ] {
        assert_eq!(judge(ours, answer), Verdict::Answer);
    }
    let theirs = hello([6; 32], 100);
    assert_eq!(judge(ours, &theirs[..42]), Verdict::More);
    assert_eq!(judge(ours, &theirs[..43]), Verdict::Server);
    assert_eq!(judge(&theirs[..43], ours), Verdict::Client(143));
    assert_eq!(judge(ours, ours), Verdict::Ourselves);
    assert_eq!(judge(&[], ours), Verdict::Answer);
    let mut short = theirs;
    short[3..5].copy_from_slice(&[0, 37]);
    assert_eq!(judge(ours, &short[..43]), Verdict::Answer);
}

proptest! {
    #[test]
    fn both_ends_judge_alike(one: [u8; 32], other: [u8; 32], lens in (0_u16..2_000, 0_u16..2_000)) {
        let (one, other) = (hello(one, lens.0), hello(other, lens.1));
        let verdicts = [judge(&one[..43], &other[..43]), judge(&other[..43], &one[..43])];
        let agree = match verdicts {
            [Verdict::Client(passed), Verdict::Server] => passed == other.len(),
            [Verdict::Server, Verdict::Client(passed)] => passed == one.len(),
            [Verdict::Ourselves, Verdict::Ourselves] => one[RANDOM] == other[RANDOM],
            _ => false,
        };
        prop_assert!(agree, "{verdicts:?}");
    }

    #[test]
    fn whatever_comes_is_read_once_or_passed_over_once(
        head in proptest::collection::vec(any::<u8>(), 0..80),
        crossed: bool,
        more in 0_u16..1_500,
        piece in 1_usize..200,
    ) {
        // Its random is always smaller than ours.
        let theirs = if crossed { hello([0; 32], more) } else { head };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (read, wanted) = runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(piece);
            let mut near = Crossing::new(near);
            near.sent = hello([9; 32], 0)[..43].to_vec();
            let speak = async move {
                far.write_all(&theirs).await.unwrap();
                far.write_all(b"and on").await.unwrap();
                drop(far);
                theirs
            };
            let mut read = Vec::new();
            let (end, theirs) = tokio::join!(near.read_to_end(&mut read), speak);
            end.unwrap();
            let is_hello = crossed || matches!(judge(&[1; 43], &theirs), Verdict::Client(_));
            let kept = if is_hello { &b""[..] } else { &theirs };
            (read, [kept, b"and on"].concat())
        });
        prop_assert_eq!(read, wanted);
    }
}
