//! Appending to logs, reading them, closing them.

use bitchat_wire::event::HEADER_LEN;
use futures_util::future::join_all;

use super::*;

#[tokio::test]
async fn what_is_appended_is_read_back() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::new(CID, 1, 2);
    let events = vec![pen.first(), pen.says("one"), pen.says("two")];
    assert_eq!(store.append(CID, events.clone()).await, Ok(vec![1, 2, 3]));
    let home = home.reopen().await;
    let store = &home.store;
    let heads = store.heads(CID).await.unwrap();
    assert_eq!(heads.len(), 1);
    assert_eq!(heads[0].certificate, pen.certificate);
    assert_eq!(
        (heads[0].floor, heads[0].next, heads[0].lamport),
        (0, 3, pen.lamport)
    );
    assert_eq!((heads[0].head, heads[0].closed_at), (pen.head, None));

    let kept = store
        .events(CID, pen.device(), 0, 9, 1 << 20)
        .await
        .unwrap();
    let given: Vec<_> = events.iter().map(|new| new.event.clone()).collect();
    assert_eq!(kept, given);
    let ids = store.event_ids(CID, pen.device(), 1, 3).await.unwrap();
    assert_eq!(ids, [given[1].id(), given[2].id()]);
    let entry = Tables(store)
        .entry(CID, given[1].id())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.event, given[1]);
    assert_eq!((entry.position, entry.arrival_ms), (2, 5_002));
    assert_eq!((entry.cid, entry.author), (CID, pen.identity));
    assert_eq!(store.last_position().await, Ok(3));
    home.stop().await;
}

#[tokio::test]
async fn answers_are_bounded() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::started(store, 1, 2).await;
    let many: Vec<_> = (0..1_200).map(|n| pen.says(&format!("{n:04}"))).collect();
    let one = many[0].event.raw().len();
    store.append(CID, many).await.unwrap();
    let device = pen.device();
    let events = |from, to, bytes| store.events(CID, device, from, to, bytes);
    assert_eq!(events(1, 1_201, one * 3).await.unwrap().len(), 3);
    assert_eq!(events(1, 1_201, one * 3 - 1).await.unwrap().len(), 2);
    assert_eq!(events(1, 1_201, 0).await.unwrap().len(), 1);
    assert_eq!(events(5, 8, usize::MAX).await.unwrap().len(), 3);
    assert_eq!(events(8, 5, usize::MAX).await.unwrap().len(), 0);
    assert_eq!(events(u64::MAX, u64::MAX, 99).await.unwrap().len(), 0);
    let ids = store.event_ids(CID, device, 0, u64::MAX).await.unwrap();
    assert_eq!(ids.len(), 256);
    assert_eq!(texts(store, None, usize::MAX).await.len(), 1_000);
    let since = Tables(store).since(None, 0, usize::MAX).await.unwrap();
    assert_eq!(since.len(), 1_000);
    assert_eq!(since[999].position, 1_000);
    let stranger = Pen::new(CID, 5, 6).device();
    assert!(
        store
            .events(CID, stranger, 0, 9, 99)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(one > HEADER_LEN);
    home.stop().await;
}

#[tokio::test]
async fn an_event_must_follow_its_log() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::new(CID, 1, 2);
    let mut other = pen.clone();
    let first = pen.first();
    let early = pen.clone().says("no first event");
    assert_eq!(
        store.append(CID, vec![early]).await,
        Err(StoreError::Gap { seq: 1 })
    );
    store.append(CID, vec![first.clone()]).await.unwrap();
    let gap = |seq| Err(StoreError::Gap { seq });
    assert_eq!(store.append(CID, vec![first]).await, gap(0));
    // A number too far.
    let skipped = pen.says("skipped");
    let after = pen.says("after");
    assert_eq!(store.append(CID, vec![after.clone()]).await, gap(2));
    // Another one before it.
    other.next = 1;
    other.head = EventId([9; 32]);
    assert_eq!(store.append(CID, vec![other.says("x")]).await, gap(1));
    // A time that stands still.
    other.next = 1;
    other.head = skipped.event.header().prev;
    let still = other.write(1, &Body::text("still").unwrap());
    assert_eq!(store.append(CID, vec![still]).await, gap(1));
    // All or none: the good one before the bad one is not kept either.
    let torn = vec![skipped.clone(), skipped.clone()];
    assert_eq!(store.append(CID, torn).await, gap(1));
    assert!(home.texts().await.is_empty());
    store.append(CID, vec![skipped, after]).await.unwrap();
    assert_eq!(home.texts().await, ["skipped", "after"]);
    // Somebody else's name on it.
    let mut forged = pen.says("forged");
    forged.identity = identity(3);
    let end = store.append(CID, vec![forged]).await;
    assert!(matches!(end, Err(StoreError::Invalid(_))), "{end:?}");
    home.stop().await;
}

#[tokio::test]
async fn calls_are_committed_in_order_and_fail_alone() {
    let home = Home::new().await;
    let store = &home.store;
    let mut a = Pen::started(store, 1, 2).await;
    let mut b = Pen::started(store, 3, 4).await;
    // None of these is polled before all are made, and they are then polled the last first.
    let mut calls = Vec::new();
    for n in 0..300 {
        calls.push(store.append(CID, vec![a.says(&format!("a{n}"))]));
        if n == 150 {
            // One of b's is lost on the way here: the rest of b's log must wait for it.
            b.says("lost");
        }
        calls.push(store.append(CID, vec![b.says(&format!("b{n}"))]));
    }
    calls.reverse();
    let mut ends = join_all(calls).await;
    ends.reverse();
    let mut last = 0;
    for (n, end) in ends.into_iter().enumerate() {
        if n % 2 == 1 && n / 2 >= 150 {
            assert!(matches!(end, Err(StoreError::Gap { .. })), "{n}: {end:?}");
        } else {
            let position = end.unwrap()[0];
            assert!(position > last);
            last = position;
        }
    }
    let heads = store.heads(CID).await.unwrap();
    let next = |pen: &Pen| {
        let head = heads.iter().find(|h| h.certificate == pen.certificate);
        head.unwrap().next
    };
    assert_eq!((next(&a), next(&b)), (301, 151));
    home.stop().await;
}

#[tokio::test]
async fn a_dropped_future_takes_nothing_back() {
    let home = Home::new().await;
    let mut pen = Pen::started(&home.store, 1, 2).await;
    drop(home.store.append(CID, vec![pen.says("never polled")]));
    let next = home.store.append(CID, vec![pen.says("awaited")]);
    next.await.unwrap();
    assert_eq!(home.texts().await, ["never polled", "awaited"]);
    home.stop().await;
}

#[tokio::test]
async fn a_key_makes_one_event() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::started(store, 1, 2).await;
    let mut twin = pen.clone();
    let said = pen.keyed("once", "k");
    let id = said.event.id();
    // Both in one transaction, or not: the answer is the same.
    let first = store.append(CID, vec![said]);
    let retry = store.append(CID, vec![twin.keyed("once, again", "k")]);
    first.await.unwrap();
    assert_eq!(retry.await, Err(StoreError::KeyUsed(id)));
    let home = home.reopen().await;
    let store = &home.store;
    let end = store
        .append(CID, vec![pen.clone().keyed("more", "k")])
        .await;
    assert_eq!(end, Err(StoreError::KeyUsed(id)));
    assert_eq!(store.by_key(CID, "k").await, Ok(Some(id)));
    assert_eq!(store.by_key(CID, "l").await, Ok(None));
    // A refused event uses up no key.
    let skipped = pen.clone().says("skipped");
    let mut ahead = pen.clone();
    ahead.next += 1;
    ahead.head = skipped.event.id();
    let refused = store.append(CID, vec![ahead.keyed("x", "l")]).await;
    assert_eq!(refused, Err(StoreError::Gap { seq: 3 }));
    store.append(CID, vec![pen.keyed("y", "l")]).await.unwrap();
    let long = pen.clone().keyed("z", &"k".repeat(257));
    let end = store.append(CID, vec![long]).await;
    assert!(matches!(end, Err(StoreError::Invalid(_))), "{end:?}");
    // Another channel has keys of its own.
    store.put_channel(record(OTHER)).await.unwrap();
    let mut there = Pen::new(OTHER, 1, 2);
    let events = vec![there.first(), there.keyed("once", "k")];
    store.append(OTHER, events).await.unwrap();
    home.stop().await;
}

#[tokio::test]
async fn events_are_found_by_the_beginning_of_their_id() {
    let home = Home::new().await;
    let store = &home.store;
    let mut ann = Pen::started(store, 1, 2).await;
    let said = ann.says("x");
    let id = said.event.id();
    store.append(CID, vec![said]).await.unwrap();
    let hex = id.to_string();
    for digits in [6, 7, 20, 64] {
        assert_eq!(store.by_prefix(CID, &hex[..digits]).await, Ok(vec![id]));
    }
    assert_eq!(store.by_prefix(CID, &"f".repeat(64)).await, Ok(vec![]));
    for bad in ["", "12345", "x", &"0".repeat(65)] {
        assert!(store.by_prefix(CID, bad).await.is_err(), "{bad}");
    }
    store.put_channel(record(OTHER)).await.unwrap();
    assert_eq!(store.by_prefix(OTHER, &hex).await, Ok(vec![]));
    home.stop().await;
}
