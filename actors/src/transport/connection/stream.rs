//! Streams: the two halves, over either carrier.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use quinn::VarInt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{flow::CountedStream, mux::Half};

/// The code of every reset and close; it reveals nothing to the other side.
pub(crate) const CODE: VarInt = VarInt::from_u32(0);

/// A bidirectional stream, in two halves for a reader and a writer task.
pub struct Stream {
    /// The writing half.
    pub send: SendHalf,
    /// The reading half.
    pub recv: RecvHalf,
}

/// The writing half: `AsyncWrite`, plus a reset. Shutting it down finishes the stream, and what was written still
/// arrives; dropping it before that resets it (over TCP in both directions), and the peer reads an error. Writing waits
/// while the peer does not read.
pub struct SendHalf {
    io: SendIo,
    flow: Arc<CountedStream>,
    finished: bool,
    /// A control stream: its data is not watched for answers, since probes are part of it.
    control: bool,
}

/// The reading half: `AsyncRead`. A reset by the peer is an error, its shutdown the end of the stream. Dropping it
/// before the end asks the peer to stop writing.
pub struct RecvHalf {
    io: RecvIo,
    flow: Arc<CountedStream>,
}

/// The carrier's stream.
enum SendIo {
    Quic(quinn::SendStream),
    Mux(Half),
}

enum RecvIo {
    Quic(quinn::RecvStream),
    Mux(Half),
}

impl Stream {
    pub(crate) fn quic(
        send: quinn::SendStream,
        recv: quinn::RecvStream,
        flow: Arc<CountedStream>,
    ) -> Self {
        Self::new(SendIo::Quic(send), RecvIo::Quic(recv), flow)
    }

    pub(crate) fn mux(half: Half, flow: Arc<CountedStream>) -> Self {
        Self::new(SendIo::Mux(half.other()), RecvIo::Mux(half), flow)
    }

    fn new(send: SendIo, recv: RecvIo, flow: Arc<CountedStream>) -> Self {
        Self {
            send: SendHalf {
                io: send,
                flow: Arc::clone(&flow),
                finished: false,
                control: false,
            },
            recv: RecvHalf { io: recv, flow },
        }
    }

    /// Abandons the stream in both directions, with code 0.
    pub fn reset(self) {
        // Dropping the halves resets them.
    }
}

impl SendHalf {
    /// Marks the stream as the control stream, whose bytes do not count as data.
    pub(crate) fn is_control(&mut self) {
        self.control = true;
    }

    /// Abandons data that was written but not yet delivered: the peer reads an error, code 0. The other direction ends
    /// with its [`RecvHalf`].
    pub fn reset(&mut self) {
        if !self.finished {
            self.finished = true;
            match &mut self.io {
                // Fails only if it was stopped or reset already.
                SendIo::Quic(io) => {
                    let _ = io.reset(CODE);
                }
                SendIo::Mux(io) => io.reset(),
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
            SendIo::Mux(io) => io.poll_write(cx, bytes),
        };
        if let Poll::Ready(Ok(sent)) = &end {
            this.flow.sent(*sent);
            if !this.control {
                this.flow.look();
            }
        }
        end
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            SendIo::Quic(io) => AsyncWrite::poll_flush(Pin::new(io), cx),
            SendIo::Mux(io) => io.poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.finished {
            return Poll::Ready(Ok(()));
        }
        let end = match &mut self.io {
            SendIo::Quic(io) => AsyncWrite::poll_shutdown(Pin::new(io), cx),
            SendIo::Mux(io) => io.poll_shutdown(cx),
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
            RecvIo::Mux(io) => io.poll_read(cx, buffer),
        };
        self.flow.received(buffer.filled().len() - before);
        end
    }
}
