#![allow(clippy::unwrap_used)]
use std::{net::Ipv4Addr, sync::Arc};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{self, pki_types::PrivateKeyDer},
};

use super::*;
use crate::{
    disguise::{Persona, Torrents},
    tracker::announce::{Announce, Event},
    transport::Proxy,
};

const PATIENCE: Duration = Duration::from_secs(30);
const GOOD: &[u8] = b"d8:intervali1800e5:peers0:e";

fn config(disguise: Disguise) -> TrackerConfig {
    TrackerConfig {
        torrents: Torrents::new(disguise, &mut rand::rng()),
        ..TrackerConfig::new(1)
    }
}

/// Answers requests; reports the bytes of each, and the number of its connection.
async fn tracker(keep: bool) -> (u16, mpsc::Receiver<(usize, String)>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, requests) = mpsc::channel(64);
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((mut tcp, _)) = listener.accept().await {
            number += 1;
            let sender = sender.clone();
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match tcp.read_u8().await {
                            Ok(byte) => head.push(byte),
                            Err(_) => return,
                        }
                    }
                    let head = String::from_utf8(head).unwrap();
                    sender.send((number, head)).await.unwrap();
                    let length = GOOD.len();
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                    let answer = [answer.as_bytes(), GOOD].concat();
                    tcp.write_all(&answer).await.unwrap();
                    if !keep {
                        return;
                    }
                }
            });
        }
    });
    (port, requests)
}

/// Each recorded request, sent by us as the recorded client, arrives as in the recording.
#[tokio::test]
async fn whole_requests_are_those_of_the_recorded_clients() {
    let transmission = Persona {
        peer_id: *b"-TR3000-eca5j3r51ax5",
        key: 0x2b57_93c1,
    };
    let qbittorrent = Persona {
        peer_id: *b"-qB4520-H3(gX5d39TTS",
        key: 0x02fb_2a41,
    };
    let hash = *b"\x00\xa5\x7e\x2d\x5f\x2e\x21\x2a\x27\x28\x29\x7e\x41\x7a\x30\x5c\x20\xff\x0a\x7f";
    for (disguise, persona, port, recorded) in [
        (
            Disguise::Transmission300,
            transmission,
            51_413,
            include_str!("../../../tests/captures/transmission-3.00.http"),
        ),
        (
            Disguise::Qbittorrent452,
            qbittorrent,
            30_680,
            include_str!("../../../tests/captures/qbittorrent-4.5.2.http"),
        ),
    ] {
        let (at, mut requests) = tracker(true).await;
        let http = Http::new(&config(disguise)).unwrap();
        let url: Url = format!("http://127.0.0.1:{at}/announce").parse().unwrap();
        let mut sent = Vec::new();
        for recorded in recorded.split_inclusive("\r\n\r\n") {
            // Queries are compared in the tests of announces.
            let Some((_, end)) = recorded.split_once("&supportcrypto=1") else {
                continue;
            };
            let announce = Announce {
                disguise,
                hash: &hash,
                persona: &persona,
                port,
                event: match end {
                    end if recorded.contains("event=started") && !end.is_empty() => Event::Started,
                    _ if recorded.contains("event=stopped") => Event::Stopped,
                    _ => Event::Regular,
                },
                tracker_id: recorded
                    .contains("trackerid")
                    .then_some(b"TRK-lab-1".as_slice()),
            };
            let body = http.get(announce.url(&url), None, PATIENCE).await.unwrap();
            assert_eq!((body.bytes.as_slice(), body.local), (GOOD, true));
            let (number, request) = requests.recv().await.unwrap();
            let masked = request.replace(&format!("127.0.0.1:{at}"), "tracker.lab.test:7001");
            assert_eq!(masked, recorded);
            sent.push(number);
        }
        assert!(sent.len() >= 2);
        // One keeps its connection open, the other announces that it closes, and does.
        let keeps = disguise == Disguise::Transmission300;
        assert_eq!(sent.iter().all(|number| *number == 1), keeps, "{sent:?}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let (at, mut requests) = tracker(false).await;
    let http = Http::new(&config(Disguise::default())).unwrap();
    let url: Url = format!("http://127.0.0.1:{at}/announce").parse().unwrap();
    for expected in 1..=3 {
        http.get(url.clone(), None, PATIENCE).await.unwrap();
        assert_eq!(requests.recv().await.unwrap().0, expected);
    }
}

#[tokio::test]
async fn a_request_is_restricted_to_its_family() {
    let (at, mut requests) = tracker(true).await;
    let http = Http::new(&config(Disguise::default())).unwrap();
    let url: Url = format!("http://127.0.0.1:{at}/announce").parse().unwrap();
    let six = http.get(url.clone(), Some(Family::V6), PATIENCE).await;
    assert_eq!(six.unwrap_err(), HttpError::OtherFamily);
    assert!(http.get(url, Some(Family::V4), PATIENCE).await.is_ok());
    assert_eq!(requests.recv().await.unwrap().0, 1);
}

/// Plain HTTP is sent through an HTTP proxy as requests for whole URLs, and through a SOCKS proxy unchanged; both
/// resolve names themselves.
#[tokio::test]
async fn proxies_are_given_names() {
    let url: Url = "http://tracker.invalid:81/announce".parse().unwrap();
    let (at, mut requests) = tracker(true).await;
    let proxied = |proxy: String| TrackerConfig {
        proxy: Some(Proxy::parse(&proxy).unwrap()),
        ..config(Disguise::Qbittorrent52)
    };
    let http = Http::new(&proxied(format!("http://ann:pass@127.0.0.1:{at}"))).unwrap();
    let body = http.get(url.clone(), None, PATIENCE).await.unwrap();
    assert_eq!((body.bytes.as_slice(), body.local), (GOOD, false));
    assert_eq!(
        requests.recv().await.unwrap().1,
        "GET http://tracker.invalid:81/announce HTTP/1.1\r\nHost: tracker.invalid:81\r\n\
         Proxy-Authorization: Basic YW5uOnBhc3M=\r\nUser-Agent: qBittorrent/5.2.3\r\n\
         Accept-Encoding: gzip\r\nConnection: close\r\n\r\n"
    );
    let inside: Url = "http://10.0.0.1/other".parse().unwrap();
    let refused = http.get(inside, None, PATIENCE).await.unwrap_err();
    assert_eq!(refused, HttpError::PrivateTracker);

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let socks = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.read_exact(&mut [0; 3]).await.unwrap();
        tcp.write_all(&[5, 0]).await.unwrap();
        let mut name = vec![0; 4 + 1 + "tracker.invalid".len() + 2];
        tcp.read_exact(&mut name).await.unwrap();
        tcp.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let mut tracker = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, at))
            .await
            .unwrap();
        // Until one of them closes.
        let _ = tokio::io::copy_bidirectional(&mut tcp, &mut tracker).await;
        name
    });
    let http = Http::new(&proxied(format!("socks5h://{socks}"))).unwrap();
    assert!(http.get(url, None, PATIENCE).await.is_ok());
    let head = requests.recv().await.unwrap().1;
    assert!(head.starts_with("GET /announce HTTP/1.1\r\nHost: tracker.invalid:81\r\nUser"));
    drop(http);
    let name = asked.await.unwrap();
    assert_eq!(&name[5..20], b"tracker.invalid");
}

/// A TLS server for `name`, and the certificate of its authority.
async fn secure_tracker(name: &str) -> (u16, Vec<u8>) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let authority = params.self_signed(&authority_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()])
        .unwrap()
        .signed_by(&key, &authority, &authority_key)
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(tcp).await else {
                continue;
            };
            let mut request = [0; 2_048];
            if tls.read(&mut request).await.is_ok_and(|n| n > 0) {
                let length = GOOD.len();
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                let _ = tls.write_all(&[head.as_bytes(), GOOD].concat()).await;
                let _ = tls.shutdown().await;
            }
        }
    });
    (port, authority.der().to_vec())
}

#[tokio::test]
async fn certificates_are_verified() {
    for disguise in Disguise::ALL {
        let (port, authority) = secure_tracker("localhost").await;
        let url: Url = format!("https://localhost:{port}/announce")
            .parse()
            .unwrap();
        let stranger = Http::new(&config(disguise)).unwrap();
        let error = stranger.get(url.clone(), None, PATIENCE).await.unwrap_err();
        assert!(
            matches!(&error, HttpError::Tls(why) if why.contains("UnknownIssuer")),
            "{error}"
        );
        let config = TrackerConfig {
            roots: vec![authority],
            ..config(disguise)
        };
        let http = Http::new(&config).unwrap();
        let body = http.get(url, None, PATIENCE).await.unwrap();
        assert_eq!(body.bytes, GOOD);
        // The right authority, for another name.
        let url: Url = format!("https://127.0.0.1:{port}/announce")
            .parse()
            .unwrap();
        let error = http.get(url, None, PATIENCE).await.unwrap_err();
        assert!(
            matches!(&error, HttpError::Tls(why) if why.contains("not valid for name")),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_without_tls_is_reported() {
    let (at, _requests) = tracker(true).await;
    let http = Http::new(&config(Disguise::default())).unwrap();
    let url: Url = format!("https://127.0.0.1:{at}/announce").parse().unwrap();
    let end = tokio::time::timeout(PATIENCE, http.get(url, None, Duration::from_secs(1)));
    // It waits for lines that TLS never sends, and we wait for TLS.
    assert!(end.await.unwrap().is_err());
}
