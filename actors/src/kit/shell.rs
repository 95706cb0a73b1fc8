//! The shell around actors: supervision, and stopping in order.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{Addr, Inbox, Metrics, mailbox};

/// The first pause before a restart; it doubles with each death in the window.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Deaths older than this are forgiven.
const WINDOW: Duration = Duration::from_secs(60);
/// This many deaths within the window are reported to the scope's owner.
const REPORT_AFTER: u32 = 5;
/// Reports that wait unread; more of them say nothing new, and are dropped.
const REPORTS: usize = 16;

/// When this fires, an actor finishes what it must and returns.
pub type Stop = CancellationToken;

/// One life of a permanent actor.
pub trait Actor: Send + 'static {
    /// What its mailbox takes.
    type Msg: Send + 'static;
    /// Why a life ended badly.
    type Error: std::fmt::Display + Send;

    /// Runs until `stop` fires or every [`Addr`] is gone (`Ok`), or until it cannot go on (`Err`: it is
    /// built anew). Children spawned in `scope` are cancelled before a restart.
    fn run(
        self,
        inbox: &mut Inbox<Self::Msg>,
        scope: &Scope,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// A permanent actor keeps dying.
#[derive(Debug, Clone)]
pub struct Death {
    /// Which.
    pub actor: &'static str,
    /// How often within the last minute.
    pub times: u32,
    /// The last reason.
    pub reason: String,
}

/// A group of tasks that stop together: one of the node's layers, or the children of an actor.
#[derive(Clone)]
pub struct Scope {
    stop: Stop,
    tasks: TaskTracker,
    metrics: Metrics,
    deaths: mpsc::Sender<Death>,
}

impl Scope {
    /// A scope of its own, and where it reports actors that keep dying.
    pub fn new(metrics: Metrics) -> (Self, mpsc::Receiver<Death>) {
        let (deaths, reports) = mpsc::channel(REPORTS);
        (
            Self {
                stop: Stop::new(),
                tasks: TaskTracker::new(),
                metrics,
                deaths,
            },
            reports,
        )
    }

    /// A sibling layer: stops on its own, reports to the same place.
    pub fn layer(&self) -> Self {
        Self {
            stop: Stop::new(),
            tasks: TaskTracker::new(),
            metrics: self.metrics.clone(),
            deaths: self.deaths.clone(),
        }
    }

    /// A scope that also stops when this one does.
    pub fn child(&self) -> Self {
        Self {
            stop: self.stop.child_token(),
            ..self.layer()
        }
    }

    /// Fires when the scope stops.
    pub fn stop_signal(&self) -> &Stop {
        &self.stop
    }

    /// The node's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// How many tasks run.
    pub fn running(&self) -> usize {
        self.tasks.len()
    }

    /// Starts a permanent actor. `factory` builds it for each life; `span` is its tracing span.
    pub fn permanent<A, F>(
        &self,
        name: &'static str,
        capacity: usize,
        span: tracing::Span,
        factory: F,
    ) -> Addr<A::Msg>
    where
        A: Actor,
        F: FnMut() -> A + Send + 'static,
    {
        let (addr, inbox) = mailbox(name, capacity);
        self.permanent_with(name, inbox, span, factory);
        addr
    }

    /// As [`Scope::permanent`], for a mailbox made before.
    pub fn permanent_with<A, F>(
        &self,
        name: &'static str,
        inbox: Inbox<A::Msg>,
        span: tracing::Span,
        factory: F,
    ) where
        A: Actor,
        F: FnMut() -> A + Send + 'static,
    {
        self.tasks.spawn(
            self.clone()
                .supervise(name, inbox, factory)
                .instrument(span),
        );
    }

    /// Starts a task that is never restarted. It ends by itself or is dropped at its next await when the
    /// scope stops; to finish in order instead, it watches [`Scope::stop_signal`] through `graceful`.
    pub fn transient(&self, span: tracing::Span, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(
            async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = task => {}
                }
            }
            .instrument(span),
        );
    }

    /// Starts a task that watches the stop signal itself, and is waited for.
    pub fn graceful(&self, span: tracing::Span, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task.instrument(span));
    }

    /// Tells all tasks to stop and waits for them; false when some did not within `patience`.
    pub async fn stop(&self, patience: Duration) -> bool {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(patience, self.tasks.wait())
            .await
            .is_ok()
    }

    async fn supervise<A, F>(self, name: &'static str, mut inbox: Inbox<A::Msg>, mut factory: F)
    where
        A: Actor,
        F: FnMut() -> A + Send + 'static,
    {
        self.metrics.kit.known(name);
        let mut deaths: u32 = 0;
        let mut last_death = Instant::now();
        loop {
            let children = self.child();
            let life = AssertUnwindSafe(async {
                factory()
                    .run(&mut inbox, &children)
                    .await
                    .map_err(|e| e.to_string())
            });
            let end = life
                .catch_unwind()
                .await
                .unwrap_or_else(|panic| Err(panic_text(panic.as_ref())));
            // Children belong to one life: they are gone before the next begins.
            children.stop(LONGEST_PAUSE).await;
            let Err(reason) = end else { return };
            if self.stop.is_cancelled() {
                return;
            }
            if last_death.elapsed() > WINDOW {
                deaths = 0;
            }
            deaths += 1;
            last_death = Instant::now();
            self.metrics.kit.restarted(name);
            tracing::warn!(
                actor = name,
                times = deaths,
                reason,
                "actor failed, restarting it"
            );
            if deaths >= REPORT_AFTER {
                let report = Death {
                    actor: name,
                    times: deaths,
                    reason,
                };
                // The owner may be slow or gone; the restart goes on all the same.
                let _ = self.deaths.try_send(report);
            }
            let pause = FIRST_PAUSE
                .saturating_mul(1 << (deaths - 1).min(16))
                .min(LONGEST_PAUSE);
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned());
    format!("panicked: {text}")
}
