//! Connections over streams opened elsewhere, and through a proxy.

use bitchat_wire::link::TlsSide;
use libp2p_identity::PeerId;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::transport::{Adoption, DialError, PathKind, Proxy, Relay, Target};

fn relay() -> Relay {
    Relay {
        address: "192.0.2.1:443".parse().unwrap(),
        peer: PeerId::random(),
    }
}

/// Connects two nodes over a pipe; returns what each got, and a pipe's end for each that they do not use.
async fn circuit(a: &Node, b: &Node, relay: Relay) -> [Result<Connection, DialError>; 2] {
    let (near, far) = tokio::io::duplex(16_384);
    let adoption = |io, side, expected: PeerId| Adoption {
        io: Box::new(io),
        side,
        expected: Some(expected),
        relay,
    };
    let (one, other) = tokio::join!(
        a.transport
            .adopt(adoption(near, TlsSide::Client, b.transport.peer_id())),
        b.transport
            .adopt(adoption(far, TlsSide::Server, a.transport.peer_id())),
    );
    [one, other]
}

#[tokio::test]
async fn a_circuit_is_a_connection_like_others_and_gives_way_to_a_direct_one() {
    let (mut a, mut b) = (Node::start().await, Node::start().await);
    let relay = relay();
    let [at_a, at_b] = circuit(&a, &b, relay).await;
    let (at_a, at_b) = (at_a.unwrap(), at_b.unwrap());
    for (connection, other) in [(&at_a, &b), (&at_b, &a)] {
        let peer = other.transport.peer_id();
        assert_eq!(connection.path(), PathKind::Relayed);
        assert_eq!(connection.peer(), peer);
        assert_eq!(connection.direct(), None);
        assert_eq!(connection.relay(), Some(relay));
        assert_eq!(connection.target(), Target::Circuit { relay, peer });
    }
    assert_eq!(at_a.dialable(), Some(at_a.target()));
    assert_eq!(at_b.dialable(), None, "a may have no place at that relay");
    let binding = |connection: &Connection| format!("{:?}", connection.binding());
    assert_eq!(binding(&at_a), binding(&at_b));

    let mut stream = at_a.open(StreamKind::Link).await.unwrap();
    stream.send.write_all(b"hello").await.unwrap();
    a.connected().await;
    let (kind, mut there) = b.stream().await;
    assert_eq!(kind, StreamKind::Link);
    let mut read = [0; 5];
    within(there.recv.read_exact(&mut read)).await.unwrap();
    assert_eq!(&read, b"hello");

    // Barring the peer would not bar the relay's address, and here nobody is barred at all: a dial makes a better path.
    let direct = a.dial(&b).await;
    assert_eq!(direct.path(), PathKind::Quic);
    until(async || at_a.is_draining() && at_b.is_draining()).await;
    drop((stream, there));
    until(async || at_a.is_closed() && at_b.is_closed()).await;
    assert!(!direct.is_closed());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn only_the_expected_peer_is_accepted_and_silence_ends() {
    let (a, b, c) = (
        Node::start().await,
        Node::start().await,
        Node::start().await,
    );
    let (near, far) = tokio::io::duplex(16_384);
    let adoption = |io, side, expected| Adoption {
        io: Box::new(io),
        side,
        expected: Some(expected),
        relay: relay(),
    };
    let (one, _) = tokio::join!(
        a.transport
            .adopt(adoption(near, TlsSide::Client, c.transport.peer_id())),
        b.transport
            .adopt(adoption(far, TlsSide::Server, a.transport.peer_id())),
    );
    assert_eq!(one.unwrap_err(), DialError::OtherPeer);
    let (near, far) = tokio::io::duplex(16_384);
    let (_, other) = tokio::join!(
        a.transport
            .adopt(adoption(near, TlsSide::Client, b.transport.peer_id())),
        b.transport
            .adopt(adoption(far, TlsSide::Server, c.transport.peer_id())),
    );
    assert_eq!(other.unwrap_err(), DialError::OtherPeer);
    let (near, far) = tokio::io::duplex(16_384);
    drop(far);
    let end = a
        .transport
        .adopt(adoption(near, TlsSide::Client, b.transport.peer_id()));
    assert!(matches!(within(end).await, Err(DialError::Refused(_))));
    for node in [a, b, c] {
        node.stop().await;
    }
}

/// A minimal HTTP proxy that counts its connections.
async fn proxy() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.unwrap());
                }
                let head = String::from_utf8(head).unwrap();
                let target = head.split(' ').nth(1).unwrap();
                let mut server = TcpStream::connect(target).await.unwrap();
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    };
    (address, tokio::spawn(serve))
}

#[tokio::test]
async fn with_a_proxy_there_are_no_sockets_and_dials_go_through_it() {
    let (address, serving) = proxy().await;
    let mut config = config(V4, 0);
    config.proxy = Some(Proxy::parse(&format!("http://{address}")).unwrap());
    config.extra = vec!["127.0.0.1:0".parse().unwrap()];
    let a = Node::with(config).await;
    let mut b = Node::start().await;
    assert!(a.transport.local_addresses().is_empty());
    assert_eq!(a.transport.port(), 0);
    assert!(!a.transport.udp().reaches(false));
    let connection = a.dial(&b).await;
    assert_eq!(connection.path(), PathKind::Proxied);
    assert_eq!(connection.remote(), b.address());
    let at_b = b.connected().await;
    assert_eq!(at_b.path(), PathKind::Tcp);
    assert_eq!(at_b.dialable(), None, "it listens nowhere");
    assert_eq!(a.transport.proxy().unwrap().trouble, None);
    serving.abort();
    // The port is closed once the task has ended.
    assert!(serving.await.unwrap_err().is_cancelled());
    connection.close();
    until(async || {
        a.transport.dial(b.address(), None).await.is_err()
            && a.transport.proxy().unwrap().trouble.is_some()
    })
    .await;
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn extra_ports_are_listened_to() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let extra = free.local_addr().unwrap();
    drop(free);
    let mut with_extra = config(V4, 0);
    with_extra.extra = vec![extra];
    let (a, b) = (Node::with(with_extra).await, Node::start().await);
    let connection = b
        .transport
        .dial(extra, Some(a.transport.peer_id()))
        .await
        .unwrap();
    assert_eq!(connection.path(), PathKind::Tcp);
    a.stop().await;
    b.stop().await;
}
