//! Threads that are supervised like permanent actors, and the jobs that they do.
//!
//! SQLite blocks, so each connection has a thread of its own. What runs in the scope is a permanent
//! actor that starts the thread, waits for its end, and reports it; the kit's shell then restarts it
//! with back-off, counts it and reports it like any other actor. The queue belongs to no single life:
//! a failure loses the jobs of the current transaction (their callers hear of it) and no others.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::oneshot;

use super::error::{Fail, StoreError};
use crate::kit::{Actor, Addr, Inbox, Reply, Scope, mailbox};

/// What a thread's queue holds.
pub(super) enum Post<C> {
    /// Something to do.
    Job(Box<dyn Job<C>>),
    /// Take no more, do what is queued, end.
    Stop,
}

/// How a job ended.
pub(super) enum Step {
    /// Well.
    Done,
    /// Its own changes are to be undone.
    Failed,
    /// The connection is of no use any more.
    Fatal(StoreError),
}

/// A call from outside, on its way through a thread with the context `C`.
pub(super) trait Job<C>: Send {
    /// Does it. Called once.
    fn run(&mut self, context: &mut C) -> Step;
    /// Tells the caller. An error of the whole transaction goes before the job's own end, which was
    /// perhaps built on what was rolled back.
    fn finish(self: Box<Self>, transaction: Result<(), StoreError>);
    /// Whether nobody waits for the answer any more.
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
        // Whoever asked may have gone.
        let _ = self.reply.send(end);
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// A thread's end of its queue.
pub(super) struct Queue<'a, C>(&'a mut Inbox<Post<C>>);

impl<C> Queue<'_, C> {
    /// Waits for the next job; none when the queue was closed and is empty.
    pub(super) fn next(&mut self) -> Option<Box<dyn Job<C>>> {
        loop {
            match self.0.blocking_recv()? {
                Post::Job(job) => return Some(job),
                // What is queued already is still received.
                Post::Stop => self.0.close(),
            }
        }
    }

    /// The next job if there is one now.
    pub(super) fn try_next(&mut self) -> Option<Box<dyn Job<C>>> {
        loop {
            match self.0.try_recv().ok()? {
                Post::Job(job) => return Some(job),
                Post::Stop => self.0.close(),
            }
        }
    }

    /// Fails all that waits, when there is no connection to do it with.
    pub(super) fn refuse_all(&mut self, error: &StoreError) {
        while let Some(job) = self.try_next() {
            job.finish(Err(error.clone()));
        }
    }
}

/// Starts a supervised thread. `body` is one life of it: it returns `Ok` when its queue is closed and
/// empty, an error when it must be started anew.
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
    // The kit's own mailbox goes unused: a thread cannot borrow it for longer than a life.
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

/// One life of a thread, seen from the scope.
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
                // A former life that panicked has left the receiver as good as it was.
                let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
                let result = body(&mut Queue(&mut inbox));
                drop(inbox);
                // Nobody waits when the runtime was dropped without stopping the scope.
                let _ = end.send(result);
            })
            .map_err(|e| StoreError::Database(format!("no thread: {e}")))?;
        let stopping = async {
            scope.stop_signal().cancelled().await;
            // Waits for room if it must: the thread is making some, or ending.
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
