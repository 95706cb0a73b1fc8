//! What trackers and strangers see of the real program, compared byte for byte with a real Transmission 3.00 and a real
//! qBittorrent 4.5.2; and changes of a channel's trackers by its user.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use bitchat_tests::{
    process::{ALONE, NodeProcess, eventually, try_cli},
    recorder::{Record, Recorder},
    skip::skip,
};
use bitchat_wire::channel::{ChannelFile, EpochKeys};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(90);

/// Query parameters whose values differ between clients, and their positions in a datagram.
const OWN: [&str; 3] = ["peer_id=", "key=", "port="];
const TRANSACTION: std::ops::Range<usize> = 12..16;
const PEER_ID: std::ops::Range<usize> = 36..56;
const KEY: std::ops::Range<usize> = 88..92;
const PORT: std::ops::Range<usize> = 96..98;

/// A request with the values masked that must differ.
fn masked_request(record: &Record, recorder: &Recorder) -> String {
    let text = String::from_utf8(record.bytes.clone()).unwrap();
    let (line, headers) = text.split_once("\r\n").unwrap();
    let line: Vec<String> = line
        .split('&')
        .map(|field| {
            let own = OWN.into_iter().find(|name| field.starts_with(name));
            own.map_or_else(|| field.to_owned(), |name| format!("{name}*"))
        })
        .collect();
    let headers = headers.replace(&recorder.host(), "HOST");
    format!("{}\r\n{headers}", line.join("&"))
}

/// A datagram with the values masked that must differ.
fn masked_datagram(record: &Record) -> String {
    let mut bytes = record.bytes.clone();
    let announce = bytes[8..12] == [0, 0, 0, 1];
    let own = [PEER_ID, KEY, PORT];
    for range in own.into_iter().filter(|_| announce).chain([TRANSACTION]) {
        bytes[range].fill(0xee);
    }
    hex(&bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The value of a field in the first request.
fn field(record: &Record, name: &str) -> String {
    let text = String::from_utf8(record.bytes.clone()).unwrap();
    let value = text.split(name).nth(1).unwrap();
    value.split(['&', ' ']).next().unwrap().to_owned()
}

/// A BitTorrent client from Debian, with one magnet link; killed when dropped.
struct Client {
    child: Child,
    port: u16,
    /// RPC port on which it is asked to stop its torrents: on exit it announces that over UDP only.
    control: Option<u16>,
    _folder: tempfile::TempDir,
}

/// Whether that program is installed in that version.
fn is_there(program: &str, version: &str) -> bool {
    let told = Command::new(program).arg("--version").output();
    told.is_ok_and(|told| {
        String::from_utf8_lossy(&[told.stdout, told.stderr].concat()).contains(version)
    })
}

fn magnet(hash: &str, recorder: &Recorder) -> String {
    let [http, udp] = recorder.urls();
    format!("magnet:?xt=urn:btih:{hash}&dn=x&tr={http}&tr={udp}")
}

/// Sends a transmission-daemon a request, with the session id that it demands.
fn rpc(port: u16, body: &str) -> Result<()> {
    let mut word = String::new();
    for _ in 0..2 {
        let mut tcp = TcpStream::connect(("127.0.0.1", port))?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        write!(
            tcp,
            "POST /transmission/rpc HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{word}Content-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer)?;
        let answer = String::from_utf8_lossy(&answer);
        if answer.contains("\"success\"") {
            return Ok(());
        }
        let name = "X-Transmission-Session-Id: ";
        let line = answer.lines().find(|line| line.starts_with(name));
        word = format!("{}\r\n", line.context("no word")?);
    }
    anyhow::bail!("transmission-daemon refuses")
}

impl Client {
    fn start(folder: tempfile::TempDir, port: u16, command: &mut Command) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self {
            child,
            port,
            control: None,
            _folder: folder,
        })
    }

    fn transmission(hash: &str, recorder: &Recorder) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let (port, control) = (free_port()?, free_port()?);
        let settings = serde_json::json!({
            "bind-address-ipv4": "127.0.0.1",
            "bind-address-ipv6": "::1",
            "dht-enabled": false,
            "download-dir": folder.path(),
            "lpd-enabled": false,
            "peer-port": port,
            "peer-port-random-on-start": false,
            "port-forwarding-enabled": false,
            "rpc-bind-address": "127.0.0.1",
            "rpc-port": control,
        });
        std::fs::write(folder.path().join("settings.json"), settings.to_string())?;
        let mut command = Command::new("transmission-daemon");
        command
            .args(["--foreground", "--config-dir"])
            .arg(folder.path());
        let mut client = Self::start(folder, port, &mut command)?;
        client.control = Some(control);
        let add = serde_json::json!({
            "method": "torrent-add",
            "arguments": {"filename": magnet(hash, recorder)},
        });
        eventually("it takes the link", PATIENCE, || {
            Ok(rpc(control, &add.to_string()).ok())
        })?;
        Ok(client)
    }

    fn qbittorrent(hash: &str, recorder: &Recorder) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let config = folder.path().join("qBittorrent/config");
        std::fs::create_dir_all(&config)?;
        let (port, web) = (free_port()?, free_port()?);
        let settings = format!(
            "[LegalNotice]\nAccepted=true\n\n[Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port={web}\n\n\
             [BitTorrent]\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\nSession\\Port={port}\n\
             Session\\InterfaceAddress=127.0.0.1\n\n[Network]\nPortForwardingEnabled=false\n"
        );
        std::fs::write(config.join("qBittorrent.conf"), settings)?;
        let mut command = Command::new("qbittorrent-nox");
        command
            .arg(format!("--profile={}", folder.path().display()))
            .arg(format!("--save-path={}", folder.path().display()))
            .args(["--skip-dialog=true", &magnet(hash, recorder)]);
        Self::start(folder, port, &mut command)
    }

    /// Asks it to stop, and waits until it has ended.
    fn stop(&mut self, recorder: &Recorder) -> Result<()> {
        if let Some(control) = self.control {
            rpc(control, "{\"method\": \"torrent-stop\"}")?;
            until_left(recorder);
        }
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a process has an id")?, Signal::TERM)?;
        eventually("it stops", PATIENCE, || {
            Ok(self.child.try_wait()?.map(drop))
        })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The first 68 bytes that a node answers to a BitTorrent client that connects for that hash.
fn knock(port: u16, hash: &str) -> Result<[u8; 68]> {
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05".to_vec();
    for at in (0..hash.len()).step_by(2) {
        hello.push(u8::from_str_radix(&hash[at..at + 2], 16)?);
    }
    hello.extend_from_slice(b"-XX0001-abcdefghijkl");
    let mut tcp = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port)))?;
    tcp.set_read_timeout(Some(PATIENCE))?;
    tcp.write_all(&hello)?;
    let mut answer = [0; 68];
    tcp.read_exact(&mut answer)?;
    Ok(answer)
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port())
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    eventually(what, PATIENCE, || Ok(done().then_some(()))).unwrap();
}

/// Datagrams of that action and, of announces, that event.
fn datagrams(recorder: &Recorder, action: u8, event: u8) -> usize {
    let fits = |one: &&Record| {
        one.bytes.get(11) == Some(&action) && (action != 1 || one.bytes.get(83) == Some(&event))
    };
    recorder.udp().iter().filter(fits).count()
}

fn until_left(recorder: &Recorder) {
    until("farewells", || {
        recorder.count("event=stopped") > 0 && datagrams(recorder, 1, 3) > 0
    });
}

/// Creates a channel that is not near its change of hashes, when two are announced; returns its name and its hash.
fn channel_of_one_hash(node: &NodeProcess, folder: &Path) -> Result<(String, String)> {
    for number in 0..20 {
        let name = format!("c{number}");
        let file = folder.join(&name);
        let path = file.to_str().context("a path")?;
        node.cli(&["channel", "create", &name, "--out", path])?;
        let file = ChannelFile::parse(&std::fs::read(&file)?)?;
        let keys = EpochKeys::derive(file.id(), 0, &file.info().secret);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let hashes = keys.announced(now);
        if hashes.len() == 1 && hashes == keys.announced(now + 600) {
            return Ok((name, hashes[0].to_string()));
        }
    }
    anyhow::bail!("each of 20 channels changes its hash within the hour")
}

/// Compares a node and a client with the same hash and tracker from start to stop: only ids, keys and ports differ.
fn sends_the_same(
    disguise: &str,
    start: impl FnOnce(&str, &Recorder) -> Result<Client>,
    scrapes: bool,
) {
    let (for_us, for_it) = (Recorder::start().unwrap(), Recorder::start().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let mut args = ALONE.to_vec();
    args.extend(["--disguise", disguise]);
    let node = NodeProcess::up(&dir.path().join("node"), &args).unwrap();
    let (name, hash) = channel_of_one_hash(&node, dir.path()).unwrap();
    for url in for_us.urls() {
        node.cli(&["channel", "tracker", "add", &name, &url])
            .unwrap();
    }
    until("our first announces", || {
        for_us.count("event=started") > 0 && datagrams(&for_us, 1, 2) > 0
    });
    let mut client = start(&hash, &for_it).unwrap();
    until("its first announces", || {
        for_it.count("event=started") > 0 && datagrams(&for_it, 1, 2) > 0
    });
    for recorder in [&for_us, &for_it].into_iter().filter(|_| scrapes) {
        until("counting", || {
            recorder.count("GET /scrape") > 0 && datagrams(recorder, 2, 0) > 0
        });
    }
    // Strangers who connect for it over TCP get the same answer.
    let ours = knock(u16::try_from(node.port()).unwrap(), &hash).unwrap();
    let its = knock(client.port, &hash).unwrap();
    assert_eq!(hex(&ours[..48]), hex(&its[..48]));
    let started = |recorder: &Recorder| {
        let all = recorder.http().into_iter();
        all.map(|one| field(&one, "peer_id=")).next().unwrap()
    };
    // Transmission shows peers the id that it announces, qBittorrent a different one to each; none needs escaping.
    let is_announced = |answer: &[u8], recorder| {
        let shown = String::from_utf8_lossy(&answer[48..]).into_owned();
        let announced: String = started(recorder);
        assert_eq!(shown[..8], announced[..8]);
        shown == announced
    };
    assert_eq!(is_announced(&ours, &for_us), is_announced(&its, &for_it));
    assert_eq!(is_announced(&its, &for_it), scrapes);
    assert_eq!(started(&for_us)[..8], started(&for_it)[..8]);
    node.stop().unwrap();
    client.stop(&for_it).unwrap();
    until_left(&for_us);
    until_left(&for_it);

    let requests = |recorder: &Recorder| -> Vec<(usize, String)> {
        let all = recorder.http();
        all.iter()
            .map(|one| (one.from, masked_request(one, recorder)))
            .collect()
    };
    let (ours, its) = (requests(&for_us), requests(&for_it));
    assert_eq!(ours, its, "the same requests on the same connections");
    // The number of connection requests depends on timing: an id is valid for a minute.
    let packets = |recorder: &Recorder| -> Vec<String> {
        let all = recorder.udp();
        let (asks, rest): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.bytes.len() == 16);
        let asks: BTreeSet<String> = asks.into_iter().map(masked_datagram).collect();
        asks.into_iter()
            .chain(rest.into_iter().map(masked_datagram))
            .collect()
    };
    let (ours, its) = (packets(&for_us), packets(&for_it));
    assert_eq!(ours, its);
    // Both send from the port that they announce, with one key.
    for recorder in [&for_us, &for_it] {
        let first = &recorder.http()[0];
        let port: usize = field(first, "&port=").parse().unwrap();
        assert!(recorder.udp().iter().all(|one| one.from == port));
        let announce = recorder.udp().into_iter().find(|one| one.bytes.len() >= 98);
        let key = u32::from_be_bytes(announce.unwrap().bytes[KEY].try_into().unwrap());
        let told = field(first, "key=");
        assert_eq!(u32::from_str_radix(&told, 16).unwrap(), key);
        assert!(told == format!("{key:x}") || told == format!("{key:08X}"));
    }
}

#[test]
fn a_real_transmission_sends_the_same() {
    if is_there("transmission-daemon", "transmission-daemon 3.00") {
        sends_the_same("transmission-3.00", Client::transmission, true);
    } else {
        skip("transmission-daemon 3.00 is not installed");
    }
}

#[test]
fn a_real_qbittorrent_sends_the_same() {
    if is_there("qbittorrent-nox", "v4.5.2") {
        sends_the_same("qbittorrent-4.5.2", Client::qbittorrent, false);
    } else {
        skip("qbittorrent-nox 4.5.2 is not installed");
    }
}

fn trackers(info: &Value) -> Vec<String> {
    let all = info["trackers"].as_array().unwrap().iter();
    all.map(|one| one["url"].as_str().unwrap().to_owned())
        .collect()
}

fn code(home: &Path, args: &[&str]) -> String {
    try_cli(home, args)
        .and_then(|done| done.error_code())
        .unwrap()
}

#[test]
fn trackers_are_changed_while_the_channel_runs_and_stay_changed() {
    let recorder = Recorder::start().unwrap();
    let [url, udp] = recorder.urls();
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("node");
    let mut args = ALONE.to_vec();
    args.extend(["--disguise", "qbittorrent-4.5.2"]);
    let node = NodeProcess::up(&home, &args).unwrap();
    assert_eq!(
        node.cli_one(&["status"]).unwrap()["disguise"],
        "qbittorrent-4.5.2"
    );
    let file = dir.path().join("c.chat");
    node.cli(&["channel", "create", "c", "--out", file.to_str().unwrap()])
        .unwrap();
    assert_eq!(
        trackers(&node.cli_one(&["channel", "info", "c"]).unwrap()),
        [""; 0]
    );
    let add = ["channel", "tracker", "add", "c", &url];
    assert_eq!(trackers(&node.cli_one(&add).unwrap()), [url.as_str()]);
    let started = |count: usize| -> Result<()> {
        eventually("it is announced", PATIENCE, || {
            Ok((recorder.count("event=started") >= count).then_some(()))
        })
    };
    started(1).unwrap();
    let agent =
        "User-Agent: qBittorrent/4.5.2\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    assert_eq!(recorder.count(agent), recorder.http().len());
    for (args, expected) in [
        (&add[..], "exists"),
        (
            &["channel", "tracker", "add", "c", "wss://t.example"],
            "bad_file",
        ),
        (&["channel", "tracker", "remove", "c", &udp], "no_tracker"),
        (
            &["channel", "tracker", "announce-now", "c", &udp],
            "no_tracker",
        ),
        (&["channel", "tracker", "add", "d", &udp], "no_channel"),
    ] {
        assert_eq!(code(&home, args), expected, "{args:?}");
    }
    // It was announced to a moment ago.
    let soon = node
        .cli_one(&["channel", "tracker", "announce-now", "c"])
        .unwrap();
    assert_eq!(soon["trackers"], 0);
    node.cli_one(&["channel", "tracker", "add", "c", &udp])
        .unwrap();
    let (status, _) = node.stop().unwrap();
    assert!(status.success());
    let before = recorder.count("event=started");

    // The next run keeps the trackers and the disguise without any flags.
    let node = NodeProcess::up(&home, ALONE).unwrap();
    assert_eq!(
        node.cli_one(&["status"]).unwrap()["disguise"],
        "qbittorrent-4.5.2"
    );
    started(before + 1).unwrap();
    let info = node.cli_one(&["channel", "info", "c"]).unwrap();
    assert_eq!(trackers(&info), [url.as_str(), udp.as_str()]);
    let stopped = recorder.count("event=stopped");
    let remove = ["channel", "tracker", "remove", "c", &url];
    eventually("its first announce is answered", PATIENCE, || {
        let info = node.cli_one(&["channel", "info", "c"])?;
        Ok((info["trackers"][0]["state"] == "working").then_some(()))
    })
    .unwrap();
    assert_eq!(trackers(&node.cli_one(&remove).unwrap()), [udp.as_str()]);
    eventually("it hears that we left", PATIENCE, || {
        Ok((recorder.count("event=stopped") > stopped).then_some(()))
    })
    .unwrap();
    let out = dir.path().join("out.chat");
    node.cli(&["channel", "export", "c", "--out", out.to_str().unwrap()])
        .unwrap();
    let handed_on = std::fs::read(&out).unwrap();
    let names = |url: &str| handed_on.windows(url.len()).any(|at| at == url.as_bytes());
    assert!(names(&udp) && !names(&url));
    node.stop().unwrap();
}

#[test]
fn public_trackers_are_added_only_on_request() -> Result<()> {
    let dir = tempfile::tempdir()?;
    // Nothing is announced: this proxy does not exist.
    let mut args = ALONE.to_vec();
    args.extend(["--proxy", "http://127.0.0.1:9"]);
    let node = NodeProcess::up(&dir.path().join("node"), &args)?;
    for (name, flag, expected) in [("a", None, 0), ("b", Some("--default-trackers"), 7)] {
        let file = dir.path().join(format!("{name}.chat"));
        let mut create = vec!["channel", "create", name, "--out", file.to_str().unwrap()];
        create.extend(flag);
        node.cli(&create)?;
        let info = node.cli_one(&["channel", "info", name])?;
        ensure!(trackers(&info).len() == expected, "{info}");
    }
    node.stop()?;
    Ok(())
}
