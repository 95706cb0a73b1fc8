//! What shares the UDP port with QUIC.

use std::net::UdpSocket;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::transport::Class;

#[tokio::test]
async fn each_reader_gets_its_own_and_quic_goes_on() {
    for ip in families() {
        let mut node = Node::with(config(ip, 0)).await;
        let other = Node::with(config(ip, 0)).await;
        let udp = node.transport.udp();
        let mut krpc = udp.subscribe(Class::Krpc);
        let mut trackers = udp.subscribe(Class::TrackerReply);
        let mut punches = udp.subscribe(Class::Punch);
        let connection = other.dial(&node).await;
        node.connected().await;
        let mut stream = connection.open(StreamKind::Link).await.unwrap();
        let (_, mut theirs) = node.stream().await;

        let stranger = UdpSocket::bind((ip, 0)).unwrap();
        let from = stranger.local_addr().unwrap();
        let query = b"d1:q4:ping1:t2:aa1:y1:qe";
        let reply = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
        let sending = async {
            for _ in 0..8 {
                for datagram in [&query[..], &reply, &[7; 32], b"", &[0x9a; 40]] {
                    stranger.send_to(datagram, node.address()).unwrap();
                }
                stream.send.write_all(&[5; 100_000]).await.unwrap();
            }
        };
        let mut bytes = vec![0; 800_000];
        within(async { tokio::join!(sending, theirs.recv.read_exact(&mut bytes)).1 })
            .await
            .unwrap();
        assert!(bytes.iter().all(|byte| *byte == 5));
        for _ in 0..8 {
            assert_eq!(within(krpc.recv()).await.unwrap(), (from, query[..].into()));
            assert_eq!(
                within(trackers.recv()).await.unwrap(),
                (from, reply[..].to_vec().into())
            );
            assert_eq!(
                within(punches.recv()).await.unwrap(),
                (from, vec![7; 32].into())
            );
        }
        let metrics = node.scope.metrics().encode();
        assert!(metrics.contains("bitchat_transport_datagrams_total{class=\"junk\"} 8"));

        // Datagrams leave from the port that peers know.
        udp.send_to(from, b"d1:re").await.unwrap();
        let mut answer = [0; 16];
        let (len, source) = stranger.recv_from(&mut answer).unwrap();
        assert_eq!((&answer[..len], source), (&b"d1:re"[..], node.address()));
        assert!(udp.reaches(ip.is_ipv6()) && !udp.reaches(ip.is_ipv4()));
        let elsewhere = if ip.is_ipv4() {
            "[::1]:9"
        } else {
            "127.0.0.1:9"
        };
        let end = udp.send_to(elsewhere.parse().unwrap(), b"x").await;
        assert_eq!(end.unwrap_err().kind(), std::io::ErrorKind::Unsupported);
        // A handle does not keep the socket; a stream would.
        drop(theirs);
        let port = node.transport.port();
        node.stop().await;
        until(async || UdpSocket::bind((ip, port)).is_ok()).await;
        assert!(udp.send_to(from, b"x").await.is_err());
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_loses_datagrams_and_nothing_else() {
    let mut node = Node::start().await;
    let udp = node.transport.udp();
    let mut krpc = udp.subscribe(Class::Krpc);
    let stranger = UdpSocket::bind((V4, 0)).unwrap();
    let dropped = async || {
        for _ in 0..200 {
            stranger.send_to(b"d1:qe", node.address()).unwrap();
        }
        let metrics = node.scope.metrics().encode();
        metrics.contains("bitchat_transport_datagrams_dropped_total{class=\"krpc\"}")
    };
    until(dropped).await;
    let other = Node::start().await;
    other.dial(&node).await;
    node.connected().await;
    let mut waiting = 0;
    while krpc.try_recv().is_ok() {
        waiting += 1;
    }
    assert!(waiting > 0, "what waits is bounded by what was there");
    // A second reader replaces the first.
    let mut second = udp.subscribe(Class::Krpc);
    stranger.send_to(b"d1:ze", node.address()).unwrap();
    until(async || krpc.is_closed()).await;
    loop {
        if within(second.recv()).await.unwrap().1 == b"d1:ze"[..] {
            break;
        }
    }
    node.stop().await;
}
