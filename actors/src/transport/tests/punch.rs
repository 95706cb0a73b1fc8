//! Paths that are opened with the help of a third node.

use super::*;
use crate::transport::{NatKind, PathKind};

/// An address where nothing listens.
async fn dead_address() -> SocketAddr {
    let socket = tokio::net::UdpSocket::bind((V4, 0)).await.unwrap();
    socket.local_addr().unwrap()
}

#[tokio::test]
async fn a_peer_whose_address_is_stale_is_reached_with_the_help_of_a_third() {
    let (a, b, c) = (
        Node::start().await,
        Node::start().await,
        Node::start().await,
    );
    let (with_a, with_b) = (a.dial(&c).await, b.dial(&c).await);
    let mut c = c;
    let (one, other) = (c.connected().await, c.connected().await);
    let stale = dead_address().await;
    let (peer, via) = (b.transport.peer_id(), c.transport.peer_id());

    // Without links, nobody is helped.
    let dial = a.transport.dial_by(stale, Some(peer), Some(via));
    let unhelped = tokio::time::timeout(Duration::from_secs(2), dial).await;
    assert!(!matches!(unhelped, Ok(Ok(_))), "{unhelped:?}");

    let _links = [&with_a, &with_b, &one, &other].map(Connection::begin_link);
    let dial = a.transport.dial_by(stale, Some(peer), Some(via));
    let connection = within(dial).await.unwrap();
    assert_eq!(connection.peer(), peer);
    assert_eq!(connection.remote(), b.address());
    assert_eq!(connection.path(), PathKind::Quic);
    assert_eq!(a.transport.nat()[0].kind, NatKind::Unknown, "on loopback");
}

#[tokio::test]
async fn a_peer_dialled_in_vain_may_connect_by_itself() {
    let (a, b) = (Node::start().await, Node::start().await);
    let stale = dead_address().await;
    let peer = b.transport.peer_id();
    let (dialled, came) = tokio::join!(a.transport.dial(stale, Some(peer)), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        b.dial(&a).await
    });
    assert_eq!(dialled.unwrap().peer(), peer);
    assert_eq!(came.peer(), a.transport.peer_id());
}
