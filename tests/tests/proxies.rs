//! Proxies, the real ones: what goes through them, that nothing goes around them, and that a relay brings two together
//! who have nothing else.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_actors::transport::{Proxy, ProxyError};
use bitchat_tests::{
    lab::{self, Capture, Kind, Lab, LabNode},
    process::NodeProcess,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const CHANNEL: &str = "quiet";
/// Long for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing may leave after the proxy is gone. Trackers and members are tried many times in it.
const DARK: Duration = Duration::from_secs(40);

/// Ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn free_port() -> u16 {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn service(program: &str, args: &[&str]) -> Service {
    let child = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Service(child.unwrap_or_else(|e| panic!("{program}: {e}; ./test says what the tests need")))
}

fn tinyproxy(folder: &Path, port: u16, more: &str) -> Service {
    let file = folder.join("tinyproxy.conf");
    let mut settings = std::fs::File::create(&file).unwrap();
    writeln!(
        settings,
        "Port {port}\nListen 127.0.0.1\nTimeout 60\n{more}"
    )
    .unwrap();
    service("tinyproxy", &["-d", "-c", file.to_str().unwrap()])
}

/// A server that says what it hears.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut recv, mut send) = tcp.split();
                let _ = tokio::io::copy(&mut recv, &mut send).await;
            });
        }
    });
    address
}

/// Goes through once the proxy has started.
async fn goes_through(url: &str, to: SocketAddr) {
    let proxy = Proxy::parse(url).unwrap();
    let begin = Instant::now();
    let mut tcp = loop {
        // By name, which is the proxy's to resolve.
        match proxy
            .connect(&url::Host::Domain("localhost".into()), to.port())
            .await
        {
            Ok(tcp) => break tcp,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{url}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    tcp.write_all(b"hello").await.unwrap();
    let mut read = [0; 5];
    tcp.read_exact(&mut read).await.unwrap();
    assert_eq!(&read, b"hello");
    assert_eq!(proxy.status().trouble, None);
}

async fn refused(url: &str, to: SocketAddr) -> ProxyError {
    let proxy = Proxy::parse(url).unwrap();
    proxy.connect_to(to).await.unwrap_err()
}

#[tokio::test]
async fn tinyproxy_takes_our_password_and_says_no() {
    let (folder, to, port) = (tempfile::tempdir().unwrap(), echo().await, free_port());
    let _proxy = tinyproxy(folder.path(), port, "BasicAuth ann pass");
    goes_through(&format!("http://ann:pass@127.0.0.1:{port}"), to).await;
    for url in [
        format!("http://127.0.0.1:{port}"),
        format!("http://ann:wrong@127.0.0.1:{port}"),
    ] {
        assert_eq!(refused(&url, to).await, ProxyError::Unauthorised, "{url}");
    }
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let _strict = tinyproxy(folder.path(), port, "ConnectPort 443");
    let url = format!("http://127.0.0.1:{port}");
    let begin = Instant::now();
    let mut end = refused(&url, to).await;
    while end == ProxyError::Unreachable && begin.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        end = refused(&url, to).await;
    }
    assert_eq!(end, ProxyError::Forbidden);
}

#[tokio::test]
async fn microsocks_takes_our_password_and_says_no() {
    let (to, port) = (echo().await, free_port());
    let number = port.to_string();
    let args = ["-i", "127.0.0.1", "-p", &number, "-u", "ann", "-P", "pass"];
    let _proxy = service("microsocks", &args);
    goes_through(&format!("socks5h://ann:pass@127.0.0.1:{port}"), to).await;
    for url in [
        format!("socks5h://127.0.0.1:{port}"),
        format!("socks5h://ann:wrong@127.0.0.1:{port}"),
    ] {
        assert_eq!(refused(&url, to).await, ProxyError::Unauthorised, "{url}");
    }
    // It works, but nobody listens there.
    let url = format!("socks5h://ann:pass@127.0.0.1:{port}");
    let nobody = (Ipv4Addr::LOCALHOST, free_port()).into();
    assert_eq!(refused(&url, nobody).await, ProxyError::NoWay);
}

#[test]
fn nothing_leaves_but_through_the_proxy() {
    if !lab::enter("nothing_leaves_but_through_the_proxy") {
        return;
    }
    std::thread::scope(|scope| {
        for (name, kind) in [("nh", Kind::HttpProxy), ("ns", Kind::Socks5)] {
            scope.spawn(move || leaks(name, kind));
        }
    });
}

fn leaks(name: &str, kind: Kind) {
    let mut lab = Lab::new(name, &[kind, Kind::Open]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("quiet.chat");
    let file = file.to_str().unwrap();
    let url = lab.tracker();
    let proxy = lab.sides[0].proxy.clone().unwrap();
    let lan = lab.sides[0].lan();
    {
        let friend = LabNode::up(&lab.sides[1].hosts[0], 0, folder.path(), &[]).unwrap();
        // A tracker by HTTP, one by UDP, and one by a name, which nobody here resolves.
        let udp = format!("udp://{lan}:6969");
        let made = [
            "channel",
            "create",
            CHANNEL,
            "--out",
            file,
            "--tracker",
            &url,
            "--tracker",
            &udp,
            "--tracker",
            "http://tracker.example/announce",
            "--node",
            "router.example:6881",
        ];
        friend.cli(&made).unwrap();
        lab.serve(&friend.hashes(CHANNEL).unwrap()).unwrap();
        friend.is_announced(CHANNEL, PATIENCE).unwrap();

        // With everything on that is on by default.
        let host = &lab.sides[0].hosts[0];
        // A way that it could take, if it did not keep to the proxy.
        host.ip(&format!("route add default via {lan}\n")).unwrap();
        let capture = Capture::of(host).unwrap();
        let home = folder.path().join("hidden");
        let node = host
            .within(|| NodeProcess::up(&home, &["--proxy", &proxy]))
            .unwrap();
        let cli = |args: &[&str]| host.within(|| node.cli(args)).unwrap();
        cli(&["channel", "join", file]);
        let begin = Instant::now();
        let linked = |status: &Value| status["channels"][0]["online"] == 2;
        while !linked(&cli(&["status"])[0]) {
            assert!(
                begin.elapsed() < PATIENCE,
                "{kind}: {:#}",
                cli(&["status"])[0]
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("{kind}: linked after {:?}", begin.elapsed());
        let router = &cli(&["status"])[0]["router"];
        assert_eq!(router["state"], "off", "{router}");
        cli(&["send", CHANNEL, "hello"]);
        friend
            .shows(CHANNEL, &["hello".to_owned()], PATIENCE)
            .unwrap();
        let seen = capture.end().unwrap();
        println!("{kind}, while it talks: {seen:#?}");
        only_the_proxy(&seen, lan);

        let capture = Capture::of(host).unwrap();
        lab.sides[0].stop_services();
        cli_of(&lab, &node, &["send", CHANNEL, "is anybody there?"]);
        std::thread::sleep(DARK);
        let status = &cli_of(&lab, &node, &["status"])[0];
        let trouble = status["proxy"]["trouble"].as_str().unwrap_or_default();
        assert!(trouble.contains("cannot be reached"), "{status:#}");
        let host = &lab.sides[0].hosts[0];
        let (status, _) = host.within(|| node.stop()).unwrap();
        assert!(status.success());
        let seen = capture.end().unwrap();
        println!("{kind}, when the proxy is gone: {seen:#?}");
        only_the_proxy(&seen, lan);
    }
}

fn cli_of(lab: &Lab, node: &NodeProcess, args: &[&str]) -> Vec<Value> {
    lab.sides[0].hosts[0].within(|| node.cli(args)).unwrap()
}

#[test]
fn two_behind_proxies_meet_at_a_relay_of_a_stranger() {
    if !lab::enter("two_behind_proxies_meet_at_a_relay_of_a_stranger") {
        return;
    }
    let lab = Lab::new("pr", &[Kind::HttpProxy, Kind::Socks5, Kind::Open]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let public = bitchat_wire::relay::public_keys().announced(now.as_secs());
    let mut hashes: Vec<String> = public.iter().map(ToString::to_string).collect();
    lab.serve(&hashes).unwrap();
    let url = lab.tracker();
    let args = [
        "--port",
        "7001",
        "--announce",
        "--no-dht",
        "--tracker",
        &url,
    ];
    let args = [&args[..], &["--log", "info,bitchat_actors=debug"]].concat();
    let home = folder.path().join("relay");
    let relay = &lab.sides[2].hosts[0];
    let relay = relay.within(|| NodeProcess::relay(&home, &args)).unwrap();

    let up = |side: usize| {
        let side = &lab.sides[side];
        let proxy = side.proxy.as_deref().unwrap();
        LabNode::up(&side.hosts[0], 0, folder.path(), &["--proxy", proxy]).unwrap()
    };
    let (a, b) = (up(0), up(1));
    let file = folder.path().join("quiet.chat");
    let file = file.to_str().unwrap();
    a.cli(&[
        "channel",
        "create",
        CHANNEL,
        "--tracker",
        &url,
        "--out",
        file,
    ])
    .unwrap();
    hashes.extend(a.hashes(CHANNEL).unwrap());
    lab.serve(&hashes).unwrap();
    b.cli(&["channel", "join", file]).unwrap();
    let begin = Instant::now();
    a.say(CHANNEL, "hello", 1).unwrap();
    b.say(CHANNEL, "hi", 1).unwrap();
    let lines = ["hello 0".to_owned(), "hi 0".to_owned()];
    let shown = a
        .shows(CHANNEL, &lines, PATIENCE)
        .and(b.shows(CHANNEL, &lines, PATIENCE));
    if shown.is_err() {
        println!(
            "{}\n\n{}\n\n{}",
            relay.log(),
            a.process().log(),
            b.process().log()
        );
    }
    shown.unwrap();
    println!(
        "they talk {:?} after the second has joined",
        begin.elapsed()
    );
    let relayed = |members: &[Value]| members.iter().any(|one| one["path"]["kind"] == "relay");
    a.members(CHANNEL, PATIENCE, relayed).unwrap();
}

/// Apart from what the kernel says on its own to find its neighbours.
fn only_the_proxy(seen: &std::collections::BTreeMap<String, u64>, proxy: Ipv4Addr) {
    let wanted = format!("tcp > {proxy} 3128");
    assert!(seen.contains_key(&wanted), "it was used: {seen:#?}");
    let kernels = |what: &str| what.starts_with("arp ") || what.starts_with("icmpv6 ");
    let leaked: Vec<_> = seen
        .keys()
        .filter(|what| **what != wanted && !kernels(what))
        .collect();
    assert!(leaked.is_empty(), "{leaked:?}");
    // It asked for nobody's address but the proxy's.
    let asked = seen.keys().filter(|what| what.starts_with("arp "));
    for what in asked {
        assert!(what.ends_with(&proxy.to_string()), "{what}");
    }
}
