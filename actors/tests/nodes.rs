#![allow(clippy::unwrap_used, missing_docs)]
//! Whole nodes in one process, told each other's addresses by hand.

mod common;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bitchat_actors::{
    PageQuery,
    chat::{EventKind, Mesh, Progress},
    node::Node,
};
use bitchat_wire::channel::ChannelId;

use common::{address, builder, open_channel};

async fn start(folder: &Path, name: &str, seed: u8) -> Node {
    builder(folder, name, seed).start().await.unwrap()
}

async fn talk(node: &Node, cid: ChannelId) -> Vec<(String, String)> {
    let query = PageQuery {
        before: None,
        limit: 1_000,
        conversation_only: true,
    };
    let text = |kind| match kind {
        EventKind::Text(text) => text,
        other => panic!("unexpected {other:?}"),
    };
    node.chat(cid)
        .unwrap()
        .page(query)
        .await
        .unwrap()
        .into_iter()
        .map(|view| (view.author_name, text(view.kind)))
        .collect()
}

/// Waits until `done`, at most 20 s.
async fn until<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let begin = Instant::now();
    while !done().await {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{what}: not within 20 s"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn channel(owner: &Node, others: &[&Node]) -> ChannelId {
    let request = open_channel("friends");
    let file = owner.create_channel(request).await.unwrap();
    for other in others {
        other.join(file.clone()).await.unwrap();
    }
    file.id()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_told_an_address_talk_and_know_what_was_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (
        start(folder.path(), "alice", 1).await,
        start(folder.path(), "bob", 2).await,
    );
    let cid = channel(&alice, &[&bob]).await;
    alice
        .chat(cid)
        .unwrap()
        .send("is anybody there?")
        .await
        .unwrap();
    let query = PageQuery {
        before: None,
        limit: 10,
        conversation_only: true,
    };
    assert_eq!(
        alice.chat(cid).unwrap().page(query).await.unwrap()[0]
            .state
            .progress,
        Progress::Waiting
    );

    bob.connect(cid, address(&alice)).await.unwrap();
    until("bob hears", || async { talk(&bob, cid).await.len() == 1 }).await;
    bob.chat(cid).unwrap().send("I am").await.unwrap();
    until("alice hears", || async {
        talk(&alice, cid).await.len() == 2
    })
    .await;

    assert_eq!(talk(&alice, cid).await, talk(&bob, cid).await);
    let said = [("alice", "is anybody there?"), ("bob", "I am")]
        .map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(talk(&alice, cid).await, said);
    until("alice knows it was delivered", || async {
        let state = alice.chat(cid).unwrap().page(query).await.unwrap()[0].state;
        (state.progress, state.delivered, state.of) == (Progress::Delivered, 1, 1)
    })
    .await;
    assert_eq!(alice.channel(cid).await.unwrap().summary.mesh, Mesh::Full);
    let begin = Instant::now();
    tokio::join!(alice.stop(), bob.stop());
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "stopped in {:?}",
        begin.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_third_is_introduced_by_its_only_contact_and_hears_what_it_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, carol) = (
        start(folder.path(), "alice", 1).await,
        start(folder.path(), "bob", 2).await,
        start(folder.path(), "carol", 3).await,
    );
    let cid = channel(&alice, &[&bob, &carol]).await;
    bob.connect(cid, address(&alice)).await.unwrap();
    for n in 0..300 {
        alice
            .chat(cid)
            .unwrap()
            .send(format!("line {n}"))
            .await
            .unwrap();
    }
    until("bob hears all", || async {
        talk(&bob, cid).await.len() == 300
    })
    .await;
    carol.connect(cid, address(&bob)).await.unwrap();
    until("the mesh is full", || async {
        let mut full = true;
        for node in [&alice, &bob, &carol] {
            let summary = node.channel(cid).await.unwrap().summary;
            full &= (summary.mesh, summary.members) == (Mesh::Full, 3);
        }
        full
    })
    .await;
    until("carol hears all", || async {
        talk(&carol, cid).await.len() == 300
    })
    .await;
    assert_eq!(talk(&carol, cid).await, talk(&alice, cid).await);

    // The author is gone; a fourth gets its words from the others.
    alice.stop().await;
    let dave = start(folder.path(), "dave", 4).await;
    dave.join(bob.file(cid).await.unwrap()).await.unwrap();
    dave.connect(cid, address(&carol)).await.unwrap();
    until("dave hears all", || async {
        talk(&dave, cid).await.len() == 300
    })
    .await;
    for node in [&bob, &carol, &dave] {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_finds_its_friends_from_its_own_memory() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (
        start(folder.path(), "alice", 1).await,
        start(folder.path(), "bob", 2).await,
    );
    let cid = channel(&alice, &[&bob]).await;
    bob.connect(cid, address(&alice)).await.unwrap();
    until("linked", || async {
        bob.channel(cid).await.unwrap().summary.mesh == Mesh::Full
    })
    .await;
    bob.stop().await;
    let missed = alice
        .chat(cid)
        .unwrap()
        .send("while you were out")
        .key("k1")
        .await
        .unwrap();
    assert_eq!(
        alice
            .chat(cid)
            .unwrap()
            .send("while you were out")
            .key("k1")
            .await
            .unwrap(),
        missed,
        "a key makes one event"
    );
    let bob = start(folder.path(), "bob", 2).await;
    until("bob hears", || async { talk(&bob, cid).await.len() == 1 }).await;
    alice.stop().await;
    bob.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_lacks_the_secret_gets_no_link_and_learns_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, mallory) = (
        start(folder.path(), "alice", 1).await,
        start(folder.path(), "mallory", 9).await,
    );
    let cid = channel(&alice, &[]).await;
    let other = channel(&mallory, &[]).await;
    mallory.connect(other, address(&alice)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    for (node, cid) in [(&alice, cid), (&mallory, other)] {
        let members = node.chat(cid).unwrap().members().await.unwrap();
        assert_eq!(members.len(), 1, "nobody but oneself is known");
    }
    alice.stop().await;
    mallory.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_is_told_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob) = (
        start(folder.path(), "alice", 1).await,
        start(folder.path(), "bob", 2).await,
    );
    let cid = channel(&alice, &[&bob]).await;
    bob.connect(cid, address(&alice)).await.unwrap();
    until("linked", || async {
        alice.chat(cid).unwrap().members().await.unwrap().len() == 2
    })
    .await;
    bob.leave(cid).await.unwrap();
    assert!(bob.channels().await.unwrap().is_empty());
    until("alice knows", || async {
        alice.chat(cid).unwrap().members().await.unwrap().len() == 1
    })
    .await;
    alice.stop().await;
    bob.stop().await;
}
