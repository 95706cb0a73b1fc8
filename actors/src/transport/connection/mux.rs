//! Many streams over one byte stream: yamux over TLS, driven by one task (`docs/PROTOCOL.md`, TCP).
//!
//! The task owns the byte stream; handles request streams from it, and it delivers those that the peer opens.
//! Everything is bounded: 128 streams in total and 36 MiB of unread bytes. We open at most 40 streams, so that neither
//! side reaches the limit, which would end the connection, while closed streams are still being forgotten.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::io::{AsyncRead as _, AsyncWrite as _};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
};
use tokio_util::{compat::TokioAsyncReadCompatExt, sync::CancellationToken};
use yamux::{Config, Mode};

/// Most streams of both sides together; yamux ends a connection that exceeds it.
const MAX_STREAMS: usize = 128;
/// Most streams that we open: three times as many stay below the limit. Each circuit of a peer at its relay takes one
/// (32 at most), and each link another.
const MAX_OPENED: usize = 40;
/// What the peer may send unread: 256 KiB per stream, the least that yamux allows.
const WINDOWS: usize = MAX_STREAMS * (256 << 10);
/// Additional window, shared by streams that are read quickly over a long distance: 256 KiB in flight give 2.5 MiB/s at
/// a round-trip time of 100 ms.
const GROWTH: usize = 4 << 20;
/// Requests for a stream queued for the task, which serves them at once.
const OPENS: usize = 8;
/// Time limit for a graceful close.
const GOODBYE: Duration = Duration::from_millis(400);

/// A byte stream that can carry a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A count of received bytes, by which silence is noticed.
#[derive(Default)]
pub(crate) struct Meter(AtomicU64);

impl Meter {
    pub(crate) fn received(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A byte stream that counts what it receives.
pub(crate) struct Metered<T> {
    io: T,
    meter: Arc<Meter>,
}

impl<T> Metered<T> {
    pub(crate) fn new(io: T) -> (Self, Arc<Meter>) {
        let meter = Arc::new(Meter::default());
        let kept = Arc::clone(&meter);
        (Self { io, meter }, kept)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Metered<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let end = Pin::new(&mut self.io).poll_read(cx, buffer);
        let came = buffer.filled().len() - before;
        if came > 0 {
            let came = u64::try_from(came).unwrap_or(u64::MAX);
            self.meter.0.fetch_add(came, Ordering::Relaxed);
        }
        end
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Metered<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// The handle to the task.
pub(crate) struct Mux {
    opens: mpsc::Sender<oneshot::Sender<yamux::Stream>>,
    inbound: tokio::sync::Mutex<mpsc::Receiver<yamux::Stream>>,
    ours: Arc<Semaphore>,
    end: CancellationToken,
    ended: watch::Receiver<Option<&'static str>>,
}

fn broken() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

impl Mux {
    /// The handle, and the task that the caller must run.
    pub(crate) fn new(
        io: impl Duplex + 'static,
        dialled: bool,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let mut config = Config::default();
        // In this order: yamux checks after each call that the window suffices for the streams.
        config.set_max_num_streams(MAX_STREAMS);
        config.set_max_connection_receive_window(Some(WINDOWS + GROWTH));
        let mode = if dialled { Mode::Client } else { Mode::Server };
        let yamux = yamux::Connection::new(io.compat(), config, mode);
        let (opens, wanted) = mpsc::channel(OPENS);
        let (accepted, inbound) = mpsc::channel(MAX_STREAMS);
        let (reason_sender, ended) = watch::channel(None);
        let end = CancellationToken::new();
        let mux = Self {
            opens,
            inbound: tokio::sync::Mutex::new(inbound),
            ours: Arc::new(Semaphore::new(MAX_OPENED)),
            end: end.clone(),
            ended,
        };
        (mux, drive(yamux, wanted, accepted, end, reason_sender))
    }

    /// Opens a stream; the peer learns of it with its first byte. Waits while we have 40 open. Cancel-safe.
    pub(crate) async fn open(&self) -> io::Result<Half> {
        let permit = Arc::clone(&self.ours)
            .acquire_owned()
            .await
            .map_err(|_| broken())?;
        let (reply, stream) = oneshot::channel();
        self.opens.send(reply).await.map_err(|_| broken())?;
        let stream = stream.await.map_err(|_| broken())?;
        Ok(self.half(stream, Some(permit)))
    }

    /// The next stream opened by the peer. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<Half> {
        let stream = self.inbound.lock().await.recv().await;
        Ok(self.half(stream.ok_or_else(broken)?, None))
    }

    fn half(&self, stream: yamux::Stream, permit: Option<OwnedSemaphorePermit>) -> Half {
        Half(Arc::new(Shared {
            open: Mutex::new(Some((stream, permit))),
            finished: AtomicBool::new(false),
            ended: self.ended.clone(),
        }))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.end.is_cancelled() || self.ended.borrow().is_some()
    }

    /// Closes the connection; unsent data is lost.
    pub(crate) fn close(&self) {
        self.end.cancel();
    }

    /// Waits for the end and returns its reason.
    pub(crate) async fn closed(&self) -> &'static str {
        let mut ended = self.ended.clone();
        let reason = ended.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| *reason).unwrap_or("stopped")
    }
}

impl Drop for Mux {
    fn drop(&mut self) {
        self.close();
    }
}

async fn drive(
    mut yamux: yamux::Connection<tokio_util::compat::Compat<impl Duplex>>,
    mut wanted: mpsc::Receiver<oneshot::Sender<yamux::Stream>>,
    accepted: mpsc::Sender<yamux::Stream>,
    end: CancellationToken,
    reason_sender: watch::Sender<Option<&'static str>>,
) {
    let reason = {
        let mut cancelled = std::pin::pin!(end.cancelled());
        poll_fn(|cx| {
            if cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready("closed");
            }
            loop {
                // First, because this also forgets dropped streams.
                match yamux.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(stream))) => {
                        // There is room for as many as yamux allows; without a reader they are reset.
                        let _ = accepted.try_send(stream);
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(describe(&error)),
                    Poll::Ready(None) => return Poll::Ready("closed by the peer"),
                    Poll::Pending => {}
                }
                let Some(reply) = ready!(wanted.poll_recv(cx)) else {
                    return Poll::Ready("closed");
                };
                match yamux.poll_new_outbound(cx) {
                    // If the requester has gone, the stream is reset.
                    Poll::Ready(Ok(stream)) => drop(reply.send(stream)),
                    Poll::Ready(Err(error)) => return Poll::Ready(describe(&error)),
                    // Only with more unacknowledged streams than may be open.
                    Poll::Pending => {}
                }
            }
        })
        .await
    };
    reason_sender.send_replace(Some(reason));
    // A peer that does not read is not waited for.
    let goodbye = poll_fn(|cx| yamux.poll_close(cx));
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

fn describe(error: &yamux::ConnectionError) -> &'static str {
    match error {
        yamux::ConnectionError::Io(error)
            if matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionAborted
            ) =>
        {
            "closed by the peer"
        }
        yamux::ConnectionError::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            "the peer is silent"
        }
        yamux::ConnectionError::Io(_) => "the connection failed",
        yamux::ConnectionError::Closed => "closed by the peer",
        yamux::ConnectionError::TooManyStreams => "too many streams",
        _ => "protocol error",
    }
}

struct Shared {
    /// `None` after a reset.
    open: Mutex<Option<(yamux::Stream, Option<OwnedSemaphorePermit>)>>,
    /// Our direction has been finished.
    finished: AtomicBool,
    ended: watch::Receiver<Option<&'static str>>,
}

/// One half of a stream. Each half is used by one task; they share the yamux stream, which keeps their wakers apart.
///
/// yamux cannot reset one direction: a reset ends both. Once we have finished, it does not distinguish a reset by the
/// peer from the peer's own finish; only the end of the whole connection is an error then.
pub(crate) struct Half(Arc<Shared>);

impl Half {
    pub(crate) fn other(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    fn open(&self) -> MutexGuard<'_, Option<(yamux::Stream, Option<OwnedSemaphorePermit>)>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reset(&self) {
        self.open().take();
    }

    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self.open() {
            Some((stream, _)) => Pin::new(stream).poll_write(cx, bytes).map_err(|_| broken()),
            None => Poll::Ready(Err(broken())),
        }
    }

    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.open() {
            Some((stream, _)) => Pin::new(stream).poll_flush(cx).map_err(|_| broken()),
            None => Poll::Ready(Err(broken())),
        }
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self.open() {
            Some((stream, _)) => {
                ready!(Pin::new(stream).poll_close(cx)).map_err(|_| broken())?;
                self.0.finished.store(true, Ordering::Release);
                Poll::Ready(Ok(()))
            }
            None => Poll::Ready(Err(broken())),
        }
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let mut open = self.open();
        let Some((stream, _)) = &mut *open else {
            return Poll::Ready(Err(broken()));
        };
        let room = buffer.initialize_unfilled();
        let read = ready!(Pin::new(&mut *stream).poll_read(cx, room)).map_err(|_| broken())?;
        buffer.advance(read);
        let finished = self.0.finished.load(Ordering::Acquire);
        if read == 0 && stream.is_closed() && (!finished || self.0.ended.borrow().is_some()) {
            return Poll::Ready(Err(broken()));
        }
        Poll::Ready(Ok(()))
    }
}
