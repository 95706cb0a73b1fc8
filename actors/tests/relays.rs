#![allow(clippy::unwrap_used, missing_docs)]
//! Nodes that cannot reach each other, and relays that carry what they cannot read.

mod common;

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use bitchat_actors::{
    PageQuery,
    internals::{
        kit::Scope,
        transport::{Connection, EVENTS, Stream, Transport, TransportConfig, TransportEvent},
    },
    node::{Node, RELAY_KEYS, RelayNode},
    settings::{Proxy, Relay, RelayLimits},
    status::{Metrics, PathKind},
};
use bitchat_wire::{
    channel::{ChannelFile, ChannelId},
    proto::{self, relay::Kind},
    relay::{decode, encode},
    stream::StreamKind,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinHandle,
};
use zeroize::Zeroizing;

use common::{address, builder, open_channel};

/// Long for a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// An HTTP proxy of the simplest kind, which goes wherever it is told.
async fn proxy() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let mut talks = tokio::task::JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            talks.spawn(tunnel(client));
        }
    };
    (address, tokio::spawn(serve))
}

async fn tunnel(mut client: TcpStream) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let mut server = TcpStream::connect(head.split(' ').nth(1)?).await.ok()?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
    copy_bidirectional(&mut client, &mut server).await.ok()?;
    None
}

async fn behind(proxy: SocketAddr, folder: &Path, name: &str, seed: u8) -> Node {
    let proxy = Proxy::parse(&format!("http://{proxy}")).unwrap();
    let builder = builder(folder, name, seed).proxy(proxy);
    builder.start().await.unwrap()
}

async fn relay(seed: u8) -> RelayNode {
    RelayNode::builder(0, Zeroizing::new([seed; RELAY_KEYS]))
        .bind(["127.0.0.1".parse().unwrap()])
        .start()
        .await
        .unwrap()
}

/// How two nodes are linked.
async fn path(node: &Node, cid: ChannelId, other: &Node) -> Option<PathKind> {
    let members = node.chat(cid).unwrap().members().await.unwrap();
    let member = members.into_iter().find(|member| member.id == other.id())?;
    Some(member.path?.kind)
}

async fn lines(node: &Node, cid: ChannelId) -> usize {
    let query = PageQuery {
        before: None,
        limit: 1_000,
        conversation_only: true,
    };
    node.chat(cid).unwrap().page(query).await.unwrap().len()
}

#[track_caller]
fn until<F: Future<Output = bool>>(
    what: &'static str,
    done: impl Fn() -> F,
) -> impl Future<Output = Duration> {
    let caller = std::panic::Location::caller();
    async move {
        let begin = Instant::now();
        while !done().await {
            assert!(begin.elapsed() < PATIENCE, "{what}: {caller}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begin.elapsed()
    }
}

async fn stop(nodes: &[&Node]) {
    futures_util::future::join_all(nodes.iter().map(|node| node.stop())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_behind_proxies_talk_through_a_member() {
    let folder = tempfile::tempdir().unwrap();
    let (through, _serving) = proxy().await;
    let alice = behind(through, folder.path(), "alice", 1).await;
    let bob = behind(through, folder.path(), "bob", 2).await;
    let carol = builder(folder.path(), "carol", 3).start().await.unwrap();
    let file = carol.create_channel(open_channel("friends")).await.unwrap();
    let cid = file.id();
    for node in [&alice, &bob] {
        node.join(file.clone()).await.unwrap();
        node.connect(cid, address(&carol)).await.unwrap();
    }
    let took = until("they are linked", || async {
        path(&alice, cid, &bob).await == Some(PathKind::Relayed)
            && path(&bob, cid, &alice).await == Some(PathKind::Relayed)
    })
    .await;
    println!("linked through a member after {took:?}");
    assert_eq!(path(&alice, cid, &carol).await, Some(PathKind::Proxied));
    assert_eq!(path(&carol, cid, &alice).await, Some(PathKind::Tcp));
    alice.chat(cid).unwrap().send("hello bob").await.unwrap();
    bob.chat(cid).unwrap().send("hello alice").await.unwrap();
    for node in [&alice, &bob, &carol] {
        until("all hear", || async { lines(node, cid).await == 2 }).await;
    }
    stop(&[&alice, &bob, &carol]).await;
}

async fn meeting(relays: &[&RelayNode], folder: &Path) -> (Node, Node, ChannelFile) {
    let (through, serving) = proxy().await;
    // It ends with the test's runtime.
    drop(serving);
    let alice = behind(through, folder, "alice", 1).await;
    let bob = behind(through, folder, "bob", 2).await;
    let mut request = open_channel("friends");
    let here = "127.0.0.1".parse().unwrap();
    request.relays = relays.iter().map(|relay| relay.at(here)).collect();
    let file = alice.create_channel(request).await.unwrap();
    bob.join(file.clone()).await.unwrap();
    (alice, bob, file)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_behind_proxies_meet_at_a_relay_that_their_file_names() {
    let folder = tempfile::tempdir().unwrap();
    let relay = relay(9).await;
    let (alice, bob, file) = meeting(&[&relay], folder.path()).await;
    let cid = file.id();
    let took = until("they are linked", || async {
        path(&alice, cid, &bob).await == Some(PathKind::Relayed)
    })
    .await;
    println!("linked through a relay after {took:?}");
    alice.chat(cid).unwrap().send("hello bob").await.unwrap();
    until("bob hears", || async { lines(&bob, cid).await == 1 }).await;
    assert_eq!(relay.serves(), (2, 1));
    let metrics = relay.metrics().encode();
    assert!(metrics.contains("bitchat_relay_circuits 1"), "{metrics}");
    stop(&[&alice, &bob]).await;
    until("all is given back", || async { relay.serves() == (0, 0) }).await;
    relay.stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_relay_dies_talk_goes_on_through_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let relays = [relay(9).await, relay(10).await];
    let (alice, bob, file) = meeting(&[&relays[0], &relays[1]], folder.path()).await;
    let cid = file.id();
    until("they are linked, and known at both relays", || async {
        path(&alice, cid, &bob).await == Some(PathKind::Relayed)
            && relays.iter().all(|relay| relay.serves().0 == 2)
    })
    .await;
    // What each can be reached at has been told.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let carries = relays
        .iter()
        .position(|relay| relay.serves().1 > 0)
        .unwrap();
    let said = |n: usize| format!("line {n}");
    for n in 0..10 {
        alice.chat(cid).unwrap().send(said(n)).await.unwrap();
    }
    relays[carries].stop(Duration::ZERO).await;
    let begin = Instant::now();
    for n in 10..20 {
        bob.chat(cid).unwrap().send(said(n)).await.unwrap();
    }
    for node in [&alice, &bob] {
        until("all is heard", || async { lines(node, cid).await == 20 }).await;
    }
    println!("talk went on {:?} after the relay's death", begin.elapsed());
    let left = &relays[1 - carries];
    until("one circuit stays", || async { left.serves() == (2, 1) }).await;
    stop(&[&alice, &bob]).await;
    relays[1 - carries].stop(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_under_abuse_serves_within_its_quotas() {
    const MANY: usize = 10_000;
    let relay = RelayNode::builder(0, Zeroizing::new([11; RELAY_KEYS]))
        .bind(["127.0.0.1".parse().unwrap()])
        .limits(RelayLimits {
            circuits: 6,
            circuits_a_peer: 4,
            ..RelayLimits::PUBLIC
        })
        .start()
        .await
        .unwrap();
    let at = relay.at("127.0.0.1".parse().unwrap());
    let (target, mut abuser) = (Raw::start().await, Raw::start().await);
    let (there, here) = (target.dial(at).await, abuser.dial(at).await);
    let _reservation = reserve(&there).await.unwrap();

    // Reservations: each replaces the one before, and most are refused.
    let (mut kept, mut granted) = (None, 0);
    for _ in 0..MANY {
        if let Ok(stream) = tokio::time::timeout(PATIENCE, reserve(&here))
            .await
            .unwrap()
        {
            // Of those that it holds on to, it has 64 streams at most.
            kept = Some(stream);
            granted += 1;
        }
        assert!(relay.serves().0 <= 2);
    }
    println!("of {MANY} requests {granted} were granted");
    assert!(granted < MANY / 2);
    drop(kept);

    // Circuits to somebody who takes them and never reads.
    let peer = target.transport.peer_id();
    let silent = tokio::spawn(async move {
        let mut streams = Vec::new();
        let mut events = target.events;
        while let Some(event) = events.recv().await {
            if let TransportEvent::Stream { mut stream, .. } = event {
                let mut length = [0; 4];
                stream.recv.read_exact(&mut length).await.unwrap();
                let accepted = Kind::Accepted(proto::Accepted {});
                stream.send.write_all(&encode(accepted)).await.unwrap();
                streams.push(stream);
            }
        }
    });
    let mut circuits = Vec::new();
    for _ in 0..40 {
        let mut stream = here.open(StreamKind::RelayHop).await.unwrap();
        let connect = Kind::Connect(proto::Connect {
            peer: peer.to_bytes().into(),
        });
        let _ = stream.send.write_all(&encode(connect)).await;
        circuits.push(stream);
        // So that it is a question of circuits and not of requests.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(relay.serves().1 <= 4);
    }
    until("the quota is used up", || async { relay.serves().1 > 0 }).await;
    // They are written to until nothing goes on: what the relay holds of each is two buffers.
    let junk = vec![7; 1 << 16];
    for stream in &mut circuits {
        let writing = async { while stream.send.write_all(&junk).await.is_ok() {} };
        let _ = tokio::time::timeout(Duration::from_millis(100), writing).await;
    }
    // Somebody else is served as ever.
    let honest = Raw::start().await;
    let line = honest.dial(at).await;
    let begin = Instant::now();
    let reserved = loop {
        match reserve(&line).await {
            Ok(stream) => break stream,
            // One address has used up its requests, and it is this one's as well.
            Err(()) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
        assert!(begin.elapsed() < PATIENCE);
    };
    println!("another was served after {:?}", begin.elapsed());
    drop((reserved, circuits));
    abuser.events.close();
    until("circuits end", || async { relay.serves().1 == 0 }).await;
    silent.abort();
    relay.stop(Duration::ZERO).await;
}

/// A client of a relay that keeps to no rules.
struct Raw {
    transport: Transport,
    events: mpsc::Receiver<TransportEvent>,
    _scope: Scope,
}

impl Raw {
    async fn start() -> Self {
        let (scope, _) = Scope::new(Metrics::default());
        let (sender, events) = mpsc::channel(EVENTS);
        let bind = vec!["127.0.0.1".parse().unwrap()];
        let config = TransportConfig::new(bind, 0, Zeroizing::new([5; 64]));
        let transport = Transport::start(config, &scope, sender).await.unwrap();
        Self {
            transport,
            events,
            _scope: scope,
        }
    }

    async fn dial(&self, relay: Relay) -> Connection {
        let dial = self.transport.dial(relay.address, Some(relay.peer));
        dial.await.unwrap()
    }
}

/// A reservation, or a refusal.
async fn reserve(connection: &Connection) -> Result<Stream, ()> {
    let mut stream = connection.open(StreamKind::RelayHop).await.map_err(drop)?;
    let request = encode(Kind::Reserve(proto::Reserve {}));
    stream.send.write_all(&request).await.map_err(drop)?;
    let mut length = [0; 4];
    stream.recv.read_exact(&mut length).await.map_err(drop)?;
    let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.recv.read_exact(&mut body).await.map_err(drop)?;
    match decode(&body) {
        Ok(Some(Kind::Reserved(_))) => Ok(stream),
        _ => Err(()),
    }
}
