//! TCP dials that leave from the port on which we listen, and what follows from that: two that dial each other at the same
//! moment may come to one connection, which both have dialled (`docs/PROTOCOL.md`, TCP; RFC 9293, section 3.5).
//!
//! Neither the kernel nor the moment tells who is the TLS client then, but what comes does: who has sent a `ClientHello`
//! and gets one is such a one. The greater of the two randoms stays the client. The other takes what has come for what a
//! server gets, so nothing is sent again and nobody needs to know beforehand whom it dials.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How a TLS record begins that carries a handshake, and a handshake message that is a `ClientHello` (RFC 8446).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// A record's head: its kind, a version, its length.
const RECORD: usize = 5;
/// Where a `ClientHello` has its random: behind the record's head, the message's (4 bytes), and a version.
const RANDOM: std::ops::Range<usize> = 11..43;

/// What the first bytes of the other end mean for one that has sent a `ClientHello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Too few to say.
    More,
    /// It answers: we are the client.
    Answer,
    /// It has dialled too. We are the client, and pass over so many bytes, those seen included.
    Client(usize),
    /// It has dialled too, and is the client.
    Server,
    /// It is ourselves.
    Ourselves,
}

/// Both have at most [`RANDOM`]`.end` bytes.
fn judge(ours: &[u8], theirs: &[u8]) -> Verdict {
    let is = |at: usize, byte: u8| theirs.get(at).is_none_or(|it| *it == byte);
    if !is(0, HANDSHAKE) || !is(RECORD, CLIENT_HELLO) {
        return Verdict::Answer;
    }
    let (Some(theirs_random), [_, _, _, high, low, ..]) = (theirs.get(RANDOM), theirs) else {
        return Verdict::More;
    };
    let record = RECORD + usize::from(u16::from_be_bytes([*high, *low]));
    let Some(ours_random) = ours.get(RANDOM).filter(|_| record >= RANDOM.end) else {
        // We have not spoken yet, or that is none: TLS will say so.
        return Verdict::Answer;
    };
    match ours_random.cmp(theirs_random) {
        std::cmp::Ordering::Greater => Verdict::Client(record),
        std::cmp::Ordering::Less => Verdict::Server,
        std::cmp::Ordering::Equal => Verdict::Ourselves,
    }
}

/// Why a TLS client's handshake ended that has crossed another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crossed {
    /// The other end is the client. What it has sent comes again, for a server.
    #[error("the other end is the TLS client")]
    Server,
    /// Both ends are ours.
    #[error("both ends are ours")]
    Ourselves,
}

impl Crossed {
    /// Whether that is what an error says.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// A byte stream that was dialled, on which a TLS client speaks first.
pub(crate) struct Crossing<T> {
    io: T,
    /// How what we say begins, as far as it matters.
    said: Vec<u8>,
    stage: Stage,
}

enum Stage {
    /// This much has come, which is too little.
    First(Vec<u8>),
    /// Bytes of the other's `ClientHello` that are still to be passed over.
    PassOver(usize),
    /// What was looked at, and how much of it has been read.
    Again(Vec<u8>, usize),
    Through,
}

impl<T> Crossing<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io,
            said: Vec::with_capacity(RANDOM.end),
            stage: Stage::First(Vec::with_capacity(RANDOM.end)),
        }
    }
}

/// Reads at most `most` bytes behind what is there; at the end of the stream none.
fn fill<T: AsyncRead + Unpin>(
    io: &mut T,
    cx: &mut Context<'_>,
    bytes: &mut Vec<u8>,
    most: usize,
) -> Poll<io::Result<usize>> {
    let mut room = [0; 512];
    let most = most.min(room.len());
    let mut buffer = ReadBuf::new(&mut room[..most]);
    ready!(Pin::new(io).poll_read(cx, &mut buffer))?;
    bytes.extend_from_slice(buffer.filled());
    Poll::Ready(Ok(buffer.filled().len()))
}

impl<T: AsyncRead + Unpin> AsyncRead for Crossing<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            match &mut this.stage {
                Stage::First(head) => {
                    let most = RANDOM.end - head.len();
                    let came = ready!(fill(&mut this.io, cx, head, most))?;
                    let verdict = judge(&this.said, head);
                    let head = std::mem::take(head);
                    (this.stage, this.said) = match verdict {
                        Verdict::More if came > 0 => {
                            this.stage = Stage::First(head);
                            continue;
                        }
                        Verdict::Client(record) => {
                            (Stage::PassOver(record - head.len()), Vec::new())
                        }
                        _ => (Stage::Again(head, 0), Vec::new()),
                    };
                    let crossed = match verdict {
                        Verdict::Server => Crossed::Server,
                        Verdict::Ourselves => Crossed::Ourselves,
                        _ => continue,
                    };
                    return Poll::Ready(Err(io::Error::other(crossed)));
                }
                Stage::PassOver(0) => this.stage = Stage::Through,
                Stage::PassOver(left) => {
                    let came = ready!(fill(&mut this.io, cx, &mut Vec::new(), *left))?;
                    *left -= came;
                    if came == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stage::Again(head, read) if *read < head.len() => {
                    let len = buffer.remaining().min(head.len() - *read);
                    buffer.put_slice(&head[*read..*read + len]);
                    *read += len;
                    return Poll::Ready(Ok(()));
                }
                Stage::Again(..) => this.stage = Stage::Through,
                Stage::Through => return Pin::new(&mut this.io).poll_read(cx, buffer),
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Crossing<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.io).poll_write(cx, bytes))?;
        if matches!(self.stage, Stage::First(_)) {
            let room = RANDOM.end.saturating_sub(self.said.len());
            self.said.extend_from_slice(&bytes[..written.min(room)]);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A `ClientHello` with that random, and so many bytes behind it.
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
            // Its random is smaller than ours in any case.
            let theirs = if crossed { hello([0; 32], more) } else { head };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (read, wanted) = runtime.block_on(async {
                let (near, mut far) = tokio::io::duplex(piece);
                let mut near = Crossing::new(near);
                near.said = hello([9; 32], 0)[..43].to_vec();
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
}
