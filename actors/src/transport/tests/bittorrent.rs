//! BitTorrent clients that connect for what we announce, and others that send what they would.

use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use super::*;
use crate::disguise::{ANSWER_LEN, Disguise, OPENING_LEN, Torrents};

const HASH: [u8; 20] = [3; 20];

fn opening(hash: [u8; 20]) -> Vec<u8> {
    let mut opening = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05".to_vec();
    opening.extend_from_slice(&hash);
    assert_eq!(opening.len(), OPENING_LEN);
    opening
}

async fn node(disguise: Disguise) -> (Node, Torrents) {
    let torrents = Torrents::new(disguise, &mut StdRng::seed_from_u64(1));
    let config = TransportConfig {
        torrents: Some(torrents.clone()),
        ..config(V4, 0)
    };
    (Node::with(config).await, torrents)
}

async fn connect(at: &Node, words: &[u8]) -> TcpStream {
    let mut tcp = within(TcpStream::connect(at.address())).await.unwrap();
    tcp.write_all(words).await.unwrap();
    tcp
}

/// Everything the other end sends until it disconnects.
async fn read_all(mut tcp: TcpStream) -> Vec<u8> {
    let mut received = Vec::new();
    // If it disconnects with unread data of ours, the stream ends with a reset, which is an end as well.
    let _ = within(tcp.read_to_end(&mut received)).await;
    received
}

#[tokio::test]
async fn a_client_gets_the_handshake_of_what_is_announced_and_no_more() {
    for disguise in Disguise::ALL {
        let (node, torrents) = node(disguise).await;
        assert_eq!(read_all(connect(&node, &opening(HASH)).await).await, b"");
        let persona = torrents.begin(&HASH, &mut StdRng::seed_from_u64(2));
        // Before the client has sent its peer id, as from any client.
        let mut tcp = connect(&node, &opening(HASH)).await;
        let mut answer = [0; ANSWER_LEN];
        within(tcp.read_exact(&mut answer)).await.unwrap();
        assert_eq!(answer[..28], opening(HASH)[..28]);
        assert_eq!(answer[28..48], HASH);
        assert_eq!(answer[48..56], persona.peer_id[..8]);
        let transmission = disguise.name().starts_with("transmission");
        assert_eq!(answer[48..] == persona.peer_id, transmission);
        // Its peer id, an extension handshake, interest: nothing comes of it.
        tcp.write_all(&[b'-'; 20]).await.unwrap();
        tcp.write_all(b"\0\0\0\x1a\x14\0d1:md11:ut_metadatai1eee\0\0\0\x01\x02")
            .await
            .unwrap();
        tcp.shutdown().await.unwrap();
        assert_eq!(read_all(tcp).await, b"");
        assert_eq!(read_all(connect(&node, &opening([4; 20])).await).await, b"");
        torrents.end(&HASH);
        assert_eq!(read_all(connect(&node, &opening(HASH)).await).await, b"");
        node.stop().await;
    }
}

#[tokio::test]
async fn a_client_that_keeps_sending_is_disconnected_and_half_an_opening_gets_nothing() {
    let (node, torrents) = node(Disguise::default()).await;
    torrents.begin(&HASH, &mut StdRng::seed_from_u64(2));
    let mut tcp = connect(&node, &opening(HASH)).await;
    let talk = async { while tcp.write_all(&[0; 4_096]).await.is_ok() {} };
    within(talk).await;
    for length in [1, 20, OPENING_LEN - 1] {
        let mut tcp = connect(&node, &opening(HASH)[..length]).await;
        tcp.shutdown().await.unwrap();
        assert_eq!(read_all(tcp).await, b"", "{length}");
    }
    let mut other = opening(HASH);
    other[5] ^= 1;
    assert_eq!(read_all(connect(&node, &other).await).await, b"");
    node.stop().await;
}

#[tokio::test]
async fn a_crowd_of_them_is_bounded_and_does_not_keep_members_out() {
    let (mut node, torrents) = node(Disguise::Qbittorrent52).await;
    torrents.begin(&HASH, &mut StdRng::seed_from_u64(2));
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(connect(&node, &opening(HASH)).await);
    }
    let counted = async || {
        let metrics = node.scope.metrics().encode();
        metrics.contains("bitchat_transport_incoming_total{end=\"bittorrent\"} 300")
    };
    until(counted).await;
    let member = Node::start().await;
    member.dial(&node).await;
    node.connected().await;
    assert_eq!(node.transport.connections().await.len(), 1);
    let mut spoken = 0;
    for tcp in crowd {
        let mut answer = [0; 2 * ANSWER_LEN];
        // Connections that made room for others may have been closed before they read it.
        if let Ok(length) = tcp.try_read(&mut answer) {
            assert!(length <= ANSWER_LEN);
            spoken += usize::from(length > 0);
        }
    }
    assert!(spoken > 0);
    member.stop().await;
    node.stop().await;
}

/// uTP, BitTorrent's handshake, junk, and look-alikes of our protocols: over UDP, no stranger gets an answer.
#[tokio::test]
async fn strangers_over_udp_get_no_answer() {
    let (node, torrents) = node(Disguise::default()).await;
    torrents.begin(&HASH, &mut StdRng::seed_from_u64(2));
    let stranger = UdpSocket::bind((V4, 0)).await.unwrap();
    let mut syn = vec![0x41, 0];
    syn.extend_from_slice(&[7; 18]);
    let mut data = vec![0x01, 0];
    data.extend_from_slice(&[7; 18]);
    let state = [&[0x21, 0][..], &[7; 18]].concat();
    let tracker = [0, 0, 0, 1, 9, 9, 9, 9, 0, 0, 0, 1];
    let packets = [
        &opening(HASH)[..],
        &syn,
        &data,
        &state,
        &tracker,
        b"GET / HTTP/1.1\r\n\r\n",
        b"d",
        b"d9:",
        &[0x2a; 32],
        &[0xff; 200],
        &[0x40],
    ];
    for packet in packets {
        stranger.send_to(packet, node.address()).await.unwrap();
    }
    // It has received all of them once a later sender is answered.
    let member = Node::start().await;
    member.dial(&node).await;
    let mut answer = [0; 2_048];
    let received = stranger.try_recv_from(&mut answer);
    assert!(received.is_err(), "{received:?}");
    member.stop().await;
    node.stop().await;
}
