//! Threads supervised like permanent actors, and the jobs that they run.
//!
//! SQLite blocks, so each connection has a thread of its own. What runs in the scope is a permanent
//! actor that starts the thread, waits for its end, and reports it; the kit's shell then restarts it
//! with back-off, counts it and reports it like any other actor. The queue belongs to no single life:
//! a failure loses the jobs of the current transaction (their callers get an error) and no others.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use super::error::{Fail, StoreError};
use crate::kit::{Actor, Addr, Inbox, Reply, Scope, mailbox};

/// A call queued for a store thread, or the order to stop.
pub(super) enum Post<C> {
    /// A job to run.
    Job(Box<dyn Job<C>>),
    /// Close the queue, run what is queued, end.
    Stop,
}

/// How a job ended.
pub(super) enum Step {
    /// Successfully.
    Done,
    /// With an error; its changes are to be undone.
    Failed,
    /// With an error after which the connection is unusable.
    Fatal(StoreError),
}

/// A call that runs on a thread with the context `C`.
pub(super) trait Job<C>: Send {
    /// Runs the call. Called once.
    fn run(&mut self, context: &mut C) -> Step;
    /// Answers the caller. An error of the whole transaction takes precedence over the job's own result, which may be based
    /// on what was rolled back.
    fn finish(self: Box<Self>, transaction: Result<(), StoreError>);
    /// Whether the caller no longer waits for the answer.
    fn is_abandoned(&self) -> bool;
}

/// A job made of a closure.
pub(super) struct Call<T, F> {
    work: Option<F>,
    end: Option<Result<T, StoreError>>,
    reply: Reply<Result<T, StoreError>>,
}

impl<T, F> Call<T, F>
where
    T: Send + 'static,
{
    pub(super) fn post<C>(reply: Reply<Result<T, StoreError>>, work: F) -> Post<C>
    where
        F: FnOnce(&mut C) -> Result<T, Fail> + Send + 'static,
    {
        Post::Job(Box::new(Self {
            work: Some(work),
            end: None,
            reply,
        }))
    }
}

impl<C, T, F> Job<C> for Call<T, F>
where
    T: Send,
    F: FnOnce(&mut C) -> Result<T, Fail> + Send,
{
    fn run(&mut self, context: &mut C) -> Step {
        let Some(work) = self.work.take() else {
            return Step::Failed;
        };
        let (end, step) = match work(context) {
            Ok(value) => (Ok(value), Step::Done),
            Err(fail) => {
                let fatal = fail.is_fatal();
                let error = StoreError::from(fail);
                let step = if fatal {
                    Step::Fatal(error.clone())
                } else {
                    Step::Failed
                };
                (Err(error), step)
            }
        };
        self.end = Some(end);
        step
    }

    fn finish(self: Box<Self>, transaction: Result<(), StoreError>) {
        let end = match transaction {
            Err(error) => Err(error),
            Ok(()) => self.end.unwrap_or(Err(StoreError::Gone)),
        };
        // The caller may no longer wait.
        let _ = self.reply.send(end);
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// A thread's end of its queue.
pub(super) struct Queue<'a, C>(&'a mut Inbox<Post<C>>);

impl<C> Queue<'_, C> {
    /// Waits for the next job; `None` once the queue is closed and empty.
    pub(super) fn next(&mut self) -> Option<Box<dyn Job<C>>> {
        loop {
            match self.0.blocking_recv()? {
                Post::Job(job) => return Some(job),
                // Queued calls are still received.
                Post::Stop => self.0.close(),
            }
        }
    }

    /// The next job, or `None` if the queue is empty now.
    pub(super) fn try_next(&mut self) -> Option<Box<dyn Job<C>>> {
        loop {
            match self.0.try_recv().ok()? {
                Post::Job(job) => return Some(job),
                Post::Stop => self.0.close(),
            }
        }
    }

    /// Fails all queued jobs, for want of a connection.
    pub(super) fn refuse_all(&mut self, error: &StoreError) {
        while let Some(job) = self.try_next() {
            job.finish(Err(error.clone()));
        }
    }
}

/// Starts a supervised thread. `body` is one life of it: it returns `Ok` once its queue is closed and empty, and an error
/// if it must be restarted.
pub(super) fn start<C, B>(
    scope: &Scope,
    name: &'static str,
    capacity: usize,
    body: B,
) -> Addr<Post<C>>
where
    C: 'static,
    B: Fn(&mut Queue<'_, C>) -> Result<(), StoreError> + Send + Sync + 'static,
{
    let (addr, inbox) = mailbox(name, capacity);
    let inbox = Arc::new(Mutex::new(inbox));
    let body = Arc::new(body);
    let stop = addr.clone();
    // The kit's own mailbox stays unused: a thread cannot borrow it beyond one life.
    let _unused = scope.permanent(
        name,
        1,
        tracing::info_span!("store", thread = name),
        move || Thread {
            name,
            inbox: Arc::clone(&inbox),
            body: Arc::clone(&body),
            stop: stop.clone(),
        },
    );
    addr
}

/// One life of a thread, as the scope's actor.
struct Thread<C, B> {
    name: &'static str,
    inbox: Arc<Mutex<Inbox<Post<C>>>>,
    body: Arc<B>,
    stop: Addr<Post<C>>,
}

impl<C, B> Actor for Thread<C, B>
where
    C: 'static,
    B: Fn(&mut Queue<'_, C>) -> Result<(), StoreError> + Send + Sync + 'static,
{
    type Msg = Infallible;
    type Error = StoreError;

    async fn run(self, _inbox: &mut Inbox<Infallible>, scope: &Scope) -> Result<(), StoreError> {
        let Self {
            name,
            inbox,
            body,
            stop,
        } = self;
        let (end, mut ended) = oneshot::channel();
        let span = tracing::Span::current();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _span = span.enter();
                // A life that panicked leaves the receiver intact.
                let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
                let result = body(&mut Queue(&mut inbox));
                drop(inbox);
                // The receiver is gone if the runtime was dropped without stopping the scope.
                let _ = end.send(result);
            })
            .map_err(|e| StoreError::Database(format!("cannot start a thread: {e}")))?;
        let stopping = async {
            scope.stop_signal().cancelled().await;
            // Waits for room if the queue is full: the thread is making some, or ending.
            let _ = stop.send(Post::Stop).await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            end = &mut ended => {
                end.unwrap_or_else(|_| Err(StoreError::Database("the thread panicked".to_owned())))
            }
            never = stopping => match never {},
        }
    }
}
