//! What a connection knows of itself while it lives: what flows, whether it gets through, and what is to be said.

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

/// Control messages that wait for their writer. Each kind is worth one; those beyond say nothing new.
const OUTBOX: usize = 64;
/// Of them, places that are kept from what is carried for others.
const OWN_PLACES: usize = 16;

/// Shared by a connection's handles, its life, and its streams.
pub(crate) struct Flow {
    traffic: Arc<Traffic>,
    /// Streams that are open, control included.
    streams: AtomicUsize,
    /// Links with a member that run on it.
    links: AtomicUsize,
    /// Data was written, or a probe, since the life last looked.
    written: AtomicBool,
    wrote: Notify,
    stalled: AtomicBool,
    /// When it was let in, and as the how-manieth.
    admitted: OnceLock<(Instant, u64)>,
    say: mpsc::Sender<Kind>,
    /// Taken by the control stream.
    said: Mutex<Option<mpsc::Receiver<Kind>>>,
}

impl Flow {
    pub(crate) fn new(traffic: Arc<Traffic>) -> Arc<Self> {
        let (say, said) = mpsc::channel(OUTBOX);
        Arc::new(Self {
            traffic,
            streams: AtomicUsize::new(0),
            links: AtomicUsize::new(0),
            written: AtomicBool::new(false),
            wrote: Notify::new(),
            stalled: AtomicBool::new(false),
            admitted: OnceLock::new(),
            say,
            said: Mutex::new(Some(said)),
        })
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.traffic.sent(bytes);
    }

    /// Has the life look whether what was written is answered.
    pub(crate) fn look(&self) {
        // A load is cheaper than a swap, and mostly enough.
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

    /// Says something on the control stream, when it is open; of a full outbox nobody reads anyway.
    pub(crate) fn say(&self, kind: Kind) {
        let _ = self.say.try_send(kind);
    }

    /// Says something that may get lost: with the outbox almost full it is.
    pub(crate) fn carry(&self, kind: Kind) {
        if self.say.capacity() > OWN_PLACES {
            self.say(kind);
        }
    }

    /// Whether a link with a member runs on it.
    pub(crate) fn has_links(&self) -> bool {
        self.links.load(Ordering::Relaxed) > 0
    }

    /// Counts a link for as long as what is returned lives.
    pub(crate) fn link(self: &Arc<Self>) -> impl Send + Sync + use<> {
        self.links.fetch_add(1, Ordering::Relaxed);
        let flow = Arc::clone(self);
        Guard::new(move || {
            flow.links.fetch_sub(1, Ordering::Relaxed);
        })
    }

    /// What is to be said; once.
    pub(crate) fn outbox(&self) -> Option<mpsc::Receiver<Kind>> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.take()
    }

    /// The registry lets it in.
    pub(crate) fn admit(&self, number: u64) {
        // Once in its life.
        let _ = self.admitted.set((Instant::now(), number));
    }

    /// Its number in the order in which they were let in.
    pub(crate) fn number(&self) -> u64 {
        self.admitted.get().map_or(u64::MAX, |(_, number)| *number)
    }

    /// How long it has been there.
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

    /// Whether nothing but control is open.
    pub(crate) fn is_unused(&self) -> bool {
        self.streams.load(Ordering::Relaxed) <= 1
    }

    /// Counts a stream for as long as what is returned lives.
    pub(crate) fn stream(self: &Arc<Self>) -> Arc<Counted> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Arc::new(Counted(Arc::clone(self)))
    }
}

/// A stream that counts.
pub(crate) struct Counted(Arc<Flow>);

impl std::ops::Deref for Counted {
    type Target = Flow;

    fn deref(&self) -> &Flow {
        &self.0
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
