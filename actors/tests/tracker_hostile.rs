//! Trackers that are broken or mean, each a real TCP server: every fault is survived, shown in words a
//! user understands, and bounded in time and memory. One more test reads the bytes of an announce.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    future::Future,
    io::Write,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bitchat_actors::{
    internals::{
        kit::Scope,
        tracker::{TrackerConfig, TrackerPeers, Trackers, Watch},
    },
    status::{Metrics, TrackerState, TrackerStatus},
};
use bitchat_wire::channel::{ChannelId, EpochKeys};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// For these tests 127.0.0.1, and with it the name `localhost`, is a private network and the rest of the
/// loopback network is the public Internet.
fn only_the_first_is_local(ip: IpAddr) -> bool {
    ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip.is_ipv6()
}

struct Bench {
    trackers: Trackers,
    found: mpsc::Receiver<TrackerPeers>,
    scope: Scope,
    watch: Watch,
}

fn watch(urls: &[String], found: mpsc::Sender<TrackerPeers>) -> Watch {
    let cid = ChannelId([5; 32]);
    Watch {
        cid,
        tiers: urls.iter().map(|url| vec![url.clone()]).collect(),
        keys: EpochKeys::derive(cid, 0, &[6; 32]),
        not_before: Instant::now(),
        found,
    }
}

impl Bench {
    async fn start(urls: &[String], timeout: Duration) -> Self {
        let config = TrackerConfig {
            timeout,
            is_local: only_the_first_is_local,
            ..TrackerConfig::new(51413)
        };
        let (scope, _deaths) = Scope::new(Metrics::default());
        let (sender, found) = mpsc::channel(8);
        let trackers = Trackers::start_with(config, &scope);
        let watch = watch(urls, sender);
        trackers.watch(watch.clone()).await;
        Self {
            trackers,
            found,
            scope,
            watch,
        }
    }

    /// The first tracker's state once it has answered or failed.
    async fn settled(&self) -> TrackerStatus {
        let start = Instant::now();
        loop {
            let status = self.trackers.status(self.watch.cid).await.swap_remove(0);
            if matches!(status.state, TrackerState::Working | TrackerState::Failing) {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{status:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Serves each connection's requests with `answer`, which is given the path and query; returns the address.
async fn serve<F, Fut>(ip: [u8; 4], answer: F) -> SocketAddr
where
    F: Fn(String, TcpStream) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind(SocketAddr::from((ip, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let head = read_head(&mut stream).await;
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                answer(target, stream).await;
            });
        }
    });
    address
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|n| n == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

fn redirect(to: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    .into_bytes()
}

/// A "public" tracker that always sends these bytes.
async fn constant(bytes: Vec<u8>) -> SocketAddr {
    let bytes = Arc::new(bytes);
    serve([127, 0, 0, 2], move |_, mut stream| {
        let bytes = Arc::clone(&bytes);
        async move {
            let _ = stream.write_all(&bytes).await;
        }
    })
    .await
}

async fn verdict(url: String, timeout: Duration) -> TrackerStatus {
    let bench = Bench::start(&[url], timeout).await;
    let status = bench.settled().await;
    assert!(bench.scope.stop(PATIENCE).await);
    assert_eq!(bench.scope.metrics().kit.restarts_of("tracker"), 0);
    status
}

async fn error_of(bytes: Vec<u8>) -> String {
    let address = constant(bytes).await;
    let status = verdict(format!("http://{address}/announce"), PATIENCE).await;
    assert_eq!(status.state, TrackerState::Failing);
    assert!(status.next_announce.is_some());
    status.error.unwrap()
}

fn gzip(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for part in parts {
        encoder.write_all(&part).unwrap();
    }
    encoder.finish().unwrap()
}

const GOOD: &[u8] = b"d8:intervali1800e5:peers6:\x09\x09\x09\x09\x1a\xe1e";

#[tokio::test]
async fn error_pages_and_nonsense_are_told_apart() {
    let page = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops".to_vec();
    assert_eq!(
        error_of(page).await,
        "answered with an error page (HTTP 500)"
    );
    let html = ok(
        "Content-Type: text/html\r\n",
        b"<html><body>Buy this domain</body></html>",
    );
    assert_eq!(
        error_of(html).await,
        "answered with something that is not bencode"
    );
    let refused = ok(
        "",
        b"d14:failure reason27:unregistered\x1b[31m\ntorrent\x00\x00e",
    );
    assert_eq!(error_of(refused).await, "refused: unregistered[31m torrent");
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\nd8:inter".to_vec();
    assert_eq!(error_of(cut).await, "broke off, or does not speak HTTP");
    assert_eq!(
        error_of(b"220 smtp ready\r\n".to_vec()).await,
        "broke off, or does not speak HTTP"
    );
    let swapped = ok("Content-Encoding: gzip\r\n", b"this is no gzip at all");
    assert_eq!(error_of(swapped).await, "broke off, or does not speak HTTP");
}

#[tokio::test]
async fn depth_and_numbers_are_bounded() {
    let deep = [
        b"d5:peers".as_slice(),
        &b"l".repeat(100_000),
        &b"e".repeat(100_001),
    ]
    .concat();
    assert_eq!(
        error_of(ok("", &deep)).await,
        "answered with bencode beyond all bounds (nested more than 8 levels deep)"
    );
    let peers: Vec<u8> = (0..10_000u32)
        .flat_map(|n| [9, 1, (n >> 8) as u8, n as u8, 1, 1])
        .collect();
    let body = [b"d8:intervali1800e5:peers60000:".as_slice(), &peers, b"e"].concat();
    let address = constant(ok("", &body)).await;
    let mut bench = Bench::start(&[format!("http://{address}/announce")], PATIENCE).await;
    assert_eq!(bench.found.recv().await.unwrap().peers.len(), 1_000);
    assert_eq!(bench.settled().await.peers, 1_000);
    assert!(bench.scope.stop(PATIENCE).await);
}

#[tokio::test]
async fn bodies_are_bounded() {
    let address = serve([127, 0, 0, 2], |_, mut stream| async move {
        let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
        let mut open = stream.write_all(head).await.is_ok();
        while open {
            open = stream.write_all(&chunk).await.is_ok();
        }
    })
    .await;
    let endless = verdict(format!("http://{address}/announce"), PATIENCE).await;
    assert_eq!(endless.error.unwrap(), "answered with more than 1 MiB");

    // 256 MiB in 256 KiB.
    let bomb = gzip((0..256).map(|_| vec![0; 1 << 20]));
    assert!(bomb.len() < 1 << 19);
    let answer = ok("Content-Encoding: gzip\r\n", &bomb);
    assert_eq!(error_of(answer).await, "answered with more than 1 MiB");
}

#[tokio::test]
async fn the_dead_and_the_slow_end_by_the_clock() {
    let second = Duration::from_secs(1);
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let url = format!("http://{}/announce", silent.local_addr().unwrap());
    assert_eq!(
        verdict(url, second).await.error.unwrap(),
        "no answer within 1 s"
    );

    let closed = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let url = format!("http://{}/announce", closed.local_addr().unwrap());
    drop(closed);
    assert_eq!(
        verdict(url, PATIENCE).await.error.unwrap(),
        "refused the connection"
    );

    // A byte at a time, for ever: each read succeeds, the whole does not.
    let drip = serve([127, 0, 0, 2], |_, mut stream| async move {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nd").await;
        while stream.write_all(b"1").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let url = format!("http://{drip}/announce");
    assert_eq!(
        verdict(url, second).await.error.unwrap(),
        "no answer within 1 s"
    );

    let url = "http://no-such-name.invalid/announce".to_owned();
    assert_eq!(
        verdict(url, PATIENCE).await.error.unwrap(),
        "its name cannot be resolved"
    );
}

#[tokio::test]
async fn redirects_are_followed_within_bounds() {
    let good = constant(ok("", GOOD)).await;
    let address = constant(redirect(&format!("http://{good}/elsewhere?x=1"))).await;
    let mut bench = Bench::start(&[format!("http://{address}/announce")], PATIENCE).await;
    assert_eq!(bench.found.recv().await.unwrap().peers.len(), 1);
    assert!(bench.scope.stop(PATIENCE).await);

    assert_eq!(error_of(redirect("/announce")).await, "redirects in a loop");
    let next = Arc::new(AtomicUsize::new(0));
    let ever_on = serve([127, 0, 0, 2], move |_, mut stream| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        async move {
            let _ = stream.write_all(&redirect(&format!("/{number}"))).await;
        }
    })
    .await;
    let status = verdict(format!("http://{ever_on}/announce"), PATIENCE).await;
    assert_eq!(status.error.unwrap(), "redirects more than 5 times");

    for nowhere in ["ftp://t.example/", "http://", "javascript:1"] {
        let error = error_of(redirect(nowhere)).await;
        assert_eq!(
            error, "redirects to something that is not a web address",
            "{nowhere}"
        );
    }
}

#[tokio::test]
async fn no_tracker_leads_into_a_private_network() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let inside = serve([127, 0, 0, 1], move |_, mut stream| {
        counter.fetch_add(1, Ordering::Relaxed);
        async move {
            let _ = stream.write_all(&ok("", GOOD)).await;
        }
    })
    .await;
    let port = inside.port();
    for target in [
        format!("http://{inside}/announce"),
        format!("http://localhost:{port}/announce"),
        format!("http://[::ffff:127.0.0.1]:{port}/announce"),
        format!("http://2130706433:{port}/announce"),
    ] {
        let error = error_of(redirect(&target)).await;
        assert_eq!(
            error, "redirects into a private network: refused",
            "{target}"
        );
    }
    let refusal = "is in a private network, where only the path /announce is asked for: refused";
    for target in [
        format!("http://{inside}/admin"),
        format!("http://{inside}/announce/../admin"),
        format!("http://localhost:{port}/"),
    ] {
        let status = verdict(target, PATIENCE).await;
        assert_eq!(status.error.as_deref(), Some(refusal));
    }
    assert_eq!(
        asked.load(Ordering::Relaxed),
        0,
        "nothing was ever sent there"
    );

    // A tracker that stands there itself is welcome, by number and by name, and says so.
    for host in ["127.0.0.1", "localhost"] {
        let url = format!("http://{host}:{port}/announce");
        let mut bench = Bench::start(&[url], PATIENCE).await;
        assert!(bench.found.recv().await.unwrap().local);
        assert!(bench.scope.stop(PATIENCE).await);
    }
}

#[tokio::test]
async fn compressed_and_chunked_answers_are_read() {
    let zipped = gzip(std::iter::once(GOOD.to_vec()));
    let mut chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for byte in GOOD {
        chunked.extend_from_slice(&[b'1', b'\r', b'\n', *byte, b'\r', b'\n']);
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    for answer in [
        ok("Content-Encoding: gzip\r\n", &zipped),
        chunked,
        ok("", GOOD),
    ] {
        let url = format!("http://{}/announce", constant(answer).await);
        let mut bench = Bench::start(&[url], PATIENCE).await;
        let found = bench.found.recv().await.unwrap();
        assert_eq!(found.peers, ["9.9.9.9:6881".parse().unwrap()]);
        assert!(!found.local);
        assert_eq!(bench.settled().await.state, TrackerState::Working);
        assert!(bench.scope.stop(PATIENCE).await);
    }
}

#[tokio::test]
async fn announces_look_like_a_real_clients() {
    let (sender, mut heads) = mpsc::unbounded_channel();
    let listener = TcpListener::bind("127.0.0.2:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let sender = sender.clone();
            tokio::spawn(async move {
                // Connections are kept and used again, as that client does.
                loop {
                    let head = read_head(&mut stream).await;
                    let body = b"d8:intervali1800e10:tracker id5:a b+c5:peers0:e";
                    let answer =
                        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    let answer = [answer.as_bytes(), body].concat();
                    if head.is_empty()
                        || sender.send(head).is_err()
                        || stream.write_all(&answer).await.is_err()
                    {
                        break;
                    }
                }
            });
        }
    });
    let bench = Bench::start(&[format!("http://{address}/announce?pass=1")], PATIENCE).await;
    assert_eq!(bench.settled().await.state, TrackerState::Working);
    bench.trackers.set_port(7).await;
    bench.trackers.announce_now(bench.watch.cid).await;
    bench.trackers.unwatch(bench.watch.cid).await;
    assert_eq!(bench.trackers.status(bench.watch.cid).await, []);
    assert!(bench.scope.stop(PATIENCE).await);

    let unix = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let hashes = bench.watch.keys.announced(unix);
    let mut started = Vec::new();
    let mut stopped = Vec::new();
    while let Ok(head) = heads.try_recv() {
        let (line, headers) = head.split_once("\r\n").unwrap();
        assert_eq!(
            headers,
            format!(
                "Host: {address}\r\nUser-Agent: Transmission/4.1.3\r\nAccept: */*\r\nAccept-Encoding: deflate, gzip, br, zstd\r\n\r\n"
            )
        );
        let query = line
            .strip_prefix("GET /announce?pass=1&info_hash=")
            .unwrap();
        let query = query.strip_suffix(" HTTP/1.1").unwrap();
        assert!(!query.contains(|c: char| !c.is_ascii_graphic()));
        let escapes = query
            .match_indices('%')
            .map(|(at, _)| &query[at + 1..at + 3]);
        for escape in escapes {
            let byte = u8::from_str_radix(escape, 16).unwrap();
            assert_eq!(escape, format!("{byte:02X}"), "in upper case");
            assert!(!byte.is_ascii_alphanumeric() && !b"-_.~".contains(&byte));
        }
        let hash = query.split('&').next().unwrap().to_owned();
        let rest = &query[hash.len()..];
        let peer_id = rest.strip_prefix("&peer_id=-TR4130-").unwrap();
        let (peer_id, rest) = peer_id.split_at(12);
        assert!(
            peer_id
                .bytes()
                .all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
        );
        let (port, rest) = rest
            .strip_prefix("&port=")
            .unwrap()
            .split_once('&')
            .unwrap();
        let rest = rest
            .strip_prefix("uploaded=0&downloaded=0&left=9223372036854775807&numwant=")
            .unwrap();
        let (wanted, rest) = rest.split_once("&key=").unwrap();
        let (key, rest) = rest.split_at(8);
        assert!(
            key.bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
        );
        match rest {
            "&compact=1&supportcrypto=1&event=started" => {
                assert_eq!((wanted, port), ("80", "51413"));
                started.push((hash, peer_id.to_owned(), key.to_owned()));
            }
            "&compact=1&supportcrypto=1&event=stopped&trackerid=a%20b%2Bc" => {
                assert_eq!((wanted, port), ("0", "7"));
                stopped.push((hash, peer_id.to_owned(), key.to_owned()));
            }
            other => panic!("{other}"),
        }
    }
    assert!(started.len() >= hashes.len());
    started.sort();
    stopped.sort();
    assert_eq!(
        started, stopped,
        "each swarm's own peer id and key, from beginning to end"
    );
}

#[tokio::test]
async fn stopping_is_quick_when_trackers_do_not_answer() {
    let count = Arc::new(AtomicUsize::new(0));
    let address = serve([127, 0, 0, 2], move |target, mut stream| {
        let count = Arc::clone(&count);
        async move {
            if target.contains("event=stopped") {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(PATIENCE).await;
            }
            let _ = stream.write_all(&ok("", GOOD)).await;
        }
    })
    .await;
    let bench = Bench::start(&[format!("http://{address}/announce")], PATIENCE).await;
    bench.settled().await;
    let start = Instant::now();
    assert!(bench.scope.stop(PATIENCE).await);
    assert!(start.elapsed() < PATIENCE / 4, "{:?}", start.elapsed());
    assert_eq!(bench.scope.running(), 0);
}
