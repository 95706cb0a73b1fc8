#![allow(clippy::unwrap_used)]
//! Routers that send false or malformed responses. Honest ones are in `tests/tests/portmap.rs`.

use std::sync::{Arc, Mutex};

use rand::RngExt;
use tokio::net::UdpSocket;

use super::*;

/// A router on loopback that answers each request with what `answer` makes of it.
async fn router(
    answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + 'static,
) -> (Wish, Arc<Mutex<Vec<Vec<u8>>>>) {
    let (socket, gateway) = loop {
        // The port is fixed, so each test has an address of its own.
        let (b, c, d) = rand::rng().random::<(u8, u8, u8)>();
        let ip = Ipv4Addr::new(127, b, c, d.clamp(2, 250));
        if let Ok(socket) = UdpSocket::bind((ip, crab_nat::GATEWAY_PORT)).await {
            break (socket, ip);
        }
    };
    let received = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&received);
    tokio::spawn(async move {
        let mut buffer = [0; 2_048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            log.lock().unwrap().push(buffer[..length].to_vec());
            if let Some(bytes) = answer(&buffer[..length]) {
                let _ = socket.send_to(&bytes, from).await;
            }
        }
    });
    let port = NonZeroU16::new(7_001).unwrap();
    let wish = Wish {
        local: Ipv4Addr::LOCALHOST,
        port,
        outer: port,
        gateway: Some(gateway),
        nonce: [1, 2, 3],
        description: String::new(),
    };
    (wish, received)
}

/// A router that supports NAT-PMP (RFC 6886, 3.2 and 3.3) and has that external address.
fn natpmp_at(ip: Ipv4Addr) -> impl Fn(&[u8]) -> Option<Vec<u8>> {
    move |request| match request {
        // Requests over PCP are answered as not supported.
        [2, ..] => Some(vec![0, 129, 0, 1, 0, 0, 0, 9]),
        [0, 0] => Some([&[0, 128, 0, 0, 0, 0, 0, 9][..], &ip.octets()].concat()),
        [0, code, _, _, inside @ .., _, _, _, _, _, _] if request.len() == 12 => {
            let head = [0, code + 128, 0, 0, 0, 0, 0, 9];
            Some([&head[..], inside, &request[6..12]].concat())
        }
        _ => None,
    }
}

#[tokio::test]
async fn a_router_behind_a_router_is_rejected_and_its_mapping_removed() {
    let (wish, received) = router(natpmp_at(Ipv4Addr::new(192, 168, 7, 2))).await;
    let why = ask(&wish).await.unwrap_err();
    assert!(
        why.contains("NAT-PMP") || why.contains("behind another one"),
        "{why}"
    );
    assert!(why.contains("192.168.7.2"), "{why}");
    let removed = |code| {
        let received = received.lock().unwrap();
        received.iter().any(|request| {
            request.len() == 12 && request[1] == code && request[4..] == [27, 89, 0, 0, 0, 0, 0, 0]
        })
    };
    assert!(removed(1) && removed(2), "{:?}", received.lock().unwrap());
}

#[tokio::test]
async fn an_honest_mapping_is_taken_renewed_and_removed() {
    let (wish, received) = router(natpmp_at(Ipv4Addr::new(9, 9, 9, 9))).await;
    let granted = ask(&wish).await.unwrap();
    assert_eq!(granted.protocol, Protocol::NatPmp);
    assert_eq!(granted.external, "9.9.9.9:7001".parse().unwrap());
    assert!(granted.tcp);
    assert_eq!(granted.lifetime, LIFETIME);
    let granted = renew(granted.held, &wish).await.unwrap();
    assert_eq!(granted.external, "9.9.9.9:7001".parse().unwrap());
    received.lock().unwrap().clear();
    remove(granted.held).await;
    assert_eq!(received.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn a_malformed_response_is_not_a_mapping() {
    for length in [0, 1, 3, 8, 12, 16, 24, 60, 1_100, 1_400] {
        for fill in [0, 2, 128, 255] {
            let (wish, _) = router(move |_| Some(vec![fill; length])).await;
            let end = pmp(Protocol::Pcp, wish.gateway.unwrap(), &wish).await;
            assert!(end.is_err(), "{length} times {fill}");
            let end = pmp(Protocol::NatPmp, wish.gateway.unwrap(), &wish).await;
            assert!(end.is_err(), "{length} times {fill}");
        }
    }
}

#[tokio::test]
async fn a_mapping_at_port_0_is_rejected() {
    let (wish, _) = router(|request| {
        let mut answer = natpmp_at(Ipv4Addr::new(9, 9, 9, 9))(request)?;
        if answer.len() == 16 {
            answer[10..12].fill(0);
        }
        Some(answer)
    })
    .await;
    assert!(
        pmp(Protocol::NatPmp, wish.gateway.unwrap(), &wish)
            .await
            .is_err()
    );
}
