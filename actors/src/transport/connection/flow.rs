//! The state that a connection's handles, life and streams share: traffic, stalls, and the control messages to send.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bitchat_wire::proto::control::Kind;
use tokio::sync::{Notify, mpsc};

use crate::{kit::Guard, transport::metrics::Traffic};

/// Control messages queued for the writer. One of each kind is of use; a repetition adds nothing.
const OUTBOX: usize = 64;
/// Places in the outbox that messages forwarded for others must leave free.
const OWN_PLACES: usize = 16;

/// A connection's shared state.
pub(crate) struct Flow {
    traffic: Arc<Traffic>,
    /// Open streams, the control stream included.
    streams: AtomicUsize,
    /// Links with a member that run on the connection.
    links: AtomicUsize,
    /// Data or a probe was written since [`Flow::wrote`] last returned.
    written: AtomicBool,
    wrote: Notify,
    stalled: AtomicBool,
    /// When the connection was registered, and its number in that order.
    admitted: OnceLock<(Instant, u64)>,
    outbox: mpsc::Sender<Kind>,
    /// Taken by the control stream.
    unsent: Mutex<Option<mpsc::Receiver<Kind>>>,
}

impl Flow {
    pub(crate) fn new(traffic: Arc<Traffic>) -> Arc<Self> {
        let (outbox, unsent) = mpsc::channel(OUTBOX);
        Arc::new(Self {
            traffic,
            streams: AtomicUsize::new(0),
            links: AtomicUsize::new(0),
            written: AtomicBool::new(false),
            wrote: Notify::new(),
            stalled: AtomicBool::new(false),
            admitted: OnceLock::new(),
            outbox,
            unsent: Mutex::new(Some(unsent)),
        })
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.traffic.sent(bytes);
    }

    /// Has the life check whether what was written is answered.
    pub(crate) fn look(&self) {
        // A load is cheaper than a swap, and mostly suffices.
        if !self.written.load(Ordering::Relaxed) && !self.written.swap(true, Ordering::AcqRel) {
            self.wrote.notify_one();
        }
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.traffic.received(bytes);
    }

    /// Waits until something is written. For one waiter.
    pub(crate) async fn wrote(&self) {
        while !self.written.swap(false, Ordering::AcqRel) {
            self.wrote.notified().await;
        }
    }

    /// Queues a control message. Dropped if the outbox is full, since then the peer is not reading anyway.
    pub(crate) fn send(&self, kind: Kind) {
        let _ = self.outbox.try_send(kind);
    }

    /// Queues a control message that may be lost: it is dropped if the outbox is almost full.
    pub(crate) fn send_if_room(&self, kind: Kind) {
        if self.outbox.capacity() > OWN_PLACES {
            self.send(kind);
        }
    }

    /// Whether a link with a member runs on the connection.
    pub(crate) fn has_links(&self) -> bool {
        self.links.load(Ordering::Relaxed) > 0
    }

    /// Counts a link until the returned guard is dropped.
    pub(crate) fn link(self: &Arc<Self>) -> impl Send + Sync + use<> {
        self.links.fetch_add(1, Ordering::Relaxed);
        let flow = Arc::clone(self);
        Guard::new(move || {
            flow.links.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// The queue of control messages to send; `None` after the first call.
    pub(crate) fn take_outbox(&self) -> Option<mpsc::Receiver<Kind>> {
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        unsent.take()
    }

    /// Records that the registry has accepted the connection.
    pub(crate) fn admit(&self, number: u64) {
        // Called once.
        let _ = self.admitted.set((Instant::now(), number));
    }

    /// The connection's number in the order of registration.
    pub(crate) fn number(&self) -> u64 {
        self.admitted.get().map_or(u64::MAX, |(_, number)| *number)
    }

    /// The time since registration.
    pub(crate) fn age(&self) -> Duration {
        let since = self.admitted.get();
        since.map_or(Duration::ZERO, |(since, _)| since.elapsed())
    }

    pub(crate) fn set_stalled(&self, stalled: bool) -> bool {
        self.stalled.swap(stalled, Ordering::Relaxed) != stalled
    }

    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    /// Whether no stream but the control stream is open.
    pub(crate) fn is_unused(&self) -> bool {
        self.streams.load(Ordering::Relaxed) <= 1
    }

    /// Counts a stream until the returned value is dropped.
    pub(crate) fn stream(self: &Arc<Self>) -> Arc<CountedStream> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Arc::new(CountedStream(Arc::clone(self)))
    }
}

/// A counted stream's access to the connection's state.
pub(crate) struct CountedStream(Arc<Flow>);

impl std::ops::Deref for CountedStream {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        &self.0
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
