//! Observes events that arrive in this process, before they reach a disk: the trace of verified events that links emit.

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::Interest,
};

/// Events that the links of all nodes in this process have verified.
#[derive(Default)]
pub(crate) struct Seen {
    /// Copies of events, duplicates included.
    copies: AtomicU64,
    /// Time when the last one was verified.
    last: Mutex<Option<Instant>>,
}

impl Seen {
    /// Starts to observe this whole process; called once.
    pub(crate) fn begin() -> anyhow::Result<Arc<Self>> {
        let seen = Arc::new(Self::default());
        tracing::subscriber::set_global_default(Watch(Arc::clone(&seen)))?;
        Ok(seen)
    }

    /// Copies so far.
    pub(crate) fn copies(&self) -> u64 {
        self.copies.load(Ordering::SeqCst)
    }

    /// Time when the latest one was verified.
    pub(crate) fn last(&self) -> Option<Instant> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Enables one trace only, so that all others cost as little as without it.
struct Watch(Arc<Seen>);

impl Subscriber for Watch {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target() == bitchat_actors::internals::link::VERIFIED
    }

    fn event(&self, event: &Event<'_>) {
        let now = Instant::now();
        event.record(&mut Count(&self.0));
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

struct Count<'a>(&'a Seen);

impl Visit for Count<'_> {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "events" {
            self.0.copies.fetch_add(value, Ordering::SeqCst);
        }
    }
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
