//! Crossed TCP dials: two nodes that dial each other from their listening ports at the same moment get one connection,
//! which both have dialled (`docs/PROTOCOL.md`, TCP; RFC 9293, section 3.5).
//!
//! Neither the kernel nor the timing reveals which of them is the TLS client then, but the received bytes do: an end
//! that has sent a `ClientHello` and receives one knows that the dials crossed. The end with the greater of the two
//! randoms stays the client. The other treats the received bytes as the start of a server's input, so nothing is sent
//! twice and neither needs to know beforehand whom it dials.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first byte of a TLS record that carries a handshake, and of a handshake message that is a `ClientHello` (RFC
/// 8446).
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
/// The length of a record's header: type, version and length.
const RECORD: usize = 5;
/// The position of a `ClientHello`'s random: after the record's header, the message's (4 bytes), and a version.
const RANDOM: std::ops::Range<usize> = 11..43;

/// What the other end's first bytes mean to an end that has sent a `ClientHello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// Too few bytes to decide.
    More,
    /// An answer: we are the client.
    Answer,
    /// The other end has dialled too. We are the client, and skip this many bytes, including those already read.
    Client(usize),
    /// The other end has dialled too, and is the client.
    Server,
    /// The other end is ourselves.
    Ourselves,
}

/// Judges by the first bytes in both directions, at most [`RANDOM`]`.end` of each.
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
        // We have not sent anything yet, or this is no `ClientHello`: TLS will report it.
        return Verdict::Answer;
    };
    match ours_random.cmp(theirs_random) {
        std::cmp::Ordering::Greater => Verdict::Client(record),
        std::cmp::Ordering::Less => Verdict::Server,
        std::cmp::Ordering::Equal => Verdict::Ourselves,
    }
}

/// Why a TLS client's handshake ended after it crossed another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crossed {
    /// The other end is the client. What it sent is read again, by a server.
    #[error("the other end is the TLS client")]
    Server,
    /// Both ends are ours.
    #[error("both ends are ours")]
    Ourselves,
}

impl Crossed {
    /// The value inside an I/O error, if that is its cause.
    pub(crate) fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

/// A dialled byte stream on which a TLS client sends first.
pub(crate) struct Crossing<T> {
    io: T,
    /// The beginning of what we sent, as far as it matters.
    sent: Vec<u8>,
    stage: Stage,
}

enum Stage {
    /// The bytes received so far, too few to decide.
    First(Vec<u8>),
    /// The remaining bytes of the other's `ClientHello` to skip.
    Skip(usize),
    /// The inspected bytes, and how many of them have been read.
    Replay(Vec<u8>, usize),
    Through,
}

impl<T> Crossing<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            io,
            sent: Vec::with_capacity(RANDOM.end),
            stage: Stage::First(Vec::with_capacity(RANDOM.end)),
        }
    }
}

/// Appends at most `most` bytes to those read; returns 0 at the end of the stream.
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
                    let verdict = judge(&this.sent, head);
                    let head = std::mem::take(head);
                    (this.stage, this.sent) = match verdict {
                        Verdict::More if came > 0 => {
                            this.stage = Stage::First(head);
                            continue;
                        }
                        Verdict::Client(record) => (Stage::Skip(record - head.len()), Vec::new()),
                        _ => (Stage::Replay(head, 0), Vec::new()),
                    };
                    let crossed = match verdict {
                        Verdict::Server => Crossed::Server,
                        Verdict::Ourselves => Crossed::Ourselves,
                        _ => continue,
                    };
                    return Poll::Ready(Err(io::Error::other(crossed)));
                }
                Stage::Skip(0) => this.stage = Stage::Through,
                Stage::Skip(left) => {
                    let came = ready!(fill(&mut this.io, cx, &mut Vec::new(), *left))?;
                    *left -= came;
                    if came == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
                Stage::Replay(head, read) if *read < head.len() => {
                    let len = buffer.remaining().min(head.len() - *read);
                    buffer.put_slice(&head[*read..*read + len]);
                    *read += len;
                    return Poll::Ready(Ok(()));
                }
                Stage::Replay(..) => this.stage = Stage::Through,
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
            let room = RANDOM.end.saturating_sub(self.sent.len());
            self.sent.extend_from_slice(&bytes[..written.min(room)]);
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
mod tests;
