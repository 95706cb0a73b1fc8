#![allow(clippy::unwrap_used, missing_docs)]
//! Conversations between whole nodes in one process: what one does to a text, the others are shown.

mod common;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bitchat_actors::{
    PageQuery, StoreError,
    chat::{ChatError, EventKind, EventView, MemberView, Mesh},
    node::{Node, NodeEvent},
};
use bitchat_wire::{
    channel::ChannelId,
    event::{MAX_PICTURE, MAX_TEXT, Picture},
};

use common::{address, builder, open_channel};

/// Two nodes that share a channel and are linked.
async fn pair(folder: &Path, read_marks: bool) -> (Node, Node, ChannelId) {
    let mut nodes = Vec::new();
    for (name, seed) in [("alice", 1), ("bob", 2)] {
        let builder = builder(folder, name, seed).read_marks(read_marks);
        nodes.push(builder.start().await.unwrap());
    }
    let (bob, alice) = (nodes.pop().unwrap(), nodes.pop().unwrap());
    let request = open_channel("friends");
    let file = alice.create_channel(request).await.unwrap();
    let cid = bob.join(file).await.unwrap().id();
    meet(&bob, &alice, cid).await;
    // Names are known once both have said theirs.
    until("names are known", || async {
        let mut known = true;
        for node in [&alice, &bob] {
            let members = node.chat(cid).unwrap().members().await.unwrap();
            known &= members.len() == 2 && members.iter().all(|m| !m.name.is_empty());
        }
        known
    })
    .await;
    (alice, bob, cid)
}

async fn meet(from: &Node, to: &Node, cid: ChannelId) {
    from.connect(cid, address(to)).await.unwrap();
    until("they are linked", || async {
        from.channel(cid).await.unwrap().summary.mesh == Mesh::Full
    })
    .await;
}

/// Waits until `done`, at most 30 s.
async fn until<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let begin = Instant::now();
    while !done().await {
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "{what}: not within 30 s"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn log(node: &Node, cid: ChannelId) -> Vec<EventView> {
    let query = PageQuery {
        before: None,
        limit: 100,
        conversation_only: true,
    };
    node.chat(cid).unwrap().page(query).await.unwrap()
}

/// All that a log shows, but for what each node knows of its own.
fn shown(log: &[EventView]) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    log.iter()
        .map(|view| {
            (
                view.id,
                view.kind.clone(),
                (view.reply_to, view.edited, view.deleted),
                view.reactions.clone(),
                view.mentions.clone(),
            )
        })
        .collect()
}

async fn agree(
    what: &str,
    a: &Node,
    b: &Node,
    cid: ChannelId,
    done: impl Fn(&[EventView]) -> bool,
) {
    until(what, || async {
        let (left, right) = (log(a, cid).await, log(b, cid).await);
        done(&left) && shown(&left) == shown(&right)
    })
    .await;
}

fn text(view: &EventView) -> &str {
    match &view.kind {
        EventKind::Text(text) => text,
        other => panic!("unexpected {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happens_to_a_text_is_the_same_at_both() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, cid) = pair(folder.path(), false).await;
    let first = alice
        .chat(cid)
        .unwrap()
        .send("dinner tonight, @Bob?")
        .await
        .unwrap();
    agree("bob hears", &alice, &bob, cid, |log| log.len() == 1).await;
    assert_eq!(log(&bob, cid).await[0].mentions, [bob.id()]);

    let answer = bob.chat(cid).unwrap().reply(first, "yes!").await.unwrap();
    bob.chat(cid)
        .unwrap()
        .react(first, "👍", false)
        .await
        .unwrap();
    bob.chat(cid)
        .unwrap()
        .react(first, "🎉", false)
        .await
        .unwrap();
    assert_eq!(
        bob.chat(cid)
            .unwrap()
            .react(first, "🎉", false)
            .await
            .unwrap(),
        None
    );
    agree("alice hears", &alice, &bob, cid, |log| {
        log.len() == 2 && log[0].reactions.len() == 2
    })
    .await;
    assert_eq!(log(&alice, cid).await[1].reply_to, Some(first));

    alice
        .chat(cid)
        .unwrap()
        .edit(first, "lunch tomorrow?")
        .await
        .unwrap();
    alice
        .chat(cid)
        .unwrap()
        .react(first, "👍", false)
        .await
        .unwrap();
    bob.chat(cid)
        .unwrap()
        .react(first, "🎉", true)
        .await
        .unwrap();
    agree(
        "edits and reactions are everywhere",
        &alice,
        &bob,
        cid,
        |log| {
            log[0].edited
                && matches!(&log[0].reactions[..], [one] if one.emoji == "👍" && one.by.len() == 2)
        },
    )
    .await;
    let now = log(&bob, cid).await;
    assert_eq!(text(&now[0]), "lunch tomorrow?");
    assert!(now[0].mentions.is_empty(), "the new text mentions nobody");

    // What was said is found as it is shown; nobody changes what another said.
    for node in [&alice, &bob] {
        assert!(
            node.chats()
                .search(None, "dinner", 10, None)
                .await
                .unwrap()
                .is_empty()
        );
        let found = node
            .chats()
            .search(Some(cid), "lunch", 10, None)
            .await
            .unwrap();
        assert_eq!(found[0].id, first);
    }
    assert_eq!(
        bob.chat(cid).unwrap().edit(first, "mine").await,
        Err(ChatError::NotOurs)
    );
    assert_eq!(
        bob.chat(cid).unwrap().delete(first).await,
        Err(ChatError::NotOurs)
    );

    let gone = alice.chat(cid).unwrap().delete(first).await.unwrap();
    assert_eq!(
        alice.chat(cid).unwrap().delete(first).await,
        Ok(gone),
        "once is enough"
    );
    assert_eq!(
        alice.chat(cid).unwrap().edit(first, "back").await,
        Err(ChatError::Deleted)
    );
    agree("it is taken back everywhere", &alice, &bob, cid, |log| {
        log[0].deleted && text(&log[0]).is_empty() && log[0].reactions.is_empty()
    })
    .await;
    assert_eq!(
        bob.chat(cid).unwrap().react(first, "👍", false).await,
        Err(ChatError::Deleted)
    );
    assert!(
        bob.chats()
            .search(None, "lunch", 10, None)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(log(&bob, cid).await[1].id, answer, "the answer stays");
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_missed_is_shown_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, cid) = pair(folder.path(), false).await;
    let long = "ä".repeat(MAX_TEXT / 2);
    let first = alice.chat(cid).unwrap().send(long.clone()).await.unwrap();
    let second = alice.chat(cid).unwrap().send("second").await.unwrap();
    agree("bob hears", &alice, &bob, cid, |log| log.len() == 2).await;
    assert_eq!(text(&log(&bob, cid).await[0]), long);
    assert_eq!(
        alice.chat(cid).unwrap().send(long.clone() + "x").await,
        Err(ChatError::BadText(MAX_TEXT + 1))
    );
    bob.stop().await;

    let edit = alice
        .chat(cid)
        .unwrap()
        .edit(first, "short")
        .key("once")
        .await
        .unwrap();
    assert_eq!(
        alice
            .chat(cid)
            .unwrap()
            .edit(first, "short")
            .key("once")
            .await
            .unwrap(),
        edit,
        "a key makes one event"
    );
    alice.chat(cid).unwrap().delete(second).await.unwrap();
    alice
        .chat(cid)
        .unwrap()
        .react(first, "x", false)
        .await
        .unwrap();
    let bob = builder(folder.path(), "bob", 2).start().await.unwrap();
    agree("bob catches up", &alice, &bob, cid, |log| {
        text(&log[0]) == "short" && log[1].deleted && log[0].reactions.len() == 1
    })
    .await;

    // Ids may be short, if they are long enough.
    let hex = first.to_string();
    assert_eq!(
        bob.chat(cid).unwrap().find_event(&hex[..10]).await,
        Ok(first)
    );
    assert_eq!(
        bob.chat(cid).unwrap().find_event(&hex.to_uppercase()).await,
        Ok(first)
    );
    assert!(matches!(
        bob.chat(cid).unwrap().find_event(&hex[..5]).await,
        Err(ChatError::Store(StoreError::Invalid(_)))
    ));
    assert!(matches!(
        bob.chat(cid).unwrap().find_event(&"0".repeat(64)).await,
        Err(ChatError::NoMatch(_))
    ));
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_is_heard_seldom_and_ends_with_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, cid) = pair(folder.path(), false).await;
    let mut news = bob.subscribe();
    for _ in 0..50 {
        alice.chat(cid).unwrap().typing().await.unwrap();
    }
    let typing = |members: Vec<MemberView>| members.iter().any(|m| m.id == alice.id() && m.typing);
    until("bob sees it", || async {
        typing(bob.chat(cid).unwrap().members().await.unwrap())
    })
    .await;
    alice.chat(cid).unwrap().send("done").await.unwrap();
    until("the text ends it", || async {
        log(&bob, cid).await.len() == 1 && !typing(bob.chat(cid).unwrap().members().await.unwrap())
    })
    .await;
    let mut heard = 0;
    while let Ok(event) = news.try_recv() {
        heard += usize::from(matches!(
            event,
            NodeEvent::Typing { member, .. } if member == alice.id()
        ));
    }
    // All of it took less than the 5 seconds between two, unless this machine stood still.
    assert!((1..=3).contains(&heard), "heard {heard} times");
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn profiles_are_told_now_and_later_and_not_again() {
    let folder = tempfile::tempdir().unwrap();
    let (alice, bob, cid) = pair(folder.path(), false).await;
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    png.resize(MAX_PICTURE, 7);
    let picture = Picture::new(png).unwrap();
    alice.chats().set_status(" at sea ").await.unwrap();
    alice.chats().set_picture(Some(&picture)).await.unwrap();
    until("bob sees both", || async {
        let members = bob.chat(cid).unwrap().members().await.unwrap();
        let ann = members.iter().find(|m| m.id == alice.id()).unwrap();
        ann.status == "at sea" && ann.picture.is_some()
    })
    .await;
    let seen = bob.chat(cid).unwrap().picture(alice.id()).await.unwrap();
    assert_eq!(seen.as_ref(), Some(&picture));
    assert_eq!(
        bob.chat(cid).unwrap().picture(bob.id()).await.unwrap(),
        None
    );
    let long = alice.chats().set_status(&"x".repeat(257)).await;
    assert!(matches!(long, Err(ChatError::BadBody(_))));

    // A channel made later has it as well, and a restart says nothing twice.
    let request = open_channel("others");
    let later = alice.create_channel(request).await.unwrap().id();
    let own = |node: &Node, cid| {
        let node = node.clone();
        async move { node.chat(cid).unwrap().picture(node.id()).await.unwrap() }
    };
    until("it is told there", || async {
        own(&alice, later).await.as_ref() == Some(&picture)
    })
    .await;
    let all = PageQuery {
        before: None,
        limit: 100,
        conversation_only: false,
    };
    let count = alice.chat(later).unwrap().page(all).await.unwrap().len();
    alice.stop().await;
    let alice = builder(folder.path(), "alice", 1).start().await.unwrap();
    assert_eq!(alice.chats().profile().await.unwrap().0, "at sea");
    // What a new life has to say comes before anything that it is asked.
    alice.chat(later).unwrap().send("hello").await.unwrap();
    assert_eq!(
        alice.chat(later).unwrap().page(all).await.unwrap().len(),
        count + 1
    );

    alice.chats().set_picture(None).await.unwrap();
    alice.chats().set_status("").await.unwrap();
    until("bob sees neither", || async {
        let members = bob.chat(cid).unwrap().members().await.unwrap();
        let ann = members.iter().find(|m| m.id == alice.id()).unwrap();
        ann.status.is_empty() && ann.picture.is_none()
    })
    .await;
    tokio::join!(alice.stop(), bob.stop());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn read_marks_are_told_only_by_those_who_want_to() {
    for wanted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let (alice, bob, cid) = pair(folder.path(), wanted).await;
        let first = alice.chat(cid).unwrap().send("one").await.unwrap();
        let second = alice.chat(cid).unwrap().send("two").await.unwrap();
        agree("bob hears", &alice, &bob, cid, |log| log.len() == 2).await;
        assert_eq!(
            bob.chat(cid).unwrap().mark_read(first).await.unwrap(),
            wanted
        );
        if wanted {
            until("alice knows", || async {
                let log = log(&alice, cid).await;
                (log[0].state.read, log[1].state.read) == (1, 0)
            })
            .await;
            assert!(
                !bob.chat(cid).unwrap().mark_read(first).await.unwrap(),
                "that is no news"
            );
        }
        let _ = bob.chat(cid).unwrap().mark_read(second).await.unwrap();
        if !wanted {
            bob.chat(cid).unwrap().send("three").await.unwrap();
            agree("alice hears", &alice, &bob, cid, |log| log.len() == 3).await;
            assert!(
                log(&alice, cid)
                    .await
                    .iter()
                    .all(|view| view.state.read == 0)
            );
        }
        tokio::join!(alice.stop(), bob.stop());
    }
}
