//! Stopping, restarting, and being full.

use std::{sync::mpsc, time::Instant};

use super::*;

#[tokio::test]
async fn a_stop_waits_for_what_is_queued() {
    let home = Home::new().await;
    let store = home.store.clone();
    let mut pen = Pen::started(&store, 1, 2).await;
    let calls: Vec<_> = (0..500)
        .map(|n| store.append(CID, vec![pen.says(&format!("{n}"))]))
        .collect();
    let folder = home.stop().await;
    // The write-ahead log went into the database.
    let wal = folder.path().join("db-wal");
    assert!(!wal.exists() || wal.metadata().unwrap().len() == 0);
    for call in calls {
        call.await.unwrap();
    }
    let late = store.append(CID, vec![pen.clone().says("late")]).await;
    assert_eq!(late, Err(StoreError::Gone));
    assert_eq!(store.heads(CID).await, Err(StoreError::Gone));
    assert_eq!(
        store.set_value("late", b"").await.unwrap_err(),
        StoreError::Gone
    );
    let home = Home::at(folder).await.unwrap();
    assert_eq!(home.store.heads(CID).await.unwrap()[0].next, 501);
    home.stop().await;
}

#[test]
fn a_dropped_runtime_leaves_a_whole_database() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let first = runtime();
    let home = first.block_on(Home::new());
    let mut pen = first.block_on(Pen::started(&home.store, 1, 2));
    for n in 0..100 {
        let call = home.store.append(CID, vec![pen.says(&format!("{n}"))]);
        first.block_on(call).unwrap();
    }
    let Home { folder, store, .. } = home;
    drop(first);
    drop(store);
    let second = runtime();
    let home = second.block_on(Home::at(folder)).unwrap();
    assert_eq!(second.block_on(home.texts()).len(), 100);
    second.block_on(home.stop());
}

#[tokio::test]
async fn a_panic_loses_one_transaction() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::started(store, 1, 2).await;
    let gone = store.tamper(|_| panic!("told to")).await;
    assert_eq!(gone, Err::<(), _>(StoreError::Gone));
    // Queued while the thread is down, done when it is up again.
    store.append(CID, vec![pen.says("after")]).await.unwrap();
    assert_eq!(home.texts().await, ["after"]);
    assert_eq!(home.scope.metrics().kit.restarts_of("store-writer"), 1);
    assert_eq!(home.scope.metrics().kit.restarts_of("store-reader"), 0);
    home.stop().await;
}

#[tokio::test]
async fn a_change_by_somebody_else_is_noticed() {
    let home = Home::new().await;
    let mut pen = Pen::started(&home.store, 1, 2).await;
    let said = pen.says("said");
    // Another store on the same file, as after a restart that overlapped.
    let (scope, _) = Scope::new(Metrics::default());
    let other = Store::open(&home.path(), &scope, INDEXES).await.unwrap();
    other.append(CID, vec![said.clone()]).await.unwrap();
    let end = home.store.append(CID, vec![said]).await;
    assert_eq!(end, Err(StoreError::Gap { seq: 1 }));
    let next = home.store.append(CID, vec![pen.says("next")]);
    next.await.unwrap();
    assert!(scope.stop(PATIENCE).await);
    home.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_reads_go_on() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::started(store, 1, 2).await;
    let (release, held) = mpsc::channel::<()>();
    let (entered, is_held) = tokio::sync::oneshot::channel();
    let holder = store.clone();
    let hold = tokio::spawn(async move {
        holder
            .tamper(move |_| {
                let _ = entered.send(());
                held.recv()
            })
            .await
    });
    is_held.await.unwrap();
    let mut calls = Vec::new();
    let (mut last, busy) = loop {
        let before = pen.clone();
        let mut call = Box::pin(store.append(CID, vec![pen.says("x")]));
        match futures_util::poll!(&mut call) {
            std::task::Poll::Pending => calls.push(call),
            std::task::Poll::Ready(end) => break (before, end),
        }
    };
    assert_eq!(busy, Err(StoreError::Busy));
    assert_eq!(calls.len(), 1_024);
    // The writer stands still; reading does not.
    assert_eq!(store.heads(CID).await.unwrap()[0].next, 1);
    release.send(()).unwrap();
    hold.await.unwrap().unwrap().unwrap();
    for call in calls {
        call.await.unwrap();
    }
    // What was refused left no trace: the same event fits now.
    store.append(CID, vec![last.says("x")]).await.unwrap();
    home.stop().await;
}

/// Prints what a development build does; what is asserted is far below.
#[tokio::test]
async fn many_calls_share_a_commit() {
    let home = Home::new().await;
    let mut pen = Pen::started(&home.store, 1, 2).await;
    let events: Vec<_> = (0..5_000).map(|n| pen.says(&format!("{n}"))).collect();
    let start = Instant::now();
    let mut flying = std::collections::VecDeque::new();
    for event in events {
        if flying.len() == 1_000 {
            let oldest: std::pin::Pin<Box<dyn Future<Output = _> + Send>> =
                flying.pop_front().unwrap();
            let _: Vec<u64> = Result::<_, StoreError>::unwrap(oldest.await);
        }
        flying.push_back(Box::pin(home.store.append(CID, vec![event])) as _);
    }
    for call in flying {
        call.await.unwrap();
    }
    let took = start.elapsed();
    let text = home.scope.metrics().encode();
    let commits = text
        .lines()
        .find_map(|line| line.strip_prefix("bitchat_store_commits_total "))
        .unwrap();
    println!("5,000 appends in {took:?} and {commits} commits");
    assert!(commits.parse::<u64>().unwrap() < 2_500, "{commits}");
    home.stop().await;
}
