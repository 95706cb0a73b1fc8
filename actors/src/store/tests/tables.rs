//! Values, channels, delivery marks, addresses.

use super::*;
use crate::store::{Delivery, KnownPeer};

#[tokio::test]
async fn values_are_kept_and_replaced() {
    let home = Home::new().await;
    assert!(home.store.value("port").await.unwrap().is_none());
    home.store.set_value("port", b"1").await.unwrap();
    home.store.set_value("port", b"2345").await.unwrap();
    home.store.set_value("empty", b"").await.unwrap();
    let home = home.reopen().await;
    assert_eq!(**home.store.value("port").await.unwrap().unwrap(), *b"2345");
    assert!(home.store.value("empty").await.unwrap().unwrap().is_empty());
    home.stop().await;
}

#[tokio::test]
async fn a_channel_goes_with_all_that_is_its_own() {
    let home = Home::new().await;
    let store = &home.store;
    let mut later = record(OTHER);
    later.joined_ms = 2_000;
    store.put_channel(later).await.unwrap();
    let mut again = record(CID);
    again.file = b"new file".to_vec();
    again.joined_ms = 9_000;
    store.put_channel(again).await.unwrap();
    let channels = store.channels().await.unwrap();
    assert_eq!(channels.len(), 2);
    assert_eq!(channels[0].file, b"new file");
    assert_eq!(channels[0].joined_ms, 1_000);

    let mut pen = Pen::started(store, 1, 2).await;
    let said = pen.keyed("x", "key");
    let id = said.event.id();
    store.append(CID, vec![said]).await.unwrap();
    let mark = Delivery {
        member: pen.device(),
        identity: pen.identity,
        author: pen.device(),
        next: 1,
    };
    store.set_deliveries(CID, vec![mark]).await.unwrap();
    store.remove_channel(CID).await.unwrap();
    assert_eq!(store.channels().await.unwrap().len(), 1);
    assert_eq!(store.heads(CID).await, Err(StoreError::NoChannel));
    assert_eq!(store.remove_channel(CID).await, Err(StoreError::NoChannel));
    assert_eq!(
        store.append(CID, vec![pen.says("y")]).await,
        Err(StoreError::NoChannel)
    );
    assert!(Tables(store).since(None, 0, 10).await.unwrap().is_empty());

    // Joined again, it is empty, and the row numbers that it may have again mislead nobody.
    store.put_channel(record(CID)).await.unwrap();
    assert!(store.heads(CID).await.unwrap().is_empty());
    assert!(store.deliveries(CID).await.unwrap().is_empty());
    assert_eq!(store.by_key(CID, "key").await.unwrap(), None);
    assert!(Tables(store).entry(CID, id).await.unwrap().is_none());
    let mut pen = Pen::started(store, 1, 2).await;
    let positions = store.append(CID, vec![pen.says("z")]).await.unwrap();
    assert_eq!(positions, [4], "positions are never used again");
    home.stop().await;
}

#[tokio::test]
async fn delivery_marks_only_grow() {
    let home = Home::new().await;
    let mark = |member: u8, next| Delivery {
        member: Pen::new(CID, member, member).device(),
        identity: identity(member),
        author: Pen::new(CID, 9, 9).device(),
        next,
    };
    let given = home
        .store
        .set_deliveries(CID, vec![mark(1, 5), mark(2, 7), mark(1, 3)]);
    let lower = home.store.set_deliveries(CID, vec![mark(2, 6), mark(1, 8)]);
    given.await.unwrap();
    lower.await.unwrap();
    let home = home.reopen().await;
    let mut marks = home.store.deliveries(CID).await.unwrap();
    marks.sort_by_key(|mark| mark.next);
    assert_eq!(marks, [mark(2, 7), mark(1, 8)]);
    let refused = home.store.set_deliveries(OTHER, vec![mark(1, 1)]).await;
    assert_eq!(refused, Err(StoreError::NoChannel));
    home.stop().await;
}

#[tokio::test]
async fn the_oldest_addresses_go() {
    let home = Home::new().await;
    let peer = |person: u8, port: u16, last_ok_ms| KnownPeer {
        identity: identity(person),
        address: format!("[2001:db8::1]:{port}").parse().unwrap(),
        last_ok_ms,
    };
    for port in 1..=10 {
        let peer = peer(1, port, u64::from(port));
        home.store.remember_peer(CID, peer).await.unwrap();
    }
    // An older success does not make a known address older.
    home.store.remember_peer(CID, peer(1, 9, 0)).await.unwrap();
    let known = home.store.known_peers(CID).await.unwrap();
    let ports: Vec<_> = known.iter().map(|peer| peer.address.port()).collect();
    assert_eq!(ports, [10, 9, 8, 7, 6, 5, 4, 3]);
    assert_eq!(known[1], peer(1, 9, 9));

    for person in 2..=132 {
        let calls = (1..=8).map(|port| {
            let peer = peer(person, port, 100 + u64::from(person));
            home.store.remember_peer(CID, peer)
        });
        for end in futures_util::future::join_all(calls).await {
            end.unwrap();
        }
    }
    let known = home.store.known_peers(CID).await.unwrap();
    assert_eq!(known.len(), 1_024);
    assert_eq!(known[0].identity, identity(132));
    assert!(known.iter().all(|peer| peer.identity != identity(1)));
    home.stop().await;
}
