//! Streams: the two halves, whatever carries them.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use quinn::VarInt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::metrics::Traffic;

/// The code of every reset and close: it tells the other side nothing.
pub(super) const CODE: VarInt = VarInt::from_u32(0);

/// A bidirectional stream: its two halves go to a reader and a writer task.
pub struct Stream {
    /// What we write to.
    pub send: SendHalf,
    /// What we read from.
    pub recv: RecvHalf,
}

/// The writing half: `AsyncWrite`, plus a reset. Shutting it down finishes the stream, and what was written still
/// arrives; dropping it before that resets it, and the peer reads an error. A writer waits while the peer does not read.
pub struct SendHalf {
    io: SendIo,
    traffic: Arc<Traffic>,
    finished: bool,
}

/// The reading half: `AsyncRead`. A reset by the peer is an error, its shutdown is the end. Dropping it before
/// the end tells the peer to stop writing.
pub struct RecvHalf {
    io: RecvIo,
    traffic: Arc<Traffic>,
}

/// One variant a carrier.
enum SendIo {
    Quic(quinn::SendStream),
}

enum RecvIo {
    Quic(quinn::RecvStream),
}

impl Stream {
    pub(super) fn quic(
        send: quinn::SendStream,
        recv: quinn::RecvStream,
        traffic: &Arc<Traffic>,
    ) -> Self {
        Self {
            send: SendHalf {
                io: SendIo::Quic(send),
                traffic: Arc::clone(traffic),
                finished: false,
            },
            recv: RecvHalf {
                io: RecvIo::Quic(recv),
                traffic: Arc::clone(traffic),
            },
        }
    }

    /// Abandons the stream in both directions, with code 0.
    pub fn reset(self) {
        // Dropping the halves does it.
    }
}

impl SendHalf {
    /// Abandons what was written and not yet delivered: the peer reads an error, code 0. The other direction
    /// ends with its [`RecvHalf`].
    pub fn reset(&mut self) {
        if !self.finished {
            self.finished = true;
            match &mut self.io {
                // Fails only if it was stopped or reset already.
                SendIo::Quic(io) => {
                    let _ = io.reset(CODE);
                }
            }
        }
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.reset();
    }
}

impl AsyncWrite for SendHalf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let end = match &mut this.io {
            SendIo::Quic(io) => Pin::new(io).poll_write(cx, bytes).map_err(Into::into),
        };
        if let Poll::Ready(Ok(sent)) = &end {
            this.traffic.sent(*sent);
        }
        end
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            SendIo::Quic(io) => AsyncWrite::poll_flush(Pin::new(io), cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        let end = match &mut self.io {
            SendIo::Quic(io) => AsyncWrite::poll_shutdown(Pin::new(io), cx),
        };
        if end.is_ready() {
            self.finished = true;
        }
        end
    }
}

impl AsyncRead for RecvHalf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let end = match &mut self.io {
            RecvIo::Quic(io) => AsyncRead::poll_read(Pin::new(io), cx, buffer),
        };
        self.traffic.received(buffer.filled().len() - before);
        end
    }
}
