//! Trackers that others wrote: opentracker, npm's bittorrent-tracker, and qBittorrent's own. Over HTTP and UDP, IPv4
//! and IPv6, members in every disguise that announce one after the other are named to each other, and forgotten after
//! their farewell.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::{
    io::{BufRead, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_actors::{
    internals::{
        disguise::Torrents,
        kit::Scope,
        tracker::{TrackerConfig, TrackerPeers, Trackers, Watch},
        transport::{EVENTS, Transport, TransportConfig, TransportEvent},
    },
    settings::Disguise,
    status::{Metrics, TrackerState, TrackerStatus},
};
use bitchat_wire::channel::{ChannelId, EpochKeys};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

#[path = "../../tests/src/skip.rs"]
#[allow(dead_code, unreachable_pub)]
mod skip;

use skip::{has_ipv6, skip};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn keys() -> (ChannelId, EpochKeys) {
    let cid = ChannelId([8; 32]);
    (cid, EpochKeys::derive(cid, 0, &[9; 32]))
}

/// A node's port and its trackers.
struct Member {
    transport: Transport,
    trackers: Trackers,
    sender: mpsc::Sender<TrackerPeers>,
    found: mpsc::Receiver<TrackerPeers>,
    scopes: [Scope; 2],
    _events: mpsc::Receiver<TransportEvent>,
}

impl Member {
    async fn start(ip: IpAddr, disguise: Disguise) -> Self {
        let (below, _) = Scope::new(Metrics::default());
        let above = below.layer();
        let config = TransportConfig::new(vec![ip], 0, Zeroizing::new([1; 64]));
        let (sender, events) = mpsc::channel(EVENTS);
        let transport = Transport::start(config, &below, sender).await.unwrap();
        let (sender, found) = mpsc::channel(8);
        let config = TrackerConfig {
            udp: Some(transport.udp()),
            torrents: Torrents::new(disguise, &mut rand::rng()),
            ..TrackerConfig::new(transport.port())
        };
        let trackers = Trackers::start_with(config, &above);
        Self {
            transport,
            trackers,
            sender,
            found,
            scopes: [above, below],
            _events: events,
        }
    }

    /// Announces; the tracker must answer well.
    async fn watch(&self, url: &str) {
        let status = self.answered(url).await;
        assert_eq!(status.state, TrackerState::Working, "{status:?}");
        assert_eq!(status.error, None);
    }

    /// Whether the tracker answers well.
    async fn serves(self, url: &str) -> bool {
        let served = self.answered(url).await.state == TrackerState::Working;
        self.stop().await;
        served
    }

    async fn answered(&self, url: &str) -> TrackerStatus {
        let (cid, keys) = keys();
        let watch = Watch {
            cid,
            tiers: vec![vec![url.to_owned()]],
            keys,
            not_before: Instant::now(),
            found: self.sender.clone(),
        };
        self.trackers.watch(watch).await;
        let begin = Instant::now();
        loop {
            let status = self.trackers.status(cid).await.swap_remove(0);
            if matches!(status.state, TrackerState::Working | TrackerState::Failing) {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "{status:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn found(&mut self) -> TrackerPeers {
        let found = tokio::time::timeout(PATIENCE, self.found.recv()).await;
        found.expect("it takes milliseconds").unwrap()
    }

    async fn stop(self) {
        for scope in &self.scopes {
            assert!(scope.stop(PATIENCE).await);
        }
    }
}

/// Two members meet by that tracker, whatever their disguise.
async fn meet(url: &str, ip: IpAddr) {
    for disguise in Disguise::ALL {
        meet_as(disguise, url, ip).await;
    }
}

/// Two members meet by that tracker; one that came and left is not named to the second.
async fn meet_as(disguise: Disguise, url: &str, ip: IpAddr) {
    let gone = Member::start(ip, disguise).await;
    gone.watch(url).await;
    let left = SocketAddr::new(ip, gone.transport.port());
    gone.stop().await;
    let a = Member::start(ip, disguise).await;
    let mut b = Member::start(ip, disguise).await;
    a.watch(url).await;
    b.watch(url).await;
    let found = b.found().await;
    let at_a = SocketAddr::new(ip, a.transport.port());
    assert!(found.peers.contains(&at_a), "{url}: {found:?}");
    assert!(!found.peers.contains(&left), "{url}: {found:?}");
    assert!(found.local && found.tracker == url);
    a.stop().await;
    b.stop().await;
}

/// A process that ends with the test.
struct Partner(Child);

impl Drop for Partner {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago for TCP and UDP, on `::1`, too, where there is one.
fn free_port() -> u16 {
    let no_ipv6 = UdpSocket::bind((V6, 0)).is_err();
    loop {
        let tcp = TcpListener::bind((V4, 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        let free = UdpSocket::bind((V4, port)).is_ok()
            && (no_ipv6
                || UdpSocket::bind((V6, port)).is_ok() && TcpListener::bind((V6, port)).is_ok());
        if free {
            return port;
        }
    }
}

fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")])
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

fn until_listening(port: u16, ip: IpAddr) {
    let begin = Instant::now();
    while std::net::TcpStream::connect((ip, port)).is_err() {
        assert!(begin.elapsed() < PATIENCE, "the tracker does not start");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The node_modules folder with bittorrent-tracker, which `./test` has made. A test does not fetch it: npm waits for a
/// network that is not there, without end.
fn npm_modules() -> Option<PathBuf> {
    program("node")?;
    std::env::var_os("BITCHAT_TEST_NPM").map(PathBuf::from)
}

fn npm_tracker(modules: &Path, port: u16, host4: &str) -> Partner {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/partners/npm_tracker.mjs");
    let host6 = match UdpSocket::bind((V6, 0)) {
        Ok(_) => "::1",
        Err(_) => "-",
    };
    let mut child = Command::new(program("node").unwrap())
        .arg(script)
        .arg(modules)
        .args([&port.to_string(), host4, host6])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line.trim(), "listening");
    Partner(child)
}

#[tokio::test]
async fn npm_bittorrent_tracker_over_http_and_udp_by_both_families() {
    let Some(modules) = npm_modules() else {
        skip(
            "BITCHAT_TEST_NPM does not name a node_modules with bittorrent-tracker, as ./test makes it",
        );
        return;
    };
    let port = free_port();
    let four = npm_tracker(&modules, port, "127.0.0.1");
    meet(&format!("http://127.0.0.1:{port}/announce"), V4).await;
    drop(four);
    let port = free_port();
    let _four = npm_tracker(&modules, port, "127.0.0.1");
    meet(&format!("udp://127.0.0.1:{port}/announce"), V4).await;
    if !has_ipv6() {
        return;
    }
    let port = free_port();
    let _six = npm_tracker(&modules, port, "-");
    meet(&format!("http://[::1]:{port}/announce"), V6).await;
    let port = free_port();
    let _six = npm_tracker(&modules, port, "-");
    // This tracker's UDP answers name peers of IPv4 only: by IPv6 there is nobody to be found, but an answer.
    for disguise in Disguise::ALL {
        let alone = Member::start(V6, disguise).await;
        alone.watch(&format!("udp://[::1]:{port}/announce")).await;
        alone.stop().await;
    }
}

#[tokio::test]
async fn opentracker_over_http_and_udp() {
    let Some(opentracker) = program("opentracker") else {
        skip("opentracker is not installed");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    // It drops its rights before it reads the list.
    let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), readable).unwrap();
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let hashes: Vec<String> = keys()
        .1
        .announced(unix.as_secs())
        .iter()
        .map(|hash| format!("{}\n", hex::encode(hash.0)))
        .collect();
    let port = free_port();
    std::fs::write(folder.path().join("hashes.txt"), hashes.concat()).unwrap();
    let port_text = port.to_string();
    let child = Command::new(&opentracker)
        .args(["-i", "127.0.0.1", "-p", &port_text, "-P", &port_text])
        .args(["-u", "nobody", "-w", "hashes.txt", "-d"])
        .arg(folder.path())
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let _partner = Partner(child);
    until_listening(port, V4);
    // It reads the list of hashes a little later.
    let first = format!("http://127.0.0.1:{port}/announce");
    let begin = Instant::now();
    while !Member::start(V4, Disguise::default())
        .await
        .serves(&first)
        .await
    {
        assert!(begin.elapsed() < PATIENCE, "opentracker refuses");
    }
    for (scheme, path) in [("http", "/announce"), ("udp", ""), ("udp", "/announce")] {
        meet(&format!("{scheme}://127.0.0.1:{port}{path}"), V4).await;
    }
}

/// qBittorrent serves a tracker of its own, by HTTP.
#[tokio::test]
async fn qbittorrents_own_tracker() {
    let Some(qbittorrent) = program("qbittorrent-nox") else {
        skip("qbittorrent-nox is not installed");
        return;
    };
    let profile = tempfile::tempdir().unwrap();
    let folder = profile.path().join("qBittorrent/config");
    std::fs::create_dir_all(&folder).unwrap();
    let (port, peers, web) = (free_port(), free_port(), free_port());
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n\n[Preferences]\nAdvanced\\trackerPort={port}\nWebUI\\Address=127.0.0.1\n\
         WebUI\\Port={web}\n\n[BitTorrent]\nTrackerEnabled=true\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\n\
         Session\\Port={peers}\nSession\\InterfaceAddress=127.0.0.1\n\n[Network]\nPortForwardingEnabled=false\n"
    );
    std::fs::write(folder.join("qBittorrent.conf"), settings).unwrap();
    let child = Command::new(qbittorrent)
        .arg(format!("--profile={}", profile.path().display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _partner = Partner(child);
    until_listening(port, V4);
    meet(&format!("http://127.0.0.1:{port}/announce"), V4).await;
}
