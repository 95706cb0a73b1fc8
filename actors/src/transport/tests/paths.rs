//! TCP where UDP does not get through, second paths, and one connection per peer.

use bitchat_wire::link::TlsSide;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{wire::Wire, *};
use crate::transport::{DialError, PathKind};

/// A dials B through a wire that carries TCP only.
async fn by_tcp() -> (Node, Node, Wire, Connection, Connection) {
    let (a, mut b) = (Node::start().await, Node::start().await);
    let wire = Wire::to(b.address());
    wire.tcp(true);
    let peer = b.transport.peer_id();
    let at_a = a.transport.dial(wire.address, Some(peer)).await.unwrap();
    let at_b = b.connected().await;
    (a, b, wire, at_a, at_b)
}

impl Node {
    /// The next connection that drains, and its survivor.
    async fn draining(&mut self) -> (Connection, Connection) {
        loop {
            if let TransportEvent::Draining {
                connection,
                survivor,
                ..
            } = self.event().await
            {
                return (connection, survivor);
            }
        }
    }

    /// Waits until a connection over that path drains; returns the survivor's path. The side that picks may have picked
    /// the old one until it learns that nothing gets through it.
    async fn leaves(&mut self, path: PathKind) -> PathKind {
        loop {
            let (old, new) = self.draining().await;
            if old.path() == path {
                return new.path();
            }
        }
    }

    /// Waits until a single connection is left, and returns it.
    async fn only_one(&self) -> Connection {
        until(async || self.transport.connections().await.len() == 1).await;
        self.transport.connections().await.remove(0)
    }
}

#[tokio::test]
async fn where_udp_is_cut_tcp_carries_everything() {
    let (mut a, mut b, _wire, at_a, at_b) = by_tcp().await;
    assert_eq!((at_a.path(), at_b.path()), (PathKind::Tcp, PathKind::Tcp));
    assert_eq!(
        (at_a.side(), at_b.side()),
        (TlsSide::Client, TlsSide::Server)
    );
    assert_eq!(at_a.peer(), b.transport.peer_id());
    assert_eq!(at_b.peer(), a.transport.peer_id());
    assert_eq!(at_a.binding(), at_b.binding());
    // Its port is not a listener's, but it reports where it listens.
    assert_ne!(at_b.remote(), a.address());
    until(async || at_b.dialable() == Some(a.address().into())).await;
    until(async || !at_a.rtt().is_zero() && !at_b.rtt().is_zero()).await;

    let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| (n ^ (n >> 9)) as u8).collect();
    let mut ours = at_a.open(StreamKind::Link).await.unwrap();
    ours.send.write_all(&bytes[..1]).await.unwrap();
    let (kind, mut theirs) = b.stream().await;
    assert_eq!(kind, StreamKind::Link);
    let there = async {
        ours.send.write_all(&bytes[1..]).await.unwrap();
        ours.send.shutdown().await.unwrap();
    };
    let back = async {
        theirs.send.write_all(&bytes).await.unwrap();
        theirs.send.shutdown().await.unwrap();
    };
    let (mut read_a, mut read_b) = (Vec::new(), Vec::new());
    let (_, _, end_a, end_b) = within(async {
        tokio::join!(
            there,
            back,
            ours.recv.read_to_end(&mut read_a),
            theirs.recv.read_to_end(&mut read_b)
        )
    })
    .await;
    end_a.unwrap();
    end_b.unwrap();
    assert!(read_a == bytes && read_b == bytes);

    // The other side opens streams too; dropping one unfinished is an error there.
    let mut from_b = at_b.open(StreamKind::Sub).await.unwrap();
    from_b.send.write_all(b"half a wo").await.unwrap();
    let (kind, mut at_a_too) = a.stream().await;
    assert_eq!(kind, StreamKind::Sub);
    drop(from_b);
    let mut rest = Vec::new();
    let end = within(at_a_too.recv.read_to_end(&mut rest)).await;
    assert!(end.is_err());
    // Streams of an unknown kind are not passed on.
    let mut unknown = at_a.open(StreamKind::Sub).await.unwrap();
    unknown.send.write_all(b"x").await.unwrap();
    assert_eq!(b.stream().await.0, StreamKind::Sub);

    at_a.close();
    assert_eq!(a.closed().await, "closed");
    assert_eq!(b.closed().await, "closed by the peer");
    assert!(within(unknown.recv.read_u8()).await.is_err());
    assert!(at_a.open(StreamKind::Link).await.is_err());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn a_slow_reader_over_tcp_makes_its_peer_wait_and_nobody_else() {
    let (a, mut b, _wire, at_a, _) = by_tcp().await;
    let mut ours = at_a.open(StreamKind::Link).await.unwrap();
    let chunk = [9; 65_536];
    let mut written = 0_usize;
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_secs(1), ours.send.write_all(&chunk)).await
    {
        written += chunk.len();
        assert!(written < 8 << 20, "a stream that nobody reads is bounded");
    }
    let (_, mut theirs) = b.stream().await;
    let mut second = at_a.open(StreamKind::Sub).await.unwrap();
    second.send.write_all(b"still here").await.unwrap();
    let (_, mut theirs_too) = b.stream().await;
    let mut word = [0; 10];
    within(theirs_too.recv.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"still here");
    let mut rest = vec![0; written];
    within(theirs.recv.read_exact(&mut rest)).await.unwrap();
    // The streams that we open are bounded; finished ones make room.
    let mut open = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(500), at_a.open(StreamKind::Link)).await
    {
        open.push(stream.unwrap());
        assert!(open.len() <= 40);
    }
    assert!(!at_a.is_closed());
    drop(open);
    drop((ours, second));
    let again = within(at_a.open(StreamKind::Link)).await;
    assert!(again.is_ok());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn another_peer_or_ourselves_by_tcp_are_told_apart() {
    let (a, b) = (Node::start().await, Node::start().await);
    for (target, expected) in [(&b, DialError::OtherPeer), (&a, DialError::Ourselves)] {
        let wire = Wire::to(target.address());
        wire.tcp(true);
        let peer = (expected == DialError::OtherPeer).then(libp2p_identity::PeerId::random);
        // Nothing answers over UDP, so the dial ends with its time-out.
        let end = a.transport.dial(wire.address, peer).await;
        assert!(matches!(end, Err(DialError::TimedOut)) || end.unwrap_err() == expected);
    }
    assert!(a.transport.connections().await.is_empty());
}

#[tokio::test]
async fn quic_that_arrives_late_takes_over() {
    let (mut a, mut b, wire, at_a, at_b) = by_tcp().await;
    wire.udp(true);
    let (old, new) = b.draining().await;
    assert_eq!((old.id(), new.path()), (at_b.id(), PathKind::Quic));
    let (old, new) = a.draining().await;
    assert_eq!((old.id(), new.path()), (at_a.id(), PathKind::Quic));
    assert!(at_a.is_draining() && !new.is_draining());
    // Dials find the survivor.
    let peer = b.transport.peer_id();
    let found = a.transport.dial(wire.address, Some(peer)).await.unwrap();
    assert_eq!(found.id(), new.id());
    // Without links the old connection ends, and only that one.
    let (last_a, last_b) = (a.only_one().await, b.only_one().await);
    assert_eq!(last_a.binding(), last_b.binding());
    assert_eq!(last_a.path(), PathKind::Quic);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn what_still_runs_on_a_draining_connection_is_not_cut_off() {
    let (a, mut b, wire, at_a, _) = by_tcp().await;
    let mut ours = at_a.open(StreamKind::Link).await.unwrap();
    ours.send.write_all(b"one").await.unwrap();
    let (_, mut theirs) = b.stream().await;
    wire.udp(true);
    b.draining().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    ours.send.write_all(b"two").await.unwrap();
    let mut word = [0; 6];
    within(theirs.recv.read_exact(&mut word)).await.unwrap();
    assert_eq!(&word, b"onetwo");
    drop((ours, theirs));
    assert_eq!(a.only_one().await.path(), PathKind::Quic);
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn when_udp_is_cut_in_the_middle_tcp_takes_over() {
    for writer_is_dialler in [true, false] {
        let (mut a, mut b) = (Node::start().await, Node::start().await);
        let wire = Wire::to(b.address());
        wire.udp(true);
        let at_a = a.transport.dial(wire.address, None).await.unwrap();
        let at_b = b.connected().await;
        assert_eq!(at_a.path(), PathKind::Quic);
        let writer = if writer_is_dialler { &at_a } else { &at_b };
        let mut stream = writer.open(StreamKind::Link).await.unwrap();
        wire.tcp(true);
        wire.udp(false);
        stream.send.write_all(b"anybody there?").await.unwrap();
        until(async || writer.is_stalled()).await;
        if !writer_is_dialler {
            // Only the dialler knows where the other listens behind the wire: it must notice, too.
            let mut other = at_a.open(StreamKind::Link).await.unwrap();
            other.send.write_all(b"anybody there?").await.unwrap();
        }
        for node in [&mut a, &mut b] {
            assert_eq!(node.leaves(PathKind::Quic).await, PathKind::Tcp);
        }
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test]
async fn what_still_comes_by_udp_does_not_keep_tcp_from_being_tried() {
    let (mut a, mut b) = (Node::start().await, Node::start().await);
    let wire = Wire::to(b.address());
    wire.udp(true);
    let at_a = a.transport.dial(wire.address, None).await.unwrap();
    let at_b = b.connected().await;
    let mut there = at_a.open(StreamKind::Link).await.unwrap();
    let mut back = at_b.open(StreamKind::Link).await.unwrap();
    wire.tcp(true);
    wire.deaf(true);
    // B repeats this while it gets no answer, so that packets of the old connection keep arriving.
    back.send.write_all(b"do you hear me?").await.unwrap();
    there.send.write_all(b"yes").await.unwrap();
    for node in [&mut a, &mut b] {
        assert_eq!(node.leaves(PathKind::Quic).await, PathKind::Tcp);
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_silent() {
    let (a, b, _wire, at_a, at_b) = by_tcp().await;
    let mut ours = at_a.open(StreamKind::Link).await.unwrap();
    ours.send.write_all(b"a word").await.unwrap();
    // The report itself is followed up once.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = (at_a.answers(), at_b.answers());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((at_a.answers(), at_b.answers()), before);
    assert!(!at_a.is_stalled() && !at_b.is_stalled());
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn when_tcp_is_cut_in_the_middle_quic_takes_over() {
    let (mut a, mut b, wire, at_a, _) = by_tcp().await;
    let mut stream = at_a.open(StreamKind::Link).await.unwrap();
    wire.tcp(false);
    wire.udp(true);
    stream.send.write_all(b"anybody there?").await.unwrap();
    for node in [&mut a, &mut b] {
        assert_eq!(node.leaves(PathKind::Tcp).await, PathKind::Quic);
    }
    a.stop().await;
    b.stop().await;
}

#[tokio::test]
async fn of_simultaneous_dials_one_stays_and_both_agree() {
    for _ in 0..3 {
        let (a, b) = (Node::start().await, Node::start().await);
        let (one, other) = tokio::join!(a.dial(&b), b.dial(&a));
        // Each side may know only its own connection for a moment; and it may have been one dial after all.
        let agree = async || {
            let (at_a, at_b) = (
                a.transport.connections().await,
                b.transport.connections().await,
            );
            at_a.len() == 1 && at_b.len() == 1 && at_a[0].binding() == at_b[0].binding()
        };
        until(agree).await;
        let (last_a, last_b) = (a.only_one().await, b.only_one().await);
        assert!([one.binding(), other.binding()].contains(&last_a.binding()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!last_a.is_closed() && !last_b.is_closed());
        assert!(!last_a.is_draining() && !last_b.is_draining());
        a.stop().await;
        b.stop().await;
    }
}

#[tokio::test]
async fn strangers_on_the_tcp_port_are_bounded_and_harm_nobody() {
    let mut b = Node::start().await;
    let a = Node::start().await;
    let honest = a.dial(&b).await;
    b.connected().await;
    let mut strangers = Vec::new();
    let mut handshake = b"\x13BitTorrent protocol".to_vec();
    handshake.resize(68, 7);
    for word in [
        &handshake[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x16, 3, 1, 0xff, 0xff, 1],
        b"",
    ] {
        for _ in 0..100 {
            let mut tcp = within(TcpStream::connect(b.address())).await.unwrap();
            let _ = tcp.write_all(word).await;
            strangers.push(tcp);
        }
    }
    // All of them are judged, and none becomes a connection.
    let counted = async || {
        let metrics = b.scope.metrics().encode();
        metrics.contains("bitchat_transport_incoming_total{end=\"bittorrent\"} 100")
    };
    until(counted).await;
    assert_eq!(b.transport.connections().await.len(), 1);
    assert!(!honest.is_closed());
    // Silent ones still hold all places, and give way to a peer that sends, over TCP too.
    let c = Node::start().await;
    let wire = Wire::to(b.address());
    wire.tcp(true);
    let peer = b.transport.peer_id();
    let at_c = c.transport.dial(wire.address, Some(peer)).await.unwrap();
    assert_eq!(at_c.path(), PathKind::Tcp);
    drop(strangers);
    c.stop().await;
    b.stop().await;
}
