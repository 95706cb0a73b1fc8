//! Logs that forked.

use super::*;

#[tokio::test]
async fn a_forked_log_is_closed() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::started(store, 1, 2).await;
    store.append(CID, vec![pen.says("1")]).await.unwrap();
    let mut twin = pen.clone();
    let [two, three] = [pen.says("2"), pen.says("3")];
    let other_two = twin.says("other 2").event;
    let events = vec![two.clone(), three.clone()];
    store.append(CID, events).await.unwrap();
    let close = |a: &Event, b: &Event| store.close_log(CID, a.clone(), b.clone());
    let end = close(&two.event, &three.event).await;
    assert!(matches!(end, Err(StoreError::Invalid(_))), "{end:?}");

    close(&two.event, &other_two).await.unwrap();
    assert_eq!(home.texts().await, ["1"]);
    let head = store.heads(CID).await.unwrap().remove(0);
    assert_eq!((head.next, head.closed_at), (2, Some(2)));
    assert_eq!(head.head, two.event.header().prev);
    let refused = store.append(CID, vec![two.clone()]).await;
    assert_eq!(refused, Err(StoreError::Closed { at: 2 }));
    assert!(
        Tables(store)
            .entry(CID, three.event.id())
            .await
            .unwrap()
            .is_none()
    );
    // Who was reading backwards from an event that is gone reads on.
    assert_eq!(texts(store, Some(three.event.id()), 9).await, ["1"]);
    // What was given out stays given out.
    assert_eq!(store.last_position().await, Ok(4));
    let proofs = store.forks(CID).await.unwrap();
    assert_eq!(proofs.len(), 1);
    assert!(proofs[0].0.forks(&proofs[0].1));

    // A proof with a higher number changes nothing, one with a lower closes more.
    close(&three.event, &twin.says("other 3").event)
        .await
        .unwrap();
    assert_eq!(store.forks(CID).await.unwrap(), proofs);
    let mut early = Pen::new(CID, 1, 2);
    early.first();
    let other_one = early.says("other 1").event;
    let one = store.events(CID, pen.device(), 1, 2, 9).await.unwrap();
    close(&one[0], &other_one).await.unwrap();
    let home = home.reopen().await;
    let head = home.store.heads(CID).await.unwrap().remove(0);
    assert_eq!((head.next, head.closed_at), (1, Some(1)));
    assert!(home.texts().await.is_empty());
    home.stop().await;
}

#[tokio::test]
async fn a_fork_may_be_known_before_its_log() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::new(CID, 1, 2);
    let first = pen.first();
    let mut twin = pen.clone();
    let one = pen.says("1");
    let other = twin.says("other").event;
    store
        .close_log(CID, one.event.clone(), other)
        .await
        .unwrap();
    assert!(store.heads(CID).await.unwrap().is_empty());
    store.append(CID, vec![first]).await.unwrap();
    let closed = Err(StoreError::Closed { at: 1 });
    assert_eq!(store.append(CID, vec![one.clone()]).await, closed);
    assert_eq!(store.heads(CID).await.unwrap()[0].closed_at, Some(1));

    // Two first events: nothing of that log is ever kept.
    let mut a = Pen::new(CID, 3, 4);
    let mut b = Pen::new(CID, 3, 4);
    let first = a.first();
    let second = b.write(2, &genesis_body(&b.certificate.clone())).event;
    store
        .close_log(CID, first.event.clone(), second)
        .await
        .unwrap();
    let closed = Err(StoreError::Closed { at: 0 });
    assert_eq!(store.append(CID, vec![first]).await, closed);
    home.stop().await;
}
