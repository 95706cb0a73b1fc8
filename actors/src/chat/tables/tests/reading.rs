//! Pages, streams and profiles, and the indexes that serve them.

use bitchat_wire::event::{Body, EventId};

use super::super::{
    LogEntry, PageQuery, Tables,
    history::{latest_sql, page_sql, since_sql},
    references::{ALL, OWN},
};
use crate::store::{StoreError, tests::*};

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
    assert_eq!(Tables(store).page(CID, query).await.unwrap().len(), 7);
    let query = PageQuery {
        before: Some(EventId([1; 32])),
        ..query
    };
    assert_eq!(
        Tables(store).page(CID, query).await.unwrap_err(),
        StoreError::NoEvent
    );
    assert_eq!(
        Tables(store).page(OTHER, query).await.unwrap_err(),
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
    let positions = |entries: Vec<LogEntry>| -> Vec<_> {
        entries.iter().map(|e| (e.position, e.cid)).collect()
    };
    let all = positions(Tables(store).since(None, 0, 99).await.unwrap());
    assert_eq!(all, [(1, CID), (2, OTHER), (3, CID), (4, OTHER)]);
    let some = positions(Tables(store).since(Some(OTHER), 2, 99).await.unwrap());
    assert_eq!(some, [(4, OTHER)]);
    let two = positions(Tables(store).since(None, 1, 2).await.unwrap());
    assert_eq!(two, [(2, OTHER), (3, CID)]);
    assert!(
        Tables(store)
            .since(None, u64::MAX, 9)
            .await
            .unwrap()
            .is_empty()
    );
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
    let names: Vec<_> = Tables(store)
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
