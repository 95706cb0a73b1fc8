//! Two nodes on one segment, without routes, trackers or DHT, find each other through multicast DNS; and what they send
//! there identifies nobody.
//!
//! Each has its own network namespace, with a cable between them, which takes root and `ip`. The test is three
//! processes: itself, which creates the first namespace; the first node's side in it; and the second's in another.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::Read,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bitchat_tests::{
    process::{NodeProcess, eventually},
    skip::skip,
};
use socket2::{Domain, Protocol, Socket, Type};

/// Variables that name this process's side, and the folder that the processes share.
const SIDE: &str = "LAN_TEST_SIDE";
const FOLDER: &str = "LAN_TEST_FOLDER";
const TEST: &str = "two_nodes_on_a_cable_meet_and_identify_nobody";
const PATIENCE: Duration = Duration::from_secs(60);
/// Limit for a busy machine; the goal is 3 s, and the time that it took is printed.
const BOUND: Duration = Duration::from_secs(20);
const CHANNEL: &str = "gardeners";
const ARGS: &[&str] = &[
    "--no-portmap",
    "--no-dht",
    "--log",
    "info,bitchat_actors=debug",
];
const CABLE: &str = "cable";
/// Ethernet's number for all protocols (`ETH_P_ALL`).
const ALL_PROTOCOLS: u16 = 3;

#[test]
fn two_nodes_on_a_cable_meet_and_identify_nobody() {
    match std::env::var(SIDE).as_deref() {
        Ok("first") => return first(&folder()),
        Ok(_) => return second(&folder()),
        Err(_) => {}
    }
    if !rustix::process::geteuid().is_root() {
        skip("only root can make a network of its own");
        return;
    }
    // Builds the program, if necessary, while there is still a network.
    bitchat_tests::process::binary();
    let dir = tempfile::tempdir().unwrap();
    let status = side("first", dir.path()).wait().unwrap();
    assert!(status.success(), "{status}");
}

fn folder() -> PathBuf {
    std::env::var_os(FOLDER).unwrap().into()
}

/// Runs this test again in a namespace of its own.
fn side(name: &str, folder: &Path) -> Child {
    Command::new("unshare")
        .args(["--net", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", TEST, "--nocapture", "--test-threads=1"])
        .env(SIDE, name)
        .env(FOLDER, folder)
        .spawn()
        .expect("unshare, of util-linux")
}

fn ip(args: &str) {
    let status = Command::new("ip")
        .args(args.split_whitespace())
        .status()
        .expect("ip, of iproute2");
    assert!(status.success(), "ip {args}: {status}");
}

/// Everything that passes the interfaces of this namespace.
struct Capture {
    frames: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
}

impl Capture {
    fn start() -> Self {
        let protocol = Protocol::from(i32::from(ALL_PROTOCOLS.to_be()));
        let mut socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        let (frames, stop) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::<AtomicBool>::default(),
        );
        let (kept, stopped) = (Arc::clone(&frames), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut frame = vec![0; 65_536];
            while !stopped.load(Ordering::Relaxed) {
                // A time-out does not end the capture.
                if let Ok(length) = socket.read(&mut frame) {
                    kept.lock().unwrap().push(frame[..length].to_vec());
                }
            }
        });
        Self { frames, stop }
    }

    /// All frames, and of IPv4 packets the source, protocol and, for UDP, destination port and payload.
    fn seen(&self) -> (Vec<Vec<u8>>, Vec<Packet>) {
        let frames = self.frames.lock().unwrap().clone();
        let packets = frames.iter().filter_map(|frame| packet(frame)).collect();
        (frames, packets)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Packet {
    source: [u8; 4],
    protocol: u8,
    port: u16,
    said: Vec<u8>,
}

/// Frames of loopback have no source address.
fn is_on_cable(frame: &[u8]) -> bool {
    frame[6..12] != [0; 6]
}

/// An Ethernet frame with IPv4 in it.
fn packet(frame: &[u8]) -> Option<Packet> {
    let ip = frame.get(14..).filter(|_| frame[12..14] == [8, 0])?;
    let header = usize::from(ip.first()? & 15) * 4;
    let inner = ip.get(header..)?;
    Some(Packet {
        source: ip.get(12..16)?.try_into().unwrap(),
        protocol: *ip.get(9)?,
        port: u16::from_be_bytes(inner.get(2..4)?.try_into().unwrap()),
        said: inner.get(8..).unwrap_or_default().to_vec(),
    })
}

impl Packet {
    fn is_dns(&self) -> bool {
        self.protocol == 17 && self.port == 5_353
    }
}

/// The first node: it creates the channel and captures the traffic.
fn first(folder: &Path) {
    ip("link set lo up");
    let mut other = side("second", folder);
    // The second side is in its namespace once it says so.
    eventually("the second side is there", PATIENCE, || {
        Ok(folder.join("there").exists().then_some(()))
    })
    .unwrap();
    ip(&format!(
        "link add {CABLE} type veth peer name {CABLE} netns {}",
        other.id()
    ));
    ip(&format!("addr add 10.77.0.1/24 dev {CABLE}"));
    ip(&format!("link set {CABLE} up"));

    let (home, file) = (folder.join("first"), folder.join("channel.chat"));
    let capture = Capture::start();
    let node = NodeProcess::up(&home, &[ARGS, &["--bind", "127.0.0.1"]].concat()).unwrap();
    node.cli(&[
        "channel",
        "create",
        CHANNEL,
        "--out",
        file.to_str().unwrap(),
    ])
    .unwrap();
    eventually("it speaks on loopback", PATIENCE, || {
        Ok(capture.seen().1.iter().any(Packet::is_dns).then_some(()))
    })
    .unwrap();
    std::thread::sleep(Duration::from_secs(1));
    // The cable carries IPv6 neighbour solicitations and nothing else.
    let (frames, _) = capture.seen();
    let on_cable = frames.iter().filter(|frame| is_on_cable(frame));
    let strange: Vec<_> = on_cable.filter_map(|frame| packet(frame)).collect();
    assert!(
        strange.is_empty(),
        "a node on loopback speaks there alone: {strange:?}"
    );
    node.stop().unwrap();
    drop(capture);

    let capture = Capture::start();
    let node = NodeProcess::up(&home, &[ARGS, &["--no-lan"]].concat()).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let info = node.cli_one(&["channel", "info", CHANNEL]).unwrap();
    let lan = |info: &serde_json::Value| -> serde_json::Value {
        let sources = info["sources"].as_array().unwrap();
        sources
            .iter()
            .find(|one| one["source"] == "lan")
            .unwrap()
            .clone()
    };
    assert_eq!(lan(&info)["state"], "off");
    assert!(
        !capture.seen().1.iter().any(Packet::is_dns),
        "it was told not to"
    );
    node.stop().unwrap();

    let node = NodeProcess::up(&home, ARGS).unwrap();
    std::fs::write(folder.join("go"), "").unwrap();
    let status = other.wait().unwrap();
    assert!(status.success(), "{status}");
    let info = node.cli_one(&["channel", "info", CHANNEL]).unwrap();
    assert_eq!(lan(&info)["state"], "working", "{info}");
    check(&capture, &info, &node);
    node.stop().unwrap();
}

/// Checks that the traffic on the cable identifies nobody.
fn check(capture: &Capture, info: &serde_json::Value, node: &NodeProcess) {
    let (mut frames, packets) = capture.seen();
    // The local API uses loopback.
    frames.retain(|frame| is_on_cable(frame));
    let said: Vec<&Packet> = packets.iter().filter(|packet| packet.is_dns()).collect();
    for side in [1, 2] {
        let count = said
            .iter()
            .filter(|p| p.source == [10, 77, 0, side])
            .count();
        println!("10.77.0.{side} said {count} things");
        assert!((2..100).contains(&count));
    }
    let status = node.cli_one(&["status"]).unwrap();
    let hashes = [
        &info["infohash"],
        &info["id"],
        &info["rendezvous"][0],
        &info["rendezvous"][1],
    ];
    let mut secrets: Vec<Vec<u8>> = vec![
        CHANNEL.into(),
        status["peer_id"].as_str().unwrap().into(),
        status["id"].as_str().unwrap().into(),
    ];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    // A shorter string may occur by chance.
    secrets.extend(Some(host.trim().into()).filter(|host: &Vec<u8>| host.len() > 4));
    for hash in hashes {
        let text = hash.as_str().unwrap();
        // Half of a hash would be enough to recognise it.
        let bytes: Vec<u8> = (0..text.len() / 2)
            .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).unwrap())
            .collect();
        secrets.push(bytes[..10].to_vec());
        secrets.push(text[..20].into());
    }
    for secret in secrets {
        let shows = |frame: &Vec<u8>| frame.windows(secret.len()).any(|part| part == secret);
        assert!(
            !frames.iter().any(shows),
            "{:?}",
            String::from_utf8_lossy(&secret)
        );
    }
    // A name of eight random bytes, and no records but PTR and TXT: no host is named.
    for packet in said {
        assert!(
            !packet.said.windows(4).any(|part| part == [0, 33, 128, 1]),
            "SRV"
        );
        assert!(
            !packet.said.windows(4).any(|part| part == [0, 1, 128, 1]),
            "A"
        );
    }
}

/// The second node: it gets only the file.
fn second(folder: &Path) {
    ip("link set lo up");
    std::fs::write(folder.join("there"), "").unwrap();
    eventually("there is a cable", PATIENCE, || {
        let path = Path::new("/proc/net/dev");
        Ok(std::fs::read_to_string(path)?.contains(CABLE).then_some(()))
    })
    .unwrap();
    ip(&format!("addr add 10.77.0.2/24 dev {CABLE}"));
    ip(&format!("link set {CABLE} up"));
    eventually("it is my turn", PATIENCE, || {
        Ok(folder.join("go").exists().then_some(()))
    })
    .unwrap();
    let node = NodeProcess::up(&folder.join("second"), ARGS).unwrap();
    let file = folder.join("channel.chat");
    node.cli(&["channel", "join", file.to_str().unwrap()])
        .unwrap();
    let joined = Instant::now();
    eventually("the two are linked", PATIENCE, || {
        let info = node.cli_one(&["channel", "info", CHANNEL])?;
        Ok((info["online"] == 2).then_some(()))
    })
    .unwrap();
    let took = joined.elapsed();
    println!("linked {:.2} s after joining", took.as_secs_f64());
    assert!(took < BOUND, "{took:?}");
    let members = node.cli(&["members", CHANNEL]).unwrap();
    let other = members.iter().find(|member| member["me"] == false).unwrap();
    let address = other["path"]["addr"].as_str().unwrap();
    assert!(address.starts_with("10.77.0.1:"), "{other}");
    // Who dials whom is chance; the dialled side does not know which source found it.
    let source = &other["path"]["source"];
    assert!(source == "lan" || source.is_null(), "{other}");
    node.stop().unwrap();
}
