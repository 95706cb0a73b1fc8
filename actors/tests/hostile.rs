#![allow(clippy::unwrap_used, missing_docs)]
//! Hostile peers against whole nodes, over real connections. Each attack may end its own link; an honest
//! link of the same node goes on.

mod common;
#[path = "hostile/raw.rs"]
mod raw;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bitchat_actors::{
    PageQuery,
    chat::{EventKind, Mesh},
    node::{ChannelRequest, Node, NodeEvent},
};
use bitchat_wire::{
    channel::{ChannelFile, ChannelId, Policy, Rotation},
    event::{Body, Event, EventId, SEQ_LIMIT},
    identity::{DeviceKey, IdentityKey},
    link::{Initiator, M1_LEN, MAX_FRAME},
    message,
    proto::{self, link_message::Kind, rekey::Step},
    stream::StreamKind,
};
use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::broadcast,
    time::timeout,
};

use common::{address, builder, open_channel};
use raw::{Raw, RawLink, keys};

/// Long for a busy machine; what is tested takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

async fn start(folder: &Path, name: &str, seed: u8) -> Node {
    builder(folder, name, seed).start().await.unwrap()
}

async fn texts(node: &Node, cid: ChannelId) -> Vec<String> {
    let query = PageQuery {
        before: None,
        limit: 1_000,
        conversation_only: true,
    };
    let views = node.chat(cid).unwrap().page(query).await.unwrap();
    let text = |kind| match kind {
        EventKind::Text(text) => Some(text),
        _ => None,
    };
    views
        .into_iter()
        .filter_map(|view| text(view.kind))
        .collect()
}

async fn until<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let begin = Instant::now();
    while !done().await {
        assert!(begin.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: not in time"),
    }
}

/// Two honest nodes that are linked, and a watch on that link.
struct Friends {
    alice: Node,
    bob: Node,
    file: ChannelFile,
    happenings: broadcast::Receiver<NodeEvent>,
    said: usize,
    _folder: tempfile::TempDir,
}

impl Friends {
    async fn meet() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (alice, bob) = (
            start(folder.path(), "alice", 1).await,
            start(folder.path(), "bob", 2).await,
        );
        let request = open_channel("friends");
        let file = alice.create_channel(request).await.unwrap();
        bob.join(file.clone()).await.unwrap();
        bob.connect(file.id(), address(&alice)).await.unwrap();
        until("linked", || async {
            alice.channel(file.id()).await.unwrap().summary.mesh == Mesh::Full
        })
        .await;
        let happenings = alice.subscribe();
        Self {
            alice,
            bob,
            file,
            happenings,
            said: 0,
            _folder: folder,
        }
    }

    /// The honest link works, and did all the while.
    async fn go_on(&mut self, after: &str) {
        self.said += 1;
        let (cid, line) = (self.file.id(), format!("after {after}, {}", self.said));
        self.bob
            .chat(cid)
            .unwrap()
            .send(line.clone())
            .await
            .unwrap();
        until(after, || async {
            texts(&self.alice, cid).await.contains(&line)
        })
        .await;
        while let Ok(event) = self.happenings.try_recv() {
            if let NodeEvent::Member { member, online, .. } = event {
                assert!(
                    online || member != self.bob.id(),
                    "{after}: the honest link broke"
                );
            }
        }
        assert!(self.alice.deaths().is_empty(), "{after}: an actor died");
    }

    async fn stop(self) {
        let begin = Instant::now();
        tokio::join!(self.alice.stop(), self.bob.stop());
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "stopped in {:?}",
            begin.elapsed()
        );
    }
}

/// Sends `m1` and expects a reset with code 0 and not one byte.
async fn refused(
    connection: &bitchat_actors::internals::transport::Connection,
    m1: &[u8],
    finish: bool,
) {
    let mut stream = connection.open(StreamKind::Link).await.unwrap();
    stream.send.write_all(m1).await.unwrap();
    stream.send.flush().await.unwrap();
    if finish {
        stream.send.shutdown().await.unwrap();
    }
    let mut byte = [0];
    let answer = within("a refusal", stream.recv.read(&mut byte)).await;
    match answer {
        Err(error) => {
            let text = error.to_string();
            // The third refusal closes the connection, which may be heard first.
            assert!(
                text.ends_with("error 0") || connection.is_closed(),
                "{text}"
            );
        }
        Ok(n) => panic!("{n} bytes instead of a reset"),
    }
}

fn m1(
    keys: &bitchat_wire::channel::EpochKeys,
    connection: &bitchat_actors::internals::transport::Connection,
) -> [u8; M1_LEN] {
    Initiator::start(
        keys,
        connection.binding(),
        connection.side(),
        &mut rand::rng(),
    )
    .1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probers_get_a_reset_and_not_one_byte_and_are_barred() {
    let mut friends = Friends::meet().await;
    let (file, target) = (friends.file.clone(), address(&friends.alice));

    let prober = Raw::start(50).await;
    let connection = prober.dial(target).await.unwrap();
    refused(&connection, &[0x5a; M1_LEN], false).await;
    refused(&connection, &[1; 200], true).await;
    // With the key of another channel behind the same address.
    let other = bitchat_wire::channel::EpochKeys::derive(file.id(), 0, &[9; 32]);
    let stolen = m1(&other, &connection);
    refused(&connection, &stolen, false).await;
    until("the connection is closed", || async {
        connection.is_closed()
    })
    .await;
    let again = prober.dial(target).await;
    let is_barred = || async {
        again
            .as_ref()
            .map_or(true, |connection| connection.is_closed())
    };
    until("barred", is_barred).await;
    friends.go_on("garbage").await;

    // Whoever holds the key, but replays an M1 of another connection, or sends a key that is none.
    let member = Raw::start(51).await;
    let (first, second) = (Raw::start(52).await, member.dial(target).await.unwrap());
    let recorded = m1(&keys(&file), &first.dial(target).await.unwrap());
    refused(&second, &recorded, false).await;
    let mut bad = m1(&keys(&file), &second);
    bad[73..].fill(0xff);
    refused(&second, &bad, false).await;
    let mut bad = m1(&keys(&file), &second);
    bad[41..73].fill(0);
    refused(&second, &bad, false).await;
    until("the connection is closed", || async { second.is_closed() }).await;
    friends.go_on("a replay").await;
    assert_eq!(
        friends
            .alice
            .chat(file.id())
            .unwrap()
            .members()
            .await
            .unwrap()
            .len(),
        2
    );
    friends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_an_invite_only_channel_the_file_alone_gives_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let alice = start(folder.path(), "alice", 1).await;
    let request = ChannelRequest {
        name: "few".into(),
        policy: Policy::Invite,
        rotation: Rotation::Daily,
        trackers: Vec::new(),
        nodes: Vec::new(),
        relays: Vec::new(),
    };
    let file = alice.create_channel(request).await.unwrap();
    let stranger = Raw::start(60).await;
    let connection = stranger.dial(address(&alice)).await.unwrap();
    let mut link = stranger.link(&connection, &file).await.unwrap();
    link.hello().await;
    assert!(
        within("the end", link.ends()).await.is_empty(),
        "nothing was said to a stranger"
    );
    assert_eq!(
        alice
            .chat(file.id())
            .unwrap()
            .members()
            .await
            .unwrap()
            .len(),
        1
    );
    alice.stop().await;
}

/// What a member may do to its own link: it ends.
type Attack = fn(&mut RawLink, &Raw, &ChannelFile) -> Vec<u8>;

fn sealed(link: &mut RawLink, kind: Kind) -> Vec<u8> {
    link.seal(&message::encode(kind))
}

fn ping() -> Kind {
    Kind::Ping(proto::Ping { nonce: 7 })
}

fn events(events: Vec<Event>) -> Kind {
    let signed = |event: Event| proto::SignedEvent {
        event: event.raw().clone(),
        signature: Bytes::copy_from_slice(event.signature()),
    };
    Kind::Events(proto::Events {
        events: events.into_iter().map(signed).collect(),
        backfill: false,
    })
}

fn claims(from: usize, count: usize) -> Vec<proto::Claim> {
    let device = |n: usize| {
        let mut device = [0xee; 32];
        device[..8].copy_from_slice(&n.to_be_bytes());
        Bytes::copy_from_slice(&device)
    };
    (from..from + count)
        .map(|n| proto::Claim {
            device: device(n),
            floor: 0,
            next: SEQ_LIMIT - 1,
            head: Bytes::from_static(&[1; 16]),
        })
        .collect()
}

const ATTACKS: &[(&str, Attack)] = &[
    ("a tampered frame", |link, _, _| {
        let mut frame = sealed(link, ping());
        *frame.last_mut().unwrap() ^= 1;
        frame
    }),
    ("a replayed frame", |link, _, _| {
        let frame = sealed(link, ping());
        [frame.clone(), frame].concat()
    }),
    ("frames in another order", |link, _, _| {
        let (first, second) = (sealed(link, ping()), sealed(link, ping()));
        [second, first].concat()
    }),
    ("a frame turned around", |link, _, _| link.last_received()),
    ("an oversized length", |_, _, _| {
        u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes().to_vec()
    }),
    ("a length of zero", |_, _, _| vec![0; 4]),
    ("a length of all ones", |_, _, _| vec![0xff; 4]),
    ("a second hello", |link, _, _| {
        let hello = proto::Hello {
            versions: vec![1],
            agent: String::new(),
            listen_port: 0,
        };
        sealed(link, Kind::Hello(hello))
    }),
    ("a frame that is no protobuf", |link, _, _| {
        link.seal(&[0xff; 100])
    }),
    ("a protobuf bomb", |link, _, _| {
        // 100,000 empty members, two bytes each.
        let elements = [0x0a, 0].repeat(100_000);
        let mut message = vec![0x12];
        prost::encoding::encode_varint(elements.len() as u64, &mut message);
        message.extend(elements);
        link.seal(&message)
    }),
    ("an event with a bad signature", |link, raw, file| {
        let event = raw.genesis(file.id());
        let mut signature = *event.signature();
        signature[40] ^= 1;
        let batch = proto::Events {
            events: vec![proto::SignedEvent {
                event: event.raw().clone(),
                signature: Bytes::copy_from_slice(&signature),
            }],
            backfill: false,
        };
        sealed(link, Kind::Events(batch))
    }),
    ("an event of another channel", |link, raw, _| {
        sealed(link, events(vec![raw.genesis(ChannelId([3; 32]))]))
    }),
    ("a fork that is none", |link, raw, file| {
        let signed = |event: &Event| proto::SignedEvent {
            event: event.raw().clone(),
            signature: Bytes::copy_from_slice(event.signature()),
        };
        let event = raw.genesis(file.id());
        let fork = proto::Fork {
            a: Some(signed(&event)),
            b: Some(signed(&event)),
        };
        sealed(link, Kind::Fork(fork))
    }),
    ("more claims than a message has", |link, _, _| {
        let have = proto::Have {
            claims: claims(0, 1_100),
            more: false,
        };
        sealed(link, Kind::Have(have))
    }),
    ("more ranges than a want has", |link, _, _| {
        let range = proto::Range {
            device: Bytes::from_static(&[1; 32]),
            from: 0,
            to: u64::MAX,
        };
        let ranges = vec![range; 65];
        sealed(link, Kind::Want(proto::Want { ranges }))
    }),
    ("10,000 peers", |link, _, _| {
        let unlinked = vec![Bytes::from_static(&[1; 32]); 7_000];
        let peers = proto::Peers {
            linked: vec![],
            unlinked,
        };
        sealed(link, Kind::Peers(peers))
    }),
    ("a renewal out of turn", |link, _, _| {
        let step = Some(Step::Go(proto::RekeyGo {}));
        sealed(link, Kind::Rekey(proto::Rekey { step }))
    }),
    ("a renewal with a key that is none", |link, _, _| {
        let step = Some(Step::Init(proto::RekeyInit {
            dh: Bytes::from_static(&[9; 32]),
            kem: Bytes::from_static(&[0xff; 1_184]),
        }));
        sealed(link, Kind::Rekey(proto::Rekey { step }))
    }),
    ("an unsigned renewal", |link, _, _| {
        let init = link.renewal.start(&mut rand::rng()).unwrap();
        let init = sealed(
            link,
            Kind::Rekey(proto::Rekey {
                step: Some(Step::Init(init)),
            }),
        );
        let done = proto::RekeyDone {
            signature: Bytes::from_static(&[1; 64]),
        };
        let done = sealed(
            link,
            Kind::Rekey(proto::Rekey {
                step: Some(Step::Done(done)),
            }),
        );
        [init, done].concat()
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_member_sends_ends_its_own_link_at_most() {
    let mut friends = Friends::meet().await;
    for (seed, (name, attack)) in (70..).zip(ATTACKS) {
        let raw = Raw::start(seed).await;
        let connection = raw.dial(address(&friends.alice)).await.unwrap();
        let mut link = raw.link(&connection, &friends.file).await.unwrap();
        link.hello().await;
        // Until the node's own first words are here, its link may not even be up.
        assert!(matches!(
            within(name, link.next()).await,
            Some(Kind::Hello(_))
        ));
        let bytes = attack(&mut link, &raw, &friends.file);
        link.write(&bytes).await;
        within(name, link.ends()).await;
        friends.go_on(name).await;
        raw.stop().await;
    }
    // A frame that never ends, and one that is cut off.
    let raw = Raw::start(69).await;
    let connection = raw.dial(address(&friends.alice)).await.unwrap();
    let mut link = raw.link(&connection, &friends.file).await.unwrap();
    link.hello().await;
    let frame = sealed(&mut link, ping());
    link.write(&frame[..frame.len() / 2]).await;
    friends.go_on("half a frame").await;
    link.shutdown().await;
    within("a truncated frame", link.ends()).await;
    friends.go_on("a truncated frame").await;
    friends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_word_must_be_hello_in_a_version_that_we_speak() {
    let mut friends = Friends::meet().await;
    let hello = Kind::Hello(proto::Hello {
        versions: vec![0, 2, 99],
        agent: "older".into(),
        listen_port: 0,
    });
    for (seed, kind) in [(100, ping()), (101, hello)] {
        let raw = Raw::start(seed).await;
        let connection = raw.dial(address(&friends.alice)).await.unwrap();
        let mut link = raw.link(&connection, &friends.file).await.unwrap();
        let wanted = match &kind {
            Kind::Hello(_) => proto::bye::Reason::Version,
            _ => proto::bye::Reason::Protocol,
        };
        let frame = sealed(&mut link, kind);
        link.write(&frame).await;
        let said = within("no hello", link.ends()).await;
        let bye = said.iter().find_map(|kind| match kind {
            Kind::Bye(bye) => Some(bye.reason()),
            _ => None,
        });
        assert_eq!(bye, Some(wanted));
        assert!(
            said.iter()
                .all(|kind| matches!(kind, Kind::Hello(_) | Kind::Bye(_))),
            "{said:?}"
        );
    }
    assert_eq!(
        friends
            .alice
            .chat(friends.file.id())
            .unwrap()
            .members()
            .await
            .unwrap()
            .len(),
        2
    );
    friends.go_on("a downgrade").await;
    friends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_within_the_caps_is_borne_and_costs_little() {
    let mut friends = Friends::meet().await;
    let (cid, raw) = (friends.file.id(), Raw::start(110).await);
    let connection = raw.dial(address(&friends.alice)).await.unwrap();
    let mut link = raw.link(&connection, &friends.file).await.unwrap();
    link.hello().await;
    for n in 0..98 {
        let have = proto::Have {
            claims: claims(n * 1_024, 1_024),
            more: true,
        };
        let frame = sealed(&mut link, Kind::Have(have));
        link.write(&frame).await;
    }
    friends.go_on("100,000 claims").await;
    // An author whose clock is far ahead drags nobody along.
    let far = raw.event(
        cid,
        1,
        raw.genesis(cid).id(),
        1 << 50,
        &Body::text("from the future").unwrap(),
    );
    let frame = sealed(&mut link, events(vec![raw.genesis(cid), far]));
    link.write(&frame).await;
    link.answers().await;
    assert!(
        !texts(&friends.alice, cid)
            .await
            .contains(&"from the future".into())
    );
    friends.alice.chat(cid).unwrap().send("now").await.unwrap();
    let query = PageQuery {
        before: None,
        limit: 1,
        conversation_only: true,
    };
    let lamport = friends.alice.chat(cid).unwrap().page(query).await.unwrap()[0].lamport;
    assert!(lamport < 1 << 20, "{lamport}");
    // Numbers at the end of their range.
    let last = raw.event(cid, SEQ_LIMIT - 1, EventId([1; 32]), 3, &Body::leave());
    let frame = sealed(&mut link, events(vec![last]));
    link.write(&frame).await;
    link.answers().await;
    friends.go_on("numbers at their end").await;
    friends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_links_again_replaces_its_own_link_and_no_other() {
    let mut friends = Friends::meet().await;
    let (raw, other) = (Raw::start(120).await, Raw::start(121).await);
    let target = address(&friends.alice);
    let connection = raw.dial(target).await.unwrap();
    let mut first = raw.link(&connection, &friends.file).await.unwrap();
    first.hello().await;
    first.answers().await;
    let theirs = other.dial(target).await.unwrap();
    let mut bystander = other.link(&theirs, &friends.file).await.unwrap();
    bystander.hello().await;
    bystander.answers().await;

    // Handshakes that fail on a member's connection break nothing.
    for _ in 0..4 {
        refused(&connection, &[1; M1_LEN], false).await;
    }
    first.answers().await;

    let mut second = raw.link(&connection, &friends.file).await.unwrap();
    second.hello().await;
    within("the first link ends", first.ends()).await;
    second.answers().await;
    bystander.answers().await;
    // More links than anybody needs: the latest stays, and the connection bears it.
    for _ in 0..10 {
        let mut next = raw.link(&connection, &friends.file).await.unwrap();
        next.hello().await;
        next.answers().await;
        within("the former ends", second.ends()).await;
        second = next;
    }
    bystander.answers().await;
    friends.go_on("a dozen links").await;
    friends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_renewed_again_and_again_under_traffic_and_nothing_is_lost() {
    const LINES: usize = 120;
    let mut friends = Friends::meet().await;
    let (cid, raw) = (friends.file.id(), Raw::start(130).await);
    let connection = raw.dial(address(&friends.alice)).await.unwrap();
    let mut link = raw.link(&connection, &friends.file).await.unwrap();
    link.hello().await;
    link.answers().await;
    let genesis = raw.genesis(cid);
    let mut prev = genesis.id();
    let frame = sealed(&mut link, events(vec![genesis]));
    link.write(&frame).await;
    let alice = friends.alice.clone();
    let talker = tokio::spawn(async move {
        for n in 0..LINES {
            alice
                .chat(cid)
                .unwrap()
                .send(format!("hers {n}"))
                .await
                .unwrap();
        }
    });
    let mut heard = std::collections::BTreeSet::new();
    let mut said = 0;
    let begin = Instant::now();
    while heard.len() < LINES || said < LINES || link.renewal.generation() < 10 {
        assert!(
            begin.elapsed() < PATIENCE * 2,
            "heard {}, said {said}, {} renewals",
            heard.len(),
            link.renewal.generation()
        );
        if said < LINES {
            let seq = said as u64 + 1;
            let event = raw.event(
                cid,
                seq,
                prev,
                seq + 1,
                &Body::text(&format!("its {said}")).unwrap(),
            );
            (prev, said) = (event.id(), said + 1);
            let frame = sealed(&mut link, events(vec![event]));
            link.write(&frame).await;
        }
        if !link.renewal.pending() && link.renewal.generation() < 40 {
            let init = link.renewal.start(&mut rand::rng()).unwrap();
            let step = Some(Step::Init(init));
            let frame = sealed(&mut link, Kind::Rekey(proto::Rekey { step }));
            link.write(&frame).await;
        }
        match within("traffic", link.next()).await {
            Some(Kind::Events(batch)) => {
                for event in batch.events {
                    let event = Event::verify(&cid, event.event, &event.signature).unwrap();
                    if let Body::Text(said) = Body::of(&event)
                        && said.text.starts_with("hers")
                    {
                        assert!(heard.insert(said.text.clone()), "{} came twice", said.text);
                    }
                }
            }
            Some(Kind::Rekey(proto::Rekey { step: Some(step) })) => link.renew(step, &raw).await,
            Some(Kind::Bye(bye)) => panic!("{bye:?}"),
            Some(_) => {}
            None => panic!(
                "the link ended after {} renewals",
                link.renewal.generation()
            ),
        }
    }
    talker.await.unwrap();
    until("alice has all", || async {
        let its = texts(&friends.alice, cid).await;
        its.iter().filter(|text| text.starts_with("its")).count() == LINES
    })
    .await;
    friends.go_on("renewals").await;
    friends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_node_renews_when_it_is_asked_to() {
    let mut friends = Friends::meet().await;
    let raw = Raw::start(140).await;
    friends
        .alice
        .connect(friends.file.id(), raw.address())
        .await
        .unwrap();
    let mut link = within("the node dials", raw.answer(&friends.file)).await;
    link.hello().await;
    link.answers().await;
    for generation in 1..=2 {
        // Whoever begs at once is passed over.
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let step = Some(Step::Please(proto::RekeyPlease {}));
        let frame = sealed(&mut link, Kind::Rekey(proto::Rekey { step }));
        link.write(&frame).await;
        while link.renewal.generation() < generation {
            match within("a renewal", link.next()).await {
                Some(Kind::Rekey(proto::Rekey { step: Some(step) })) => {
                    link.renew(step, &raw).await
                }
                Some(_) => {}
                None => panic!("the link ended"),
            }
        }
        link.answers().await;
    }
    friends.go_on("renewals of the node's").await;
    friends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_does_not_read_holds_up_neither_talk_nor_stop() {
    let mut friends = Friends::meet().await;
    let (cid, raw) = (friends.file.id(), Raw::start(150).await);
    let connection = raw.dial(address(&friends.alice)).await.unwrap();
    let mut link = raw.link(&connection, &friends.file).await.unwrap();
    link.hello().await;
    link.answers().await;
    // Far more than the stream's window and all queues hold.
    for n in 0..150 {
        let line = format!("{n:060000}");
        friends.alice.chat(cid).unwrap().send(line).await.unwrap();
    }
    friends.go_on("a deaf member").await;
    until("bob has all", || async {
        texts(&friends.bob, cid).await.len() == 151
    })
    .await;
    friends.stop().await;
    drop(link);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_nobody_vouches_for_gets_no_link() {
    let mut friends = Friends::meet().await;
    let mut raw = Raw::start(160).await;
    // Its certificate is another identity's word on another device.
    let other = DeviceKey::from_seed(&[99; 32]);
    raw.certificate = IdentityKey::from_seed(&[98; 32]).certify(&other.id(), 1);
    let connection = raw.dial(address(&friends.alice)).await.unwrap();
    let mut link = raw.link(&connection, &friends.file).await.unwrap();
    link.hello().await;
    assert!(within("the end", link.ends()).await.is_empty());
    assert_eq!(
        friends
            .alice
            .chat(friends.file.id())
            .unwrap()
            .members()
            .await
            .unwrap()
            .len(),
        2
    );
    friends.go_on("a stolen certificate").await;
    friends.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewals_without_end_end_the_link() {
    let mut friends = Friends::meet().await;
    let raw = Raw::start(140).await;
    let connection = raw.dial(address(&friends.alice)).await.unwrap();
    let mut link = raw.link(&connection, &friends.file).await.unwrap();
    link.hello().await;
    link.answers().await;
    let bye = loop {
        assert!(link.renewal.generation() <= 60);
        if !link.renewal.pending() {
            let init = link.renewal.start(&mut rand::rng()).unwrap();
            let step = Some(Step::Init(init));
            let frame = sealed(&mut link, Kind::Rekey(proto::Rekey { step }));
            link.write(&frame).await;
        }
        match within("renewals", link.next()).await {
            Some(Kind::Rekey(proto::Rekey { step: Some(step) })) => link.renew(step, &raw).await,
            Some(Kind::Bye(bye)) => break bye,
            Some(_) => {}
            None => panic!("no word"),
        }
    };
    assert_eq!(bye.reason(), proto::bye::Reason::Protocol);
    friends.go_on("renewals without end").await;
    raw.stop().await;
    friends.stop().await;
}

/// Bytes of memory that this process has.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse::<usize>().ok());
    pages.unwrap_or(0) * 4_096
}

/// The first flight of a TLS client that then says no more, and its record's length, so that it may be cut off.
fn client_hello() -> Vec<u8> {
    let mut config = rustls::ClientConfig::builder_with_provider(std::sync::Arc::new(
        rustls::crypto::aws_lc_rs::default_provider(),
    ))
    .with_protocol_versions(&[&rustls::version::TLS13])
    .unwrap()
    .with_root_certificates(rustls::RootCertStore::empty())
    .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = rustls::pki_types::ServerName::try_from("example.org").unwrap();
    let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_the_tcp_port_harm_nobody_and_cost_little() {
    let mut friends = Friends::meet().await;
    let target = address(&friends.alice);
    let hello = client_hello();
    let mut bittorrent = b"\x13BitTorrent protocol".to_vec();
    bittorrent.resize(68, 7);
    let mut endless = hello.clone();
    // A handshake message that claims to be as long as one can be, and never comes to its end.
    endless[6..9].fill(0xff);
    let words: [(&str, &[u8]); 7] = [
        ("silence", b""),
        ("half a hello", &hello[..hello.len() / 2]),
        ("a hello and no more", &hello),
        ("an endless hello", &endless),
        ("junk", &[0x55; 65_536]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n"),
        ("BitTorrent", &bittorrent),
    ];
    let before = resident();
    let mut held = Vec::new();
    for (what, word) in words {
        for _ in 0..150 {
            // The node may have closed others to let this one in, or this one at once.
            if let Ok(mut tcp) = within(what, tokio::net::TcpStream::connect(target)).await {
                let _ = tcp.write_all(word).await;
                held.push(tcp);
            }
        }
        friends.go_on(what).await;
        // Newcomers get in by QUIC while all of that is held open.
        let raw = Raw::start(150).await;
        let connection = within(what, raw.dial(target)).await.unwrap();
        let mut link = raw.link(&connection, &friends.file).await.unwrap();
        link.hello().await;
        link.answers().await;
        raw.stop().await;
        friends.go_on(what).await;
    }
    let grown = resident().saturating_sub(before);
    println!("{} sockets cost {} KiB", held.len(), grown / 1_024);
    assert!(grown < 64 << 20, "{grown} bytes for {} sockets", held.len());
    friends.stop().await;
}
