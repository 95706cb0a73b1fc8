#![allow(clippy::unwrap_used)]
//! The kit under failure and load.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use super::{Actor, Guard, Inbox, Metrics, Reply, Scope, SendError, mailbox};

enum Msg {
    Add(u32, Reply<u32>),
    Panic,
    Fail,
    Sleep(Duration),
}

struct Adder {
    sum: u32,
    children: Arc<AtomicU32>,
}

impl Actor for Adder {
    type Msg = Msg;
    type Error = &'static str;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), Self::Error> {
        let alive = Arc::clone(&self.children);
        scope.transient(tracing::Span::none(), async move {
            alive.fetch_add(1, Ordering::SeqCst);
            let _gone = Guard::new(move || {
                alive.fetch_sub(1, Ordering::SeqCst);
            });
            std::future::pending::<()>().await;
        });
        loop {
            let message = tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => return Ok(()),
                message = inbox.recv() => message,
            };
            match message {
                None => return Ok(()),
                Some(Msg::Add(n, reply)) => {
                    self.sum += n;
                    let _ = reply.send(self.sum);
                }
                Some(Msg::Panic) => panic!("on request"),
                Some(Msg::Fail) => return Err("on request"),
                Some(Msg::Sleep(time)) => tokio::time::sleep(time).await,
            }
        }
    }
}

fn start(
    capacity: usize,
) -> (
    super::Addr<Msg>,
    Scope,
    tokio::sync::mpsc::Receiver<super::Death>,
    Arc<AtomicU32>,
) {
    let (scope, deaths) = Scope::new(Metrics::default());
    let children = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&children);
    let addr = scope.permanent("adder", capacity, tracing::Span::none(), move || Adder {
        sum: 0,
        children: Arc::clone(&counted),
    });
    (addr, scope, deaths, children)
}

#[tokio::test]
async fn a_panic_restarts_the_actor_and_keeps_its_mailbox() {
    let (addr, scope, _deaths, children) = start(8);
    assert_eq!(addr.ask(|r| Msg::Add(2, r)).await, Ok(2));
    addr.send(Msg::Panic).await.unwrap();
    // Queued behind the panic, handled by the next life, whose state is fresh.
    assert_eq!(addr.ask(|r| Msg::Add(3, r)).await, Ok(3));
    addr.send(Msg::Fail).await.unwrap();
    assert_eq!(addr.ask(|r| Msg::Add(4, r)).await, Ok(4));
    assert_eq!(scope.metrics().kit.restarts_of("adder"), 2);
    tokio::task::yield_now().await;
    assert_eq!(
        children.load(Ordering::SeqCst),
        1,
        "children of earlier lives are gone"
    );
    assert!(scope.stop(Duration::from_secs(1)).await);
    assert_eq!(children.load(Ordering::SeqCst), 0, "no task leaks");
    assert_eq!(scope.running(), 0);
}

#[tokio::test]
async fn an_actor_that_keeps_failing_is_reported_and_slowed_down() {
    let (addr, scope, mut deaths, _) = start(8);
    let begin = tokio::time::Instant::now();
    for _ in 0..6 {
        addr.send(Msg::Panic).await.unwrap();
    }
    let death = deaths.recv().await.unwrap();
    assert_eq!((death.actor, death.times), ("adder", 5));
    assert!(death.reason.contains("on request"));
    assert_eq!(addr.ask(|r| Msg::Add(1, r)).await, Ok(1), "still served");
    // 50 + 100 + 200 + 400 + 800 + 1600 ms of pauses.
    assert!(begin.elapsed() >= Duration::from_millis(3_150));
    assert!(scope.stop(Duration::from_secs(1)).await);
}

#[tokio::test]
async fn a_full_mailbox_refuses_try_send_and_makes_send_wait() {
    let (addr, scope, _deaths, _) = start(1);
    let begin = tokio::time::Instant::now();
    addr.send(Msg::Sleep(Duration::from_millis(500)))
        .await
        .unwrap();
    tokio::task::yield_now().await;
    addr.send(Msg::Sleep(Duration::ZERO)).await.unwrap();
    assert_eq!(addr.try_send(Msg::Fail), Err(SendError::Full("adder")));
    addr.send(Msg::Sleep(Duration::ZERO)).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_millis(500));
    assert!(scope.stop(Duration::from_secs(10)).await);
}

#[tokio::test]
async fn ask_gives_up_on_a_stuck_actor() {
    let (addr, scope, _deaths, _) = start(4);
    addr.send(Msg::Sleep(Duration::from_secs(3_600)))
        .await
        .unwrap();
    assert_eq!(
        addr.ask(|r| Msg::Add(1, r)).await,
        Err(super::AskError::Timeout("adder"))
    );
    assert!(
        !scope.stop(Duration::from_secs(1)).await,
        "a handler that never returns is reported"
    );
}

#[tokio::test]
async fn stop_under_load_ends_all_tasks() {
    let (addr, scope, _deaths, children) = start(4);
    let senders: Vec<_> = (0..16)
        .map(|_| {
            let addr = addr.clone();
            tokio::spawn(async move {
                while addr
                    .send(Msg::Sleep(Duration::from_micros(10)))
                    .await
                    .is_ok()
                {}
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(scope.stop(Duration::from_secs(5)).await);
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!((scope.running(), children.load(Ordering::SeqCst)), (0, 0));
    assert!(addr.is_stopped());
}

#[tokio::test]
async fn senders_are_notified_of_a_dropped_mailbox() {
    let (addr, inbox) = mailbox::<u8>("gone", 1);
    drop(inbox);
    assert_eq!(addr.send(1).await, Err(SendError::Stopped("gone")));
    assert_eq!(addr.try_send(1), Err(SendError::Stopped("gone")));
}
