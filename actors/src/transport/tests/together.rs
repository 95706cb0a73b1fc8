//! Two well-behaved transports.

use std::net::{Ipv6Addr, SocketAddr};

use bitchat_wire::link::TlsSide;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::transport::{DialError, PathKind};

#[tokio::test]
async fn a_dial_connects_both_and_the_binding_is_theirs_alone() {
    let (mut a, mut b) = (Node::start().await, Node::start().await);
    let dialled = a
        .transport
        .dial(b.address(), Some(b.transport.peer_id()))
        .await
        .unwrap();
    assert_eq!(dialled.peer(), b.transport.peer_id());
    assert_eq!(
        (dialled.side(), dialled.path()),
        (TlsSide::Client, PathKind::Quic)
    );
    assert_eq!(dialled.remote(), b.address());
    assert_eq!(a.connected().await.id(), dialled.id());
    let accepted = b.connected().await;
    assert_eq!(accepted.peer(), a.transport.peer_id());
    assert_eq!(accepted.side(), TlsSide::Server);
    assert_eq!(
        accepted.remote(),
        a.address(),
        "dials leave from the listening port"
    );
    assert_eq!(dialled.binding(), accepted.binding());
    assert!(dialled.rtt() < PATIENCE);

    // After a close, the next dial makes another connection with another binding.
    dialled.close();
    assert_eq!(a.closed().await, "closed");
    assert_eq!(b.closed().await, "closed by the peer");
    assert!(accepted.is_closed());
    let again = a.dial(&b).await;
    assert_ne!(again.binding(), dialled.binding());
    assert_ne!(again.id(), dialled.id());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn each_tells_the_other_where_it_is_seen() {
    for ip in families() {
        let mut a = Node::with(config(ip, 0)).await;
        let mut b = Node::with(config(ip, 0)).await;
        a.dial(&b).await;
        let (at_a, at_b) = (a.address(), b.address());
        let (id_a, id_b) = (a.transport.peer_id(), b.transport.peer_id());
        for (node, own, other, peer) in [(&mut a, at_a, at_b, id_b), (&mut b, at_b, at_a, id_a)] {
            loop {
                if let TransportEvent::Observed { by, from, address } = node.event().await {
                    assert_eq!((by, from, address), (peer, other, own));
                    break;
                }
            }
        }
    }
}

#[tokio::test]
async fn streams_carry_a_mebibyte_each_way_at_once() {
    let (a, mut b) = (Node::start().await, Node::start().await);
    let connection = a.dial(&b).await;
    let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| (n ^ (n >> 9)) as u8).collect();
    let mut ours = connection.open(StreamKind::Link).await.unwrap();
    let (kind, mut theirs) = b.stream().await;
    assert_eq!(kind, StreamKind::Link);
    let (mut at_a, mut at_b) = (Vec::new(), Vec::new());
    let there = async {
        ours.send.write_all(&bytes).await.unwrap();
        ours.send.shutdown().await.unwrap();
    };
    let back = async {
        theirs.send.write_all(&bytes).await.unwrap();
        theirs.send.shutdown().await.unwrap();
    };
    let (_, _, read_a, read_b) = within(async {
        tokio::join!(
            there,
            back,
            ours.recv.read_to_end(&mut at_a),
            theirs.recv.read_to_end(&mut at_b)
        )
    })
    .await;
    assert_eq!((read_a.unwrap(), read_b.unwrap()), (1 << 20, 1 << 20));
    assert!(at_a == bytes && at_b == bytes);
    let metrics = a.scope.metrics().encode();
    assert!(metrics.contains("bitchat_transport_connections{side=\"dialled\"} 1"));
    assert!(metrics.contains("bitchat_transport_dials_total{result=\"ok\"} 1"));
    let sent = metrics
        .lines()
        .find_map(|line| line.strip_prefix("bitchat_transport_sent_bytes_total "))
        .unwrap();
    assert!(sent.parse::<u64>().unwrap() > 1 << 20);

    // A finished stream ends; a dropped one is an error.
    let mut ours = connection.open(StreamKind::Sub).await.unwrap();
    let (_, mut theirs) = b.stream().await;
    ours.send.write_all(b"half a wo").await.unwrap();
    drop(ours);
    let mut rest = Vec::new();
    assert!(within(theirs.recv.read_to_end(&mut rest)).await.is_err());
}

#[tokio::test]
async fn either_side_opens_streams_of_every_kind_but_control() {
    let (mut a, mut b) = (Node::start().await, Node::start().await);
    let at_a = a.dial(&b).await;
    let at_b = b.connected().await;
    for kind in [
        StreamKind::Link,
        StreamKind::Sub,
        StreamKind::RelayHop,
        StreamKind::RelayStop,
    ] {
        let _from_a = at_a.open(kind).await.unwrap();
        assert_eq!(b.stream().await.0, kind);
        let _from_b = at_b.open(kind).await.unwrap();
        assert_eq!(a.stream().await.0, kind);
    }
}

#[tokio::test]
async fn an_address_that_is_connected_is_not_dialled_again() {
    let (a, mut b) = (Node::start().await, Node::start().await);
    let b_id = b.transport.peer_id();
    let first = a.dial(&b).await;
    assert_eq!(a.dial(&b).await.id(), first.id());
    let by_peer = SocketAddr::new(V4, 9);
    let same = a.transport.dial(by_peer, Some(b_id)).await.unwrap();
    assert_eq!(
        same.id(),
        first.id(),
        "the peer is connected, by whatever address"
    );
    // Dials find the accepted end, too.
    let accepted = b.connected().await;
    assert_eq!(b.dial(&a).await.id(), accepted.id());
    assert_eq!(a.transport.connections().await.len(), 1);
    assert_eq!(b.transport.connections().await.len(), 1);
}

#[tokio::test]
async fn dials_at_once_are_one() {
    let (a, mut b) = (Node::start().await, Node::start().await);
    let dials = (0..20).map(|_| a.dial(&b));
    let ids: Vec<_> = futures_util::future::join_all(dials)
        .await
        .iter()
        .map(Connection::id)
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    b.connected().await;
    assert_eq!(b.transport.connections().await.len(), 1);
    let metrics = a.scope.metrics().encode();
    assert!(metrics.contains("bitchat_transport_dials_total{result=\"ok\"} 1"));
}

#[tokio::test]
async fn another_peer_than_expected_is_refused_and_learns_nothing() {
    let (a, mut b) = (Node::start().await, Node::start().await);
    let wrong = a
        .transport
        .dial(b.address(), Some(libp2p_identity::PeerId::random()))
        .await;
    assert_eq!(wrong.unwrap_err(), DialError::OtherPeer);
    assert!(a.transport.connections().await.is_empty());
    // The other end never saw a certificate, so it reports nothing to its owner; the next peer is the first.
    let right = a.dial(&b).await;
    assert_eq!(b.connected().await.binding(), right.binding());
}

#[tokio::test]
async fn we_are_not_a_peer_of_our_own() {
    let mut a = Node::start().await;
    let own = a.transport.peer_id();
    let end = a.transport.dial(a.address(), None).await;
    assert_eq!(end.unwrap_err(), DialError::Ourselves);
    let end = a.transport.dial(SocketAddr::new(V4, 9), Some(own)).await;
    assert_eq!(end.unwrap_err(), DialError::Ourselves);
    assert!(a.transport.connections().await.is_empty());
    assert!(a.events.try_recv().is_err());
}

#[tokio::test]
async fn addresses_that_lead_nowhere() {
    let a = Node::start().await;
    let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 9);
    let end = a.transport.dial(v6, None).await;
    assert_eq!(end.unwrap_err(), DialError::NoSocket);
    for nowhere in ["0.0.0.0:9", "127.0.0.1:0", "224.0.0.1:9"] {
        let end = a.transport.dial(nowhere.parse().unwrap(), None).await;
        assert!(matches!(end.unwrap_err(), DialError::Refused(_)));
    }
    // Bound, so not refused by the kernel either, and silent.
    let silent = std::net::UdpSocket::bind((V4, 0)).unwrap();
    let end = within(a.transport.dial(silent.local_addr().unwrap(), None)).await;
    assert_eq!(end.unwrap_err(), DialError::TimedOut);
    a.stop().await;
}

#[tokio::test]
async fn a_cancelled_dial_is_given_up() {
    let a = Node::start().await;
    let silent = std::net::UdpSocket::bind((V4, 0)).unwrap();
    let idle = a.scope.running();
    let dial = a.transport.dial(silent.local_addr().unwrap(), None);
    let cancelled = tokio::time::timeout(Duration::from_millis(50), dial).await;
    assert!(cancelled.is_err());
    let address = silent.local_addr().unwrap();
    // A second dial does not join one that was abandoned.
    let dial = a.transport.dial(address, None);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), dial)
            .await
            .is_err()
    );
    until(async || a.scope.running() == idle).await;
    a.stop().await;
}
