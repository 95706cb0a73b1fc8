//! What a relay costs its operator: the real program in its own process, with a hundred reservations, then a hundred
//! circuits, at rest and at work. Over QUIC, and over TCP as behind proxies.

use std::{
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use bitchat_actors::{internals::transport::Connection, settings::Relay};
use bitchat_tests::process;
use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::time::sleep;

use super::{
    figure::{cpu_seconds, print, resident_kib},
    relay::{Peer, upload},
};

/// The first argument of the run inside its own network, whose counters count no other traffic.
pub(crate) const INSIDE: &str = "relay-costs";
const MANY: usize = 100;
/// Duration of the measurement at rest. QUIC's and our keep-alives are sent every 25 s.
const WATCH: Duration = Duration::from_secs(50);
/// Pause after a start, which is not rest.
const SETTLE: Duration = Duration::from_secs(5);
/// Number of nodes that open circuits, equally many each.
const CALLERS: usize = 10;
/// Bytes that each circuit carries at work.
const BYTES: usize = 4 << 20;

/// A `bitchat relay`; killed when dropped.
struct Program {
    child: Child,
    relay: Relay,
    /// The address on which it listens for TCP only.
    tcp: Relay,
}

impl Program {
    fn start(home: &Path) -> Result<Self> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut child = process::command(home)
            .args(["relay", "--bind", "127.0.0.1", "--port", "0", "--port"])
            .arg(free.port().to_string())
            .args(["--rate", "0", "--circuit-bytes", "0"])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        let out = child.stdout.take().context("a piped output")?;
        BufReader::new(out).read_line(&mut line)?;
        let ready: Value = serde_json::from_str(&line)?;
        let peer = ready["peer_id"].as_str().context("no PeerId")?.parse()?;
        let port = u16::try_from(ready["port"].as_u64().context("no port")?)?;
        let at = |port| Relay {
            address: SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port),
            peer,
        };
        Ok(Self {
            child,
            relay: at(port),
            tcp: at(free.port()),
        })
    }

    fn costs(&self) -> Result<Costs> {
        let pid = self.child.id();
        Ok(Costs {
            mib: resident_kib(Some(pid))? / 1_024.0,
            cpu: cpu_seconds(pid)?,
            bytes: loopback_bytes()?,
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The relay's resource usage so far.
struct Costs {
    mib: f64,
    cpu: f64,
    bytes: f64,
}

/// Bytes sent over loopback so far, with all headers except Ethernet's.
fn loopback_bytes() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/net/dev")?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"));
    let first = line.and_then(|line| line.split_whitespace().next());
    Ok(first.context("no loopback")?.parse()?)
}

/// Runs this again inside its own network, which takes root.
pub(crate) fn begin() -> Result<()> {
    // Builds the program, if necessary, while there is a network.
    process::binary();
    let status = Command::new("unshare")
        .args(["--net", "--", "sh", "-c"])
        .arg(format!("ip link set lo up && exec \"$0\" {INSIDE}"))
        .arg(std::env::current_exe()?)
        .status()?;
    ensure!(
        status.success(),
        "the costs of a relay are measured as root"
    );
    Ok(())
}

pub(crate) async fn run() -> Result<()> {
    for (name, tcp) in [("quic", false), ("tcp", true)] {
        measure(name, tcp).await?;
    }
    Ok(())
}

async fn measure(name: &str, tcp: bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = Program::start(folder.path())?;
    let relay = if tcp { program.tcp } else { program.relay };
    sleep(SETTLE).await;
    let before = program.costs()?;
    print(&format!("relay_{name}_rss_mib"), before.mib, "MiB");

    // Ten per address: a relay limits the number of clients and requests of one address.
    let at = |n: usize| IpAddr::from([127, 0, 1, u8::try_from(n / 10 + 1).unwrap_or(u8::MAX)]);
    let targets = try_join_all((0..MANY).map(|n| Peer::start_at(at(n), vec![]))).await?;
    for targets in targets.chunks(CALLERS) {
        try_join_all(targets.iter().map(|target| target.reserve(relay))).await?;
    }
    sleep(SETTLE).await;
    let what = format!("relay_{name}_100_reservations");
    let held = rest(&program, &what, before.mib).await?;

    let callers = try_join_all((0..CALLERS).map(|n| Peer::start_at(at(n * 10), vec![]))).await?;
    let mut circuits: Vec<Connection> = Vec::new();
    for (n, target) in targets.iter().enumerate() {
        circuits.push(callers[n % CALLERS].circuit(relay, target).await?);
    }
    sleep(SETTLE).await;
    let what = format!("relay_{name}_100_circuits");
    rest(&program, &what, held).await?;

    let before = program.costs()?;
    let begin = std::time::Instant::now();
    try_join_all(circuits.iter().map(|circuit| upload(circuit, BYTES))).await?;
    let after = program.costs()?;
    let carried = (MANY * BYTES) as f64;
    let gib = carried / f64::from(1 << 30);
    print(&format!("{what}_working_mib"), after.mib - held, "MiB");
    print(
        &format!("relay_{name}_cpu_s_per_gib"),
        (after.cpu - before.cpu) / gib,
        "s/GiB",
    );
    let rate = carried / f64::from(1 << 20) / begin.elapsed().as_secs_f64();
    print(&format!("{what}_mib_per_s"), rate, "MiB/s");
    drop(circuits);
    for peer in targets.iter().chain(&callers) {
        peer.stop().await;
    }
    Ok(())
}

/// Measures its usage at rest; returns its memory.
async fn rest(program: &Program, what: &str, before: f64) -> Result<f64> {
    let first = program.costs()?;
    sleep(WATCH).await;
    let last = program.costs()?;
    let minutes = WATCH.as_secs_f64() / 60.0;
    print(&format!("{what}_mib"), last.mib - before, "MiB more");
    print(
        &format!("{what}_cpu_ms_per_min"),
        (last.cpu - first.cpu) * 1_000.0 / minutes,
        "ms/min",
    );
    print(
        &format!("{what}_kib_per_min"),
        (last.bytes - first.bytes) / 1_024.0 / minutes,
        "KiB/min, both ways",
    );
    Ok(last.mib)
}
