#![allow(clippy::unwrap_used)]
use proptest::prelude::*;
use tokio::net::TcpListener;

use super::*;

fn name(text: &str) -> Host<String> {
    Host::Domain(text.to_owned())
}

/// What is written, and the end, when a proxy answers with these bytes.
fn talk(url: &str, host: &Host<String>, mut answers: &[u8]) -> (Vec<Vec<u8>>, Option<ProxyError>) {
    let proxy = Proxy::parse(url).unwrap();
    let (mut dialogue, bytes) = proxy.dialogue(host, 443);
    let mut written = vec![bytes.to_vec()];
    loop {
        let wants = dialogue.wants();
        if wants == 0 {
            assert!(answers.is_empty(), "it reads nothing of the other end's");
            return (written, None);
        }
        let (now, rest) = answers.split_at(wants);
        answers = rest;
        match dialogue.received(now) {
            Ok(bytes) if bytes.is_empty() => {}
            Ok(bytes) => written.push(bytes.to_vec()),
            Err(error) => return (written, Some(error)),
        }
    }
}

#[test]
fn urls_are_understood_or_refused() {
    for (url, shown) in [
        ("http://proxy:8080", "http://proxy:8080"),
        ("http://proxy", "http://proxy:80"),
        ("socks5://127.0.0.1", "socks5h://127.0.0.1:1080"),
        ("socks5h://[::1]:9050", "socks5h://[::1]:9050"),
        ("http://u:secret@proxy:1", "http://proxy:1"),
    ] {
        let proxy = Proxy::parse(url).unwrap();
        assert_eq!(proxy.to_string(), shown);
        assert!(!format!("{proxy:?} {:?}", proxy.status()).contains("secret"));
    }
    for (url, error) in [
        ("https://proxy:1", ProxyUrlError::Tls),
        ("ftp://proxy", ProxyUrlError::Kind),
        ("proxy:3128", ProxyUrlError::Kind),
        ("socks5h://", ProxyUrlError::Kind),
        ("http://a%3ab:x@p", ProxyUrlError::Credentials),
        ("http://a%0d%0a:x@p", ProxyUrlError::Credentials),
        ("http://a%ff:x@p", ProxyUrlError::Credentials),
    ] {
        assert_eq!(Proxy::parse(url).unwrap_err(), error, "{url}");
    }
    let proxy = Proxy::parse("socks5h://a%3ab:p%40ss@p:1").unwrap();
    let credentials = proxy.credentials.as_ref().unwrap();
    assert_eq!(
        (credentials.user.as_str(), credentials.password.as_str()),
        ("a:b", "p@ss")
    );
}

#[test]
fn http_connect() {
    let (written, end) = talk(
        "http://ann:pass@p:1",
        &name("peer.example"),
        b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n",
    );
    assert_eq!(end, None);
    assert_eq!(
        String::from_utf8_lossy(&written[0]),
        "CONNECT peer.example:443 HTTP/1.1\r\nHost: peer.example:443\r\n\
         Proxy-Authorization: Basic YW5uOnBhc3M=\r\n\r\n"
    );
    let v6 = Host::Ipv6("2001:db8::1".parse().unwrap());
    let (written, _) = talk("http://p:1", &v6, b"HTTP/1.0 200\r\n\r\n");
    assert!(written[0].starts_with(b"CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"));
    for (answer, error) in [
        (
            &b"HTTP/1.1 407 Who are you\r\n\r\n"[..],
            ProxyError::Unauthorised,
        ),
        (b"HTTP/1.1 403 No\r\n\r\n", ProxyError::Forbidden),
        (b"HTTP/1.1 502 Bad gateway\r\n\r\n", ProxyError::NoWay),
        (b"HTTP/2 200\r\n\r\n", ProxyError::Garbled),
        (b"SSH-2.0-x\r\n\r\n", ProxyError::Garbled),
    ] {
        assert_eq!(talk("http://p:1", &v6, answer).1, Some(error));
    }
    assert_eq!(
        talk("http://p:1", &v6, &[b'x'; 9_000]).1,
        Some(ProxyError::Garbled)
    );
}

#[test]
fn socks5() {
    let host = name("peer.example");
    let (written, end) = talk(
        "socks5h://p:1",
        &host,
        &[5, 0, 5, 0, 0, 1, 127, 0, 0, 1, 0, 80],
    );
    assert_eq!(end, None);
    assert_eq!(written[0], [5, 1, 0]);
    assert_eq!(written[1], b"\x05\x01\x00\x03\x0cpeer.example\x01\xbb");
    let (written, end) = talk(
        "socks5://ann:pass@p:1",
        &Host::Ipv4("192.0.2.1".parse().unwrap()),
        b"\x05\x02\x01\x00\x05\x00\x00\x03\x01x\x00\x50",
    );
    assert_eq!(end, None);
    assert_eq!(written[0], [5, 2, 0, 2]);
    assert_eq!(written[1], b"\x01\x03ann\x04pass");
    assert_eq!(written[2], [5, 1, 0, 1, 192, 0, 2, 1, 1, 187]);
    for (answer, error) in [
        (&[5, 255][..], ProxyError::Unauthorised),
        (&[5, 2, 1, 1], ProxyError::Unauthorised),
        (&[5, 0, 5, 2, 0, 1], ProxyError::Forbidden),
        (&[5, 0, 5, 5, 0, 1], ProxyError::NoWay),
        (&[5, 0, 5, 0, 0, 9], ProxyError::Garbled),
        (&[4, 0], ProxyError::Garbled),
        (&[5, 7], ProxyError::Garbled),
    ] {
        assert_eq!(talk("socks5h://a:b@p:1", &host, answer).1, Some(error));
    }
    // A method that was not offered.
    assert_eq!(
        talk("socks5h://p:1", &host, &[5, 2]).1,
        Some(ProxyError::Garbled)
    );
}

proptest! {
    #[test]
    fn any_answer_ends_and_stays_within_bounds(
        kind in 0_usize..4,
        answers in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        let url = ["http://p:1", "http://u:p@p:1", "socks5h://p:1", "socks5h://u:p@p:1"][kind];
        let proxy = Proxy::parse(url).unwrap();
        let (mut dialogue, _) = proxy.dialogue(&name("x"), 1);
        let mut rest = &answers[..];
        while dialogue.wants() > 0 && rest.len() >= dialogue.wants() {
            prop_assert!(dialogue.wants() <= dialogue::MOST);
            let (now, later) = rest.split_at(dialogue.wants());
            rest = later;
            if dialogue.received(now).is_err() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_proxy_that_is_gone_is_in_trouble_until_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let proxy = Proxy::parse(&format!("http://{address}")).unwrap();
    assert_eq!(proxy.status().trouble, None);
    let end = proxy.connect(&name("peer.example"), 1).await;
    assert_eq!(end.unwrap_err(), ProxyError::Unreachable);
    let trouble = proxy.clone().status().trouble.unwrap();
    assert!(trouble.contains("cannot be reached"), "{trouble}");
    let listener = TcpListener::bind(address).await.unwrap();
    let answering = tokio::spawn(async move {
        for answer in [
            "HTTP/1.1 404 Not found\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\nhello",
        ] {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(tcp.read_u8().await.unwrap());
            }
            tcp.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let end = proxy.connect(&name("peer.example"), 1).await;
    assert_eq!(end.unwrap_err(), ProxyError::NoWay);
    assert_eq!(proxy.status().trouble, None, "the proxy itself works");
    let mut tcp = proxy.connect(&name("peer.example"), 1).await.unwrap();
    let mut hello = String::new();
    tcp.read_to_string(&mut hello).await.unwrap();
    assert_eq!(hello, "hello");
    answering.await.unwrap();
}
