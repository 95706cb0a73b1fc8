//! Appending to logs, reading them, closing them.

use bitchat_wire::event::HEADER_LEN;
use futures_util::future::join_all;

use super::*;
use crate::store::{
    history::{latest_sql, page_sql, since_sql},
    references::{ALL, OWN},
};

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
    let entry = store.entry(CID, given[1].id()).await.unwrap().unwrap();
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
    let since = store.since(None, 0, usize::MAX).await.unwrap();
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
async fn pages_follow_the_channels_order() {
    let home = Home::new().await;
    let store = &home.store;
    let mut a = Pen::started(store, 1, 2).await;
    let mut b = Pen::started(store, 3, 4).await;
    let text = |s: &str| Body::text(s).unwrap();
    // Arrival is not the order: b's come last and stand between a's.
    let from_a = vec![
        a.write(10, &text("10")),
        a.write(20, &Body::profile("Ann").unwrap()),
        a.write(30, &text("30")),
    ];
    let from_b = vec![b.write(5, &text("5")), b.write(25, &text("25"))];
    store.append(CID, from_a.clone()).await.unwrap();
    store.append(CID, from_b.clone()).await.unwrap();
    assert_eq!(home.texts().await, ["5", "10", "25", "30"]);
    assert_eq!(texts(store, None, 2).await, ["25", "30"]);
    let before = Some(from_b[1].event.id());
    assert_eq!(texts(store, before, 9).await, ["5", "10"]);
    assert_eq!(texts(store, before, 1).await, ["10"]);
    assert!(texts(store, None, 0).await.is_empty());
    // A cursor may be any event, shown or not.
    let profile = Some(from_a[1].event.id());
    assert_eq!(texts(store, profile, 9).await, ["5", "10"]);
    let query = PageQuery {
        before: None,
        limit: 100,
        conversation_only: false,
    };
    assert_eq!(store.page(CID, query).await.unwrap().len(), 7);
    let query = PageQuery {
        before: Some(EventId([1; 32])),
        ..query
    };
    assert_eq!(
        store.page(CID, query).await.unwrap_err(),
        StoreError::NoEvent
    );
    assert_eq!(
        store.page(OTHER, query).await.unwrap_err(),
        StoreError::NoChannel
    );
    home.stop().await;
}

#[tokio::test]
async fn streams_follow_the_order_of_arrival() {
    let home = Home::new().await;
    let store = &home.store;
    store.put_channel(record(OTHER)).await.unwrap();
    let mut here = Pen::started(store, 1, 2).await;
    let mut there = Pen::new(OTHER, 1, 3);
    store.append(OTHER, vec![there.first()]).await.unwrap();
    store.append(CID, vec![here.says("a")]).await.unwrap();
    store.append(OTHER, vec![there.says("b")]).await.unwrap();
    let positions = |entries: Vec<crate::store::LogEntry>| -> Vec<_> {
        entries.iter().map(|e| (e.position, e.cid)).collect()
    };
    let all = positions(store.since(None, 0, 99).await.unwrap());
    assert_eq!(all, [(1, CID), (2, OTHER), (3, CID), (4, OTHER)]);
    let some = positions(store.since(Some(OTHER), 2, 99).await.unwrap());
    assert_eq!(some, [(4, OTHER)]);
    let two = positions(store.since(None, 1, 2).await.unwrap());
    assert_eq!(two, [(2, OTHER), (3, CID)]);
    assert!(store.since(None, u64::MAX, 9).await.unwrap().is_empty());
    home.stop().await;
}

#[tokio::test]
async fn the_latest_profile_of_a_member_names_it() {
    let home = Home::new().await;
    let store = &home.store;
    let mut phone = Pen::started(store, 1, 2).await;
    let mut desk = Pen::started(store, 1, 3).await;
    let mut other = Pen::started(store, 4, 5).await;
    let name = |name: &str| Body::profile(name).unwrap();
    let events = vec![
        phone.write(10, &name("old")),
        phone.write(30, &name("Ann on the phone")),
        desk.write(20, &name("Ann at the desk")),
        other.write(99, &name("Bob")),
        other.says("hello"),
    ];
    store.append(CID, events).await.unwrap();
    let mut expected = vec![
        (identity(1), "Ann on the phone".to_owned()),
        (identity(4), "Bob".to_owned()),
    ];
    expected.sort();
    let names: Vec<_> = store
        .profiles(CID)
        .await
        .unwrap()
        .into_iter()
        .map(|(identity, profile)| (identity, profile.name().to_owned()))
        .collect();
    assert_eq!(names, expected);
    home.stop().await;
}

/// Whatever the size of a history, reading a page of it sorts nothing and goes through no table.
#[tokio::test]
async fn reading_follows_indexes() {
    let home = Home::new().await;
    let plan = |sql: String| {
        home.store.tamper(move |conn| -> Vec<String> {
            let mut statement = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let params = vec![1_i64; statement.parameter_count()];
            let rows = statement.query_map(rusqlite::params_from_iter(params), |row| row.get(3));
            rows.unwrap().map(Result::unwrap).collect()
        })
    };
    for (sql, index) in [
        (page_sql(true, true), "event_conversation"),
        (page_sql(true, false), "event_conversation"),
        (page_sql(false, true), "event_order"),
        (page_sql(false, false), "event_order"),
        (since_sql(true), "event_arrival"),
        (since_sql(false), "INTEGER PRIMARY KEY"),
        (latest_sql(3), "event_profile"),
        (latest_sql(8), "event_read"),
        (latest_sql(9), "event_picture"),
        (latest_sql(10), "event_status"),
        (OWN.to_owned(), "PRIMARY KEY"),
        (ALL.to_owned(), "PRIMARY KEY"),
    ] {
        let plan = plan(sql.clone()).await.unwrap().join("; ");
        assert!(plan.contains(index), "{sql}: {plan}");
        assert!(!plan.contains("SCAN"), "{sql}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
    home.stop().await;
}
