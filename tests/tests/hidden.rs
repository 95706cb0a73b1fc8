//! A node that hides its address from members: they talk with it through a relay, and it sends to that relay only.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::{BufRead as _, BufReader},
    net::Ipv4Addr,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use bitchat_tests::{
    lab::{self, Capture, Kind, Lab, LabNode, Namespace},
    process::{self, NodeProcess},
};
use serde_json::Value;

const CHANNEL: &str = "quiet";
const RELAY_PORT: u16 = 4_443;
/// Generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Length of the capture while no relay answers. Members would be tried many times in it.
const DARK: Duration = Duration::from_secs(15);

/// A process that ends with the test.
struct Relay(Child);

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a relay; returns it with its address in channel files.
fn relay(host: &Namespace, at: Ipv4Addr, folder: &Path) -> (Relay, String) {
    let home = folder.join("relay");
    let (port, ip) = (RELAY_PORT.to_string(), at.to_string());
    let child = host.within(|| {
        process::command(&home)
            .args(["relay", "--port", &port, "--public-ip", &ip])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
    });
    let mut relay = Relay(child.unwrap());
    let mut ready = String::new();
    let out = relay.0.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut ready).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    (relay, ready["relays"][0].as_str().unwrap().to_owned())
}

#[test]
fn members_do_not_learn_the_address_of_a_hiding_node() {
    if !lab::enter("members_do_not_learn_the_address_of_a_hiding_node") {
        return;
    }
    let lab = Lab::new("hid", &[Kind::Open, Kind::Open, Kind::Open]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quiet.chat");
    let file = file.to_str().unwrap();
    let [hides, friends, relays] = [0, 1, 2].map(|side| &lab.sides[side].hosts[0]);
    let at = lab.sides[2].external;
    let (service, name) = relay(relays, at, folder.path());

    // A member that also serves as a relay and is announced to a tracker: a path that must not be used.
    let friend = LabNode::up(friends, 0, folder.path(), &[]).unwrap();
    let url = lab.tracker();
    let made = [
        "channel",
        "create",
        CHANNEL,
        "--out",
        file,
        "--tracker",
        &url,
        "--relay",
        &name,
    ];
    friend.cli(&made).unwrap();
    lab.serve(&friend.hashes(CHANNEL).unwrap()).unwrap();
    friend.is_announced(CHANNEL, PATIENCE).unwrap();

    // With all defaults on.
    let capture = Capture::of(hides).unwrap();
    let home = folder.path().join("hidden");
    let node = hides.within(|| NodeProcess::up(&home, &["--paths", "relay"]));
    let node = node.unwrap();
    let cli = |args: &[&str]| hides.within(|| node.cli(args)).unwrap();
    cli(&["channel", "join", file]);
    let begin = Instant::now();
    let status = || cli(&["status"]).remove(0);
    while status()["channels"][0]["online"] != 2 {
        assert!(begin.elapsed() < PATIENCE, "{:#}", status());
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("linked after {:?}", begin.elapsed());
    cli(&["send", CHANNEL, "hello"]);
    let said = ["hello".to_owned()];
    friend.shows(CHANNEL, &said, PATIENCE).unwrap();
    friend
        .members(CHANNEL, PATIENCE, |others| {
            others[0]["path"]["kind"] == "relay"
        })
        .unwrap();
    assert_eq!(status()["hidden"], true);
    let found = cli(&["doctor"]);
    assert!(found[0].to_string().contains("hidden"), "{found:?}");
    // Later it would look for a better path.
    std::thread::sleep(Duration::from_secs(2));

    drop(service);
    cli(&["send", CHANNEL, "is anybody there?"]);
    cli(&["channel", "tracker", "announce-now", CHANNEL]);
    std::thread::sleep(DARK);
    assert_ne!(status()["channels"][0]["online"], 2);
    let (end, _) = hides.within(|| node.stop()).unwrap();
    assert!(end.success());
    let seen = capture.end().unwrap();
    println!("{seen:#?}");
    let wanted = format!("tcp > {at} {RELAY_PORT}");
    assert!(seen.contains_key(&wanted), "it was used: {seen:#?}");
    let kernels = |what: &str| what.starts_with("arp ") || what.starts_with("icmpv6 ");
    let others = seen.keys().filter(|what| **what != wanted);
    let leaked: Vec<_> = others.filter(|what| !kernels(what)).collect();
    assert!(leaked.is_empty(), "{leaked:?}");
}
