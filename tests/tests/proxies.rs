//! Real proxies: what passes through them, what they refuse, and that two nodes with nothing else meet at a relay. That
//! nothing bypasses them is shown in the lab (`nat_lab/leaks.rs`).
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    fs::Permissions,
    io::Write as _,
    net::{Ipv4Addr, SocketAddr, TcpListener as StdListener},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_actors::settings::{Proxy, ProxyError};
use bitchat_tests::{
    lab::{self, Kind, Lab, LabNode},
    process::NodeProcess,
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const CHANNEL: &str = "quiet";
/// Generous, for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The hash of "pass" from `openssl passwd -apr1`.
const SQUIDS_PASS: &str = "$apr1$quietlab$9jmQYnRxSKxp2sVCL0i0e/";

/// A process that ends with the test.
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

/// A server that echoes.
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

/// Connects through the proxy, once that has started.
async fn goes_through(url: &str, to: SocketAddr) {
    let proxy = Proxy::parse(url).unwrap();
    let begin = Instant::now();
    let mut tcp = loop {
        // By name, which the proxy resolves.
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
async fn tinyproxy_accepts_our_password_and_refuses_a_wrong_one() {
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
async fn microsocks_accepts_our_password_and_refuses_a_wrong_one() {
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
    // The proxy works, but nothing listens at the target.
    let url = format!("socks5h://ann:pass@127.0.0.1:{port}");
    let nobody = (Ipv4Addr::LOCALHOST, free_port()).into();
    assert_eq!(refused(&url, nobody).await, ProxyError::NoWay);
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

#[tokio::test]
async fn squid_accepts_our_password_and_refuses_a_wrong_one() {
    let (folder, to, port) = (tempfile::tempdir().unwrap(), echo().await, free_port());
    // It drops root privileges before it reads these.
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("users"), format!("ann:{SQUIDS_PASS}\n")).unwrap();
    let settings = format!(
        "http_port 127.0.0.1:{port}
        auth_param basic program /usr/lib/squid/basic_ncsa_auth {}
        auth_param basic children 1
        acl known proxy_auth REQUIRED
        http_access allow known
        http_access deny all
        cache deny all
        access_log none
        cache_log /dev/null
        cache_store_log none
        pid_filename none
        shutdown_lifetime 0 seconds
        visible_hostname lab
        pinger_enable off\n",
        path("users")
    );
    let settings: String = settings
        .lines()
        .map(|line| line.trim().to_owned() + "\n")
        .collect();
    std::fs::write(path("squid.conf"), settings).unwrap();
    let _proxy = service(&debians("squid"), &["-N", "-f", &path("squid.conf")]);
    goes_through(&format!("http://ann:pass@127.0.0.1:{port}"), to).await;
    for url in [
        format!("http://127.0.0.1:{port}"),
        format!("http://ann:wrong@127.0.0.1:{port}"),
    ] {
        assert_eq!(refused(&url, to).await, ProxyError::Unauthorised, "{url}");
    }
    let url = format!("http://ann:pass@127.0.0.1:{port}");
    let nobody = (Ipv4Addr::LOCALHOST, free_port()).into();
    assert_eq!(refused(&url, nobody).await, ProxyError::NoWay);
}

/// A Tor without any other relay accepts our requests, with the password that isolates our circuits from those of
/// others, and gives up in the end, which does not count as the proxy's failure. It warns of clients that resolve names
/// themselves, which we do not.
#[tokio::test]
async fn tor_gets_names_from_us_and_isolates_our_circuits() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let nobody = "0123456789ABCDEF0123456789ABCDEF01234567";
    let (socks, log) = (
        format!("127.0.0.1:{port}"),
        format!("notice file {}", path("log")),
    );
    let authority = format!("none orport=1 no-v2 v3ident={nobody} 127.0.0.1:1 {nobody}");
    let args = [
        ["-f", "/nonexistent"],
        ["--DataDirectory", &path("data")],
        ["--SocksPort", &socks],
        ["--SocksTimeout", "2"],
        ["--TestingTorNetwork", "1"],
        ["--DirAuthority", &authority],
        ["--AssumeReachable", "1"],
        ["--Log", &log],
    ];
    let args = [&["--ignore-missing-torrc"], args.as_flattened()].concat();
    let _proxy = service(&debians("tor"), &args);
    let proxy = Proxy::parse(&format!("socks5h://ann:pass@127.0.0.1:{port}")).unwrap();
    let begin = Instant::now();
    let end = loop {
        let name = url::Host::Domain("bitchat.example".into());
        match proxy.connect(&name, 443).await {
            Err(ProxyError::Unreachable) => assert!(begin.elapsed() < PATIENCE),
            end => break end,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(end.unwrap_err(), ProxyError::NoWay);
    let log = std::fs::read_to_string(path("log")).unwrap();
    assert!(log.contains("to get a connection to"), "{log}");
    assert!(!log.contains("only an IP address"), "{log}");
}

/// Finds a daemon, which Debian keeps out of a user's path.
fn debians(program: &str) -> String {
    format!("/usr/sbin/{program}")
}
