//! Many streams over one byte stream: yamux over TLS, driven by one task (`docs/PROTOCOL.md`, TCP).
//!
//! The task owns the byte stream; handles ask it for streams, and it hands in those of the peer. Everything in it is
//! bounded: 128 streams in all, of which we open 40 at most, so that neither side runs into the limit, which would end
//! the connection, while old streams are still being forgotten; and 36 MiB of unread bytes.

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

/// Streams of both sides together (yamux ends a connection that passes it).
const MAX_STREAMS: usize = 128;
/// Streams that we have open: three times as many are below the limit. Each circuit of a peer at its relay takes one
/// (32 at most), and each link another.
const MAX_OPENED: usize = 40;
/// What the peer may send before it is read: 256 KiB a stream, which is the least that yamux takes.
const WINDOWS: usize = MAX_STREAMS * (256 << 10);
/// And so much more for streams that are read quickly over a long way, all together: 256 KiB on the way at a time are
/// 2.5 MiB a second where an answer takes 100 ms.
const GROWTH: usize = 4 << 20;
/// Wishes for a stream that wait for the task, which fulfils them at once.
const OPENS: usize = 8;
/// How long saying goodbye may take.
const GOODBYE: Duration = Duration::from_millis(400);

/// What carries a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// How many bytes came, so that silence is noticed.
#[derive(Default)]
pub(crate) struct Meter(AtomicU64);

impl Meter {
    pub(crate) fn received(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts what comes through.
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
    /// The handle, and the task that must run.
    pub(crate) fn new(
        io: impl Duplex + 'static,
        dialled: bool,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let mut config = Config::default();
        // In this order: yamux checks after each that the window is enough for the streams.
        config.set_max_num_streams(MAX_STREAMS);
        config.set_max_connection_receive_window(Some(WINDOWS + GROWTH));
        let mode = if dialled { Mode::Client } else { Mode::Server };
        let yamux = yamux::Connection::new(io.compat(), config, mode);
        let (opens, wanted) = mpsc::channel(OPENS);
        let (accepted, inbound) = mpsc::channel(MAX_STREAMS);
        let (last_word, ended) = watch::channel(None);
        let end = CancellationToken::new();
        let mux = Self {
            opens,
            inbound: tokio::sync::Mutex::new(inbound),
            ours: Arc::new(Semaphore::new(MAX_OPENED)),
            end: end.clone(),
            ended,
        };
        (mux, drive(yamux, wanted, accepted, end, last_word))
    }

    /// Opens a stream, which the peer hears of with its first byte. Waits while we have 40 open. Cancel-safe.
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

    /// The next stream that the peer opened. Cancel-safe.
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

    /// Tells the peer and ends; what was not sent is lost.
    pub(crate) fn close(&self) {
        self.end.cancel();
    }

    /// Waits for the end, and says why it came.
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
    last_word: watch::Sender<Option<&'static str>>,
) {
    let reason = {
        let mut cancelled = std::pin::pin!(end.cancelled());
        poll_fn(|cx| {
            if cancelled.as_mut().poll(cx).is_ready() {
                return Poll::Ready("closed");
            }
            loop {
                // First, since this is also what forgets dropped streams.
                match yamux.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(stream))) => {
                        // There is room for as many as yamux lets be open; without a reader they are reset.
                        let _ = accepted.try_send(stream);
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(in_words(&error)),
                    Poll::Ready(None) => return Poll::Ready("closed by the peer"),
                    Poll::Pending => {}
                }
                let Some(reply) = ready!(wanted.poll_recv(cx)) else {
                    return Poll::Ready("closed");
                };
                match yamux.poll_new_outbound(cx) {
                    // Whoever asked may have gone: then it is reset.
                    Poll::Ready(Ok(stream)) => drop(reply.send(stream)),
                    Poll::Ready(Err(error)) => return Poll::Ready(in_words(&error)),
                    // Only with more unacknowledged streams than may be open at all.
                    Poll::Pending => {}
                }
            }
        })
        .await
    };
    last_word.send_replace(Some(reason));
    // A peer that does not read is not waited for.
    let goodbye = poll_fn(|cx| yamux.poll_close(cx));
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
}

fn in_words(error: &yamux::ConnectionError) -> &'static str {
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
        yamux::ConnectionError::Io(_) => "the connection broke",
        yamux::ConnectionError::Closed => "closed by the peer",
        yamux::ConnectionError::TooManyStreams => "too many streams",
        _ => "protocol error",
    }
}

struct Shared {
    /// `None` once reset.
    open: Mutex<Option<(yamux::Stream, Option<OwnedSemaphorePermit>)>>,
    /// We have said our last byte.
    finished: AtomicBool,
    ended: watch::Receiver<Option<&'static str>>,
}

/// A half of a stream: each is used by one task, and both share what yamux has, which keeps their wakers apart.
///
/// yamux knows no reset of one direction: a reset ends both. And where we have finished, it does not tell a reset by
/// the peer from the peer's own end; only the end of the whole connection is still an error then.
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
