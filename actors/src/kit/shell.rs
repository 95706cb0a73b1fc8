//! Supervision of actors, and stopping them in order.

use std::{any::Any, future::Future, panic::AssertUnwindSafe, time::Duration};

use futures_util::FutureExt;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{Addr, Inbox, Metrics, mailbox};

/// The first pause before a restart; it doubles with each failure in the window.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause before a restart.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Failures older than this do not count.
const WINDOW: Duration = Duration::from_secs(60);
/// Failures within the window from which on they are reported to the scope's owner.
const REPORT_AFTER: u32 = 5;
/// Unread reports; further ones add nothing new, and are dropped.
const REPORTS: usize = 16;

/// The stop signal: once cancelled, an actor finishes what it must and returns.
pub type Stop = CancellationToken;

/// One life of a permanent actor.
pub trait Actor: Send + 'static {
    /// The messages of its mailbox.
    type Msg: Send + 'static;
    /// The reason why a life failed.
    type Error: std::fmt::Display + Send;

    /// Runs until `scope` stops or every [`Addr`] is dropped (`Ok`), or until it cannot go on (`Err`: the factory builds
    /// its next life). Children spawned in `scope` are cancelled before a restart.
    fn run(
        self,
        inbox: &mut Inbox<Self::Msg>,
        scope: &Scope,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// The report of a permanent actor that keeps failing.
#[derive(Debug, Clone)]
pub struct Death {
    /// The actor's name.
    pub actor: &'static str,
    /// How often it failed within the last minute.
    pub times: u32,
    /// The reason of the last failure.
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
    /// Creates a scope, and the receiver of reports on actors that keep failing.
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

    /// Creates a sibling layer: it stops on its own, and reports to the same receiver.
    pub fn layer(&self) -> Self {
        Self {
            stop: Stop::new(),
            tasks: TaskTracker::new(),
            metrics: self.metrics.clone(),
            deaths: self.deaths.clone(),
        }
    }

    /// Creates a scope that also stops when this one does.
    pub fn child(&self) -> Self {
        Self {
            stop: self.stop.child_token(),
            ..self.layer()
        }
    }

    /// The signal that is cancelled when the scope stops.
    pub fn stop_signal(&self) -> &Stop {
        &self.stop
    }

    /// The metrics of the node.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The number of running tasks.
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

    /// Same as [`Scope::permanent`], with a mailbox that exists already.
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

    /// Starts a task that is never restarted. It ends on its own, or is dropped at its next await when the
    /// scope stops; a task that has to finish in order uses [`Scope::graceful`].
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

    /// Starts a task that watches [`Scope::stop_signal`] itself; [`Scope::stop`] waits for its end.
    pub fn graceful(&self, span: tracing::Span, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task.instrument(span));
    }

    /// Signals all tasks to stop and waits for them. Returns whether all did within `patience`.
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
        let mut failures: u32 = 0;
        let mut last_failure = Instant::now();
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
            if last_failure.elapsed() > WINDOW {
                failures = 0;
            }
            failures += 1;
            last_failure = Instant::now();
            self.metrics.kit.restarted(name);
            tracing::warn!(
                actor = name,
                times = failures,
                reason,
                "actor failed, restarting it"
            );
            if failures >= REPORT_AFTER {
                let report = Death {
                    actor: name,
                    times: failures,
                    reason,
                };
                // The owner may be slow or gone; the restart does not depend on it.
                let _ = self.deaths.try_send(report);
            }
            let pause = FIRST_PAUSE
                .saturating_mul(1 << (failures - 1).min(16))
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
