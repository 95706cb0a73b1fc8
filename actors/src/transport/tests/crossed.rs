//! TCP dials from a node's listening port, and two dials that become one connection.

use std::sync::Arc;

use bitchat_wire::link::TlsSide;

use super::*;
use crate::transport::{
    DialError, Duplex, PathKind, Paths, connection::Carrier, socket::bind::socket_from,
    tcp::upgrade_crossing,
};

fn by_tcp() -> TransportConfig {
    TransportConfig {
        paths: Paths {
            quic: false,
            ..Paths::ALL
        },
        ..config(V4, 0)
    }
}

/// Both ends believe to have dialled: one becomes the server, and each learns the other's identity.
async fn both_dialled(
    a: &Node,
    b: &Node,
    one: impl Duplex + 'static,
    other: impl Duplex + 'static,
) {
    let (id_a, id_b) = (a.transport.peer_id(), b.transport.peer_id());
    let (way_a, way_b) = (Carrier::Direct(b.address()), Carrier::Direct(a.address()));
    let (shared_a, shared_b) = (&a.transport.shared, &b.transport.shared);
    let rtt = Duration::from_millis(1);
    let (one, other) = within(async {
        tokio::join!(
            upgrade_crossing(one, way_a, rtt, Some(id_b), shared_a),
            upgrade_crossing(other, way_b, rtt, Some(id_a), shared_b),
        )
    })
    .await;
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_ne!(one.side(), other.side());
    assert_eq!((one.peer(), other.peer()), (id_b, id_a));
    assert_eq!(one.binding(), other.binding());
    assert_eq!((one.path(), other.path()), (PathKind::Tcp, PathKind::Tcp));
}

#[tokio::test]
async fn of_two_tls_clients_one_becomes_the_server() {
    let (a, b) = (Node::start().await, Node::start().await);
    // Which random is the greater is chance: both cases occur.
    for _ in 0..6 {
        let (one, other) = tokio::io::duplex(100_000);
        both_dialled(&a, &b, one, other).await;
    }
}

#[tokio::test]
async fn another_peer_is_refused_on_either_side() {
    let (a, b, c) = (
        Node::start().await,
        Node::start().await,
        Node::start().await,
    );
    let rtt = Duration::from_millis(1);
    for _ in 0..4 {
        let (one, other) = tokio::io::duplex(100_000);
        let (way_a, way_b) = (Carrier::Direct(b.address()), Carrier::Direct(a.address()));
        let (id_b, id_c) = (b.transport.peer_id(), c.transport.peer_id());
        let (one, _) = within(async {
            tokio::join!(
                upgrade_crossing(one, way_a, rtt, Some(id_c), &a.transport.shared),
                upgrade_crossing(other, way_b, rtt, None, &b.transport.shared),
            )
        })
        .await;
        let end = one.map(|one| (one.peer(), one.peer() == id_b));
        assert!(matches!(end, Err(DialError::OtherPeer)), "{end:?}");
    }
}

/// The kernel makes one connection of two crossing dials. On loopback the window is microseconds, so this is tried
/// until it happens.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_dial_each_other_at_once_have_one_connection() {
    let (a, b) = (Node::start().await, Node::start().await);
    // Ports without listeners, so that crossing is the only way to connect.
    let free = || async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.set_reuseport(true).unwrap();
        socket.bind(SocketAddr::new(V4, 0)).unwrap();
        (socket.local_addr().unwrap(), socket)
    };
    let ((at_one, _held), (at_other, _held_too)) = (free().await, free().await);
    let dial = |from: SocketAddr, to: SocketAddr, barrier: Arc<std::sync::Barrier>| {
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            runtime.block_on(async {
                let socket = socket_from(from).unwrap();
                barrier.wait();
                socket.connect(to).await.ok()
            })
        })
    };
    let begin = std::time::Instant::now();
    let (one, other) = loop {
        assert!(begin.elapsed() < PATIENCE, "two dials never met");
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let (one, other) = (
            dial(at_one, at_other, Arc::clone(&barrier)),
            dial(at_other, at_one, barrier),
        );
        if let (Some(one), Some(other)) = (one.join().unwrap(), other.join().unwrap()) {
            break (one, other);
        }
    };
    assert_eq!(one.peer_addr().unwrap(), other.local_addr().unwrap());
    assert_eq!(other.peer_addr().unwrap(), one.local_addr().unwrap());
    both_dialled(&a, &b, one, other).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn dials_leave_from_the_port_on_which_we_listen() {
    let (a, mut b) = (Node::with(by_tcp()).await, Node::with(by_tcp()).await);
    let connection = a.dial(&b).await;
    assert_eq!(connection.side(), TlsSide::Client);
    let seen = b.connected().await;
    assert_eq!(seen.remote(), a.address());
    assert!(seen.is_unasked());
    // A second dial to that target cannot leave from the listening port, and succeeds all the same.
    let again = crate::transport::tcp::connect(b.address(), None, &a.transport.shared);
    let again = within(again).await.unwrap();
    assert_eq!(again.peer(), b.transport.peer_id());
    assert_ne!(b.connected().await.remote(), a.address());
}

/// A socket that dials the port it dials from is connected to itself.
#[tokio::test]
async fn a_node_that_dials_itself_notices() {
    let a = Node::with(by_tcp()).await;
    let end = a.transport.dial(a.address(), None).await;
    assert!(matches!(end, Err(DialError::Ourselves)), "{end:?}");
}

/// All of them dial each other at once; their dials may cross or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_dial_each_other_by_tcp_have_one_connection_in_the_end() {
    for _ in 0..20 {
        let (a, b) = (Node::with(by_tcp()).await, Node::with(by_tcp()).await);
        let (one, other) = tokio::join!(
            a.transport.dial(b.address(), Some(b.transport.peer_id())),
            b.transport.dial(a.address(), Some(a.transport.peer_id())),
        );
        assert_eq!(one.unwrap().peer(), b.transport.peer_id());
        assert_eq!(other.unwrap().peer(), a.transport.peer_id());
        until(async || {
            let staying = async |node: &Node| {
                let open = node.transport.connections().await;
                open.iter().filter(|one| !one.is_draining()).count()
            };
            staying(&a).await == 1 && staying(&b).await == 1
        })
        .await;
    }
}
