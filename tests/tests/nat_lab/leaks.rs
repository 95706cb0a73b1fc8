//! Behind a proxy, traffic leaves only through it: shown by a capture on the node's host over a minute of start, join, talk
//! and stop, and another minute after the proxy has died.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use bitchat_tests::{
    lab::{self, Capture, Kind, Lab, LabNode},
    process::NodeProcess,
};
use serde_json::Value;

const CHANNEL: &str = "quiet";
const PATIENCE: Duration = Duration::from_secs(60);
/// Minimum length of a capture. Trackers and members are tried many times in it.
const WATCHED: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Proxy {
    Works,
    Dies,
}

#[test]
fn nothing_leaves_but_through_the_proxy() {
    if !lab::enter("leaks::nothing_leaves_but_through_the_proxy") {
        return;
    }
    std::thread::scope(|scope| {
        for (name, kind, proxy) in [
            ("nh", Kind::HttpProxy, Proxy::Works),
            ("ns", Kind::Socks5, Proxy::Works),
            ("dh", Kind::HttpProxy, Proxy::Dies),
            ("ds", Kind::Socks5, Proxy::Dies),
        ] {
            scope.spawn(move || leaks(name, kind, proxy));
        }
    });
}

fn leaks(name: &str, kind: Kind, what: Proxy) {
    let lab = Lab::new(name, &[kind, Kind::Open]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quiet.chat");
    let file = file.to_str().unwrap();
    let url = lab.tracker();
    let proxy = lab.sides[0].proxy.clone().unwrap();
    let lan = lab.sides[0].lan();
    let friend = LabNode::up(&lab.sides[1].hosts[0], 0, folder.path(), &[]).unwrap();
    // A tracker over HTTP, one over UDP, and one with a name that nothing here resolves.
    let udp = format!("udp://{lan}:6969");
    let named = "http://tracker.example/announce";
    let made = [
        ["channel", "create", CHANNEL].as_slice(),
        &["--out", file, "--node", "router.example:6881"],
        &["--tracker", &url, "--tracker", &udp, "--tracker", named],
    ];
    friend.cli(&made.concat()).unwrap();
    lab.serve(&friend.hashes(CHANNEL).unwrap()).unwrap();
    friend.is_announced(CHANNEL, PATIENCE).unwrap();

    let host = &lab.sides[0].hosts[0];
    // A path that it could use if it bypassed the proxy.
    host.ip(&format!("route add default via {lan}\n")).unwrap();
    let mut begin = Instant::now();
    let mut capture = Capture::of(host).unwrap();
    // With all defaults on.
    let home = folder.path().join("hidden");
    let node = host
        .within(|| NodeProcess::up(&home, &["--proxy", &proxy]))
        .unwrap();
    let cli = |lab: &Lab, args: &[&str]| lab.sides[0].hosts[0].within(|| node.cli(args)).unwrap();
    cli(&lab, &["channel", "join", file]);
    let linked = |status: &Value| status["channels"][0]["online"] == 2;
    while !linked(&cli(&lab, &["status"])[0]) {
        assert!(begin.elapsed() < PATIENCE, "{kind} is not linked");
        std::thread::sleep(Duration::from_millis(100));
    }
    let router = &cli(&lab, &["status"])[0]["router"];
    assert_eq!(router["state"], "off", "{router}");
    cli(&lab, &["send", CHANNEL, "hello"]);
    let mut lines = vec!["hello".to_owned()];
    friend.shows(CHANNEL, &lines, PATIENCE).unwrap();
    if what == Proxy::Dies {
        only_the_proxy(&capture.end().unwrap(), lan);
        begin = Instant::now();
        capture = Capture::of(&lab.sides[0].hosts[0]).unwrap();
        lab.sides[0].stop_services();
        cli(&lab, &["send", CHANNEL, "is anybody there?"]);
    }
    while begin.elapsed() < WATCHED {
        if what == Proxy::Works {
            friend
                .say(CHANNEL, &format!("{:?}", begin.elapsed()), 1)
                .unwrap();
            let line = format!("heard {}", lines.len());
            cli(&lab, &["send", CHANNEL, &line]);
            lines.push(line);
        }
        std::thread::sleep(Duration::from_secs(4));
    }
    let status = &cli(&lab, &["status"])[0];
    let trouble = status["proxy"]["trouble"].as_str().unwrap_or_default();
    let dead = what == Proxy::Dies;
    assert_eq!(trouble.contains("cannot be reached"), dead, "{status:#}");
    let host = &lab.sides[0].hosts[0];
    let (status, _) = host.within(|| node.stop()).unwrap();
    assert!(status.success());
    let took = begin.elapsed();
    let seen = capture.end().unwrap();
    let dies = if dead { ", which died" } else { "" };
    println!("behind {kind}{dies}, left in {took:.0?}: {seen:?}");
    only_the_proxy(&seen, lan);
}

/// Checks the capture, except for what the kernel sends to find its neighbours.
fn only_the_proxy(seen: &BTreeMap<String, u64>, proxy: Ipv4Addr) {
    let wanted = format!("tcp > {proxy} 3128");
    assert!(seen.contains_key(&wanted), "it was used: {seen:#?}");
    let kernels = |what: &str| what.starts_with("arp ") || what.starts_with("icmpv6 ");
    let leaked: Vec<_> = seen
        .keys()
        .filter(|what| **what != wanted && !kernels(what))
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    // It resolved only the proxy's address.
    let asked = seen.keys().filter(|what| what.starts_with("arp "));
    for what in asked {
        assert!(what.ends_with(&proxy.to_string()), "{what}");
    }
}
