//! Ports, bars, backpressure, and the end.

use std::net::{Ipv6Addr, UdpSocket};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::transport::{DialError, msg::Msg};

#[tokio::test]
async fn all_addresses_share_one_port() {
    let both = TransportConfig {
        bind: vec![],
        ..config(V4, 0)
    };
    let node = Node::with(both).await;
    let local = node.transport.local_addresses();
    assert!(!local.is_empty());
    assert!(local.iter().all(|one| one.port() == node.transport.port()));
    assert_ne!(node.transport.port(), 0);
    // One socket per family: the IPv6 one does not accept IPv4.
    let mut other = Node::with(config(V4, 0)).await;
    let at = SocketAddr::new(V4, node.transport.port());
    other.transport.dial(at, None).await.unwrap();
    assert!(other.connected().await.remote().is_ipv4());
    if local.iter().any(SocketAddr::is_ipv6) && has_ipv6() {
        let six = Node::with(config(Ipv6Addr::LOCALHOST.into(), 0)).await;
        let at = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), node.transport.port());
        assert!(six.transport.dial(at, None).await.is_ok());
    }
}

#[tokio::test]
async fn a_taken_port_is_an_error_unless_it_was_a_wish() {
    let taken = UdpSocket::bind((V4, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let (scope, _) = Scope::new(Metrics::default());
    let (sender, _events) = mpsc::channel(EVENTS);
    let end = Transport::start(config(V4, port), &scope, sender).await;
    assert_eq!(
        end.err().map(|e| e.kind()),
        Some(std::io::ErrorKind::AddrInUse)
    );
    let wish = TransportConfig {
        port_is_wish: true,
        ..config(V4, port)
    };
    let node = Node::with(wish).await;
    assert_ne!(node.transport.port(), port);
}

#[tokio::test]
async fn an_address_that_is_not_ours_is_an_error() {
    let (scope, _) = Scope::new(Metrics::default());
    let (sender, _events) = mpsc::channel(EVENTS);
    let foreign = config([192, 0, 2, 1].into(), 0);
    assert!(Transport::start(foreign, &scope, sender).await.is_err());
}

#[tokio::test]
async fn a_barred_peer_is_cut_off_both_ways_until_the_time_ends() {
    let (mut a, mut b) = (Node::start().await, Node::start().await);
    let c = Node::start().await;
    a.dial(&b).await;
    let bad = b.connected().await;
    c.dial(&b).await;
    let good = b.connected().await;
    let time = Duration::from_secs(3);
    let begin = std::time::Instant::now();
    b.transport.bar(bad.peer(), Some(bad.remote()), time).await;
    assert!(bad.is_closed() && !good.is_closed());
    assert_eq!(a.closed().await, "closed by the peer");
    let end = b.transport.dial(a.address(), None).await;
    assert_eq!(end.unwrap_err(), DialError::Barred);
    let elsewhere = SocketAddr::new(V4, 9);
    let end = b.transport.dial(elsewhere, Some(bad.peer())).await;
    assert_eq!(end.unwrap_err(), DialError::Barred);
    // Its first packets are ignored, and over TCP nothing but TLS is shown; later dials are refused.
    if let Ok(refused) = a.transport.dial(b.address(), None).await {
        until(async || refused.is_closed() || begin.elapsed() >= time).await;
    }
    until(async || a.transport.dial(b.address(), None).await.is_ok()).await;
    assert!(!good.is_closed());
}

#[tokio::test]
async fn stop_closes_everything_and_frees_the_port() {
    let (mut a, mut b) = (Node::start().await, Node::start().await);
    let connection = a.dial(&b).await;
    let at_b = b.connected().await;
    let port = b.transport.port();
    let kept = b.transport.clone();
    let Node {
        scope, mut events, ..
    } = b;
    assert!(scope.stop(PATIENCE).await);
    assert_eq!(scope.running(), 0);
    assert_eq!(a.closed().await, "closed by the peer");
    assert!(connection.is_closed());
    assert!(at_b.is_closed());
    drop(at_b);
    // The port is free although a handle is still alive.
    UdpSocket::bind((V4, port)).unwrap();
    let end = kept.dial(a.address(), None).await;
    assert_eq!(end.unwrap_err(), DialError::Stopped);
    assert!(kept.connections().await.is_empty());
    let mut balance = 1;
    while let Ok(event) = events.try_recv() {
        match event {
            TransportEvent::Connected(_) => balance += 1,
            TransportEvent::Closed { .. } => balance -= 1,
            _ => {}
        }
    }
    assert_eq!(balance, 0, "every connection that was told of has its end");
    a.stop().await;
}

#[tokio::test]
async fn stop_under_load_leaves_no_task() {
    let mut hub = Node::start().await;
    let mut others = Vec::new();
    for _ in 0..8 {
        let node = Node::start().await;
        let connection = node.dial(&hub).await;
        others.push(tokio::spawn(async move {
            // Streams, floods and dials until the other end is gone.
            let mut flood = connection.open(StreamKind::Sub).await.unwrap();
            while flood.send.write_all(&[1; 16_384]).await.is_ok() {}
            while let Ok(stream) = connection.open(StreamKind::Link).await {
                drop(stream);
            }
            node
        }));
    }
    let reader = tokio::spawn({
        let (_, instead) = mpsc::channel(1);
        let mut events = std::mem::replace(&mut hub.events, instead);
        async move {
            let mut streams = Vec::new();
            while let Some(event) = events.recv().await {
                if let TransportEvent::Stream { mut stream, .. } = event {
                    streams.push(tokio::spawn(async move {
                        let _ = tokio::io::copy(&mut stream.recv, &mut tokio::io::sink()).await;
                    }));
                }
            }
            streams
        }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begin = std::time::Instant::now();
    hub.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(10));
    for other in others {
        within(other).await.unwrap().stop().await;
    }
    for stream in within(reader).await.unwrap() {
        within(stream).await.unwrap();
    }
}

#[tokio::test]
async fn a_slow_reader_makes_its_peer_wait() {
    let (a, mut b) = (Node::start().await, Node::start().await);
    let connection = a.dial(&b).await;
    let mut ours = connection.open(StreamKind::Link).await.unwrap();
    let (_, mut theirs) = b.stream().await;
    let mut written = 0_usize;
    // Nothing is read: in flight are one stream window and what the writer's side keeps.
    let chunk = [9; 65_536];
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_secs(1), ours.send.write_all(&chunk)).await
    {
        written += chunk.len();
        assert!(
            written < 8 << 20,
            "a stream that nobody reads takes no end of bytes"
        );
    }
    assert!(written > 900_000, "the whole window is used");
    // Another stream of the same connection is not held up.
    let mut second = connection.open(StreamKind::Sub).await.unwrap();
    second.send.write_all(b"still here").await.unwrap();
    let (_, mut theirs_too) = b.stream().await;
    let mut word = [0; 10];
    within(theirs_too.recv.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"still here");
    // Reading lets it continue.
    let mut rest = vec![0; written];
    within(theirs.recv.read_exact(&mut rest)).await.unwrap();
    assert!(rest.iter().all(|byte| *byte == 9));
}

#[tokio::test]
async fn an_owner_that_does_not_listen_bounds_what_waits() {
    let (a, b) = (Node::start().await, Node::start().await);
    let connection = a.dial(&b).await;
    let mut opened = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(
        Duration::from_millis(500),
        connection.open(StreamKind::Link),
    )
    .await
    {
        opened.push(stream);
        assert!(opened.len() <= 64);
    }
    assert!(
        opened.len() >= 60,
        "the peer's limit of streams, control included"
    );
    assert!(!connection.is_closed());
    // It still answers, and can be stopped.
    assert_eq!(b.transport.connections().await.len(), 1);
    b.stop().await;
}

#[tokio::test]
async fn a_registry_that_dies_closes_its_connections_and_lives_again() {
    let (mut a, mut b) = (Node::start().await, Node::start().await);
    let connection = a.dial(&b).await;
    a.connected().await;
    let accepted = b.connected().await;
    b.transport.break_for_test().await;
    loop {
        match b.event().await {
            TransportEvent::Closed { id, .. } => break assert_eq!(id, accepted.id()),
            TransportEvent::Connected(_) => panic!("it was told of once"),
            _ => {}
        }
    }
    assert_eq!(a.closed().await, "closed by the peer");
    assert!(connection.is_closed());
    let again = a.transport.dial(b.address(), None).await.unwrap();
    assert_eq!(b.connected().await.binding(), again.binding());
    assert_eq!(b.scope.metrics().kit.restarts_of("transport"), 1);
    b.stop().await;
}

impl Transport {
    async fn break_for_test(&self) {
        self.registry.send(Msg::SocketLost).await.unwrap();
    }
}
