//! Strangers that send junk to a node's port, or start handshakes and go silent, while its members talk.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bitchat_tests::{api::Api, process::NodeProcess};
use rand::{Rng, SeedableRng, rngs::StdRng};

use super::{
    figure::{cpu_seconds, median, ms, percentile, print, resident_kib},
    program::{self, CHANNEL},
};

/// Duration of each flood.
const TIME: Duration = Duration::from_secs(10);
/// Datagrams per second: as many as a home line carries.
const DATAGRAMS: u64 = 10_000;
/// Datagrams per batch.
const BURST: u64 = 50;
/// Number of connections that send nothing, or too little; each is reopened when it is closed.
const HALF_OPEN: usize = 200;
/// Interval between the members' messages.
const PAUSE: Duration = Duration::from_millis(50);

/// A kind of flood, which runs until it is stopped and counts what it sent.
type Flood = fn(SocketAddr, &AtomicBool, &AtomicU64) -> Result<()>;

const FLOODS: [(&str, Flood); 7] = [
    ("quiet", |_, stop, _| {
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(PAUSE);
        }
        Ok(())
    }),
    ("noise", |to, stop, count| datagrams(to, stop, count, &[])),
    // A long header, of an Initial packet of version 1, with connection ids of 8 bytes.
    ("initials", |to, stop, count| {
        datagrams(to, stop, count, &[0xc3, 0, 0, 0, 1, 8])
    }),
    ("short_headers", |to, stop, count| {
        datagrams(to, stop, count, &[0x40])
    }),
    ("half_open", half_open),
    ("dht_forged", forged),
    ("dht_liar", liar),
];

pub(crate) async fn run() -> Result<()> {
    let folder = tempfile::tempdir()?;
    // Isolated except for the DHT, which cannot bootstrap: on loopback no public router is queried.
    let args = ["--bind", "127.0.0.1", "--no-portmap", "--no-lan"];
    let nodes = program::linked_with(folder.path(), &["a", "b"], &args)?;
    let (from, to) = (Api::of(&nodes[0])?, Api::of(&nodes[1])?);
    for (name, flood) in FLOODS {
        one(name, flood, &nodes[1], &from, &to).await?;
    }
    Ok(())
}

async fn one(name: &str, flood: Flood, victim: &NodeProcess, from: &Api, to: &Api) -> Result<()> {
    let port = u16::try_from(victim.port()).context("no port")?;
    let (stop, count) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let flooder = thread::spawn({
        let (stop, count) = (Arc::clone(&stop), Arc::clone(&count));
        move || flood(([127, 0, 0, 1], port).into(), &stop, &count)
    });
    let (begin, before) = (Instant::now(), cpu_seconds(victim.pid())?);
    let mut events = to.events().await?;
    let mut times = Vec::new();
    while begin.elapsed() < TIME {
        let word = format!("{name} {}", times.len());
        let said = Instant::now();
        let (sent, shown) = tokio::join!(from.say(CHANNEL, &word), events.until(&word));
        sent.and(shown)?;
        times.push(ms(said.elapsed()));
        tokio::time::sleep(PAUSE).await;
    }
    let took = begin.elapsed().as_secs_f64();
    let cpu = (cpu_seconds(victim.pid())? - before) / took * 100.0;
    let memory = resident_kib(Some(victim.pid()))? / 1_024.0;
    stop.store(true, Ordering::Relaxed);
    flooder
        .join()
        .map_err(|_| anyhow::anyhow!("the flood failed"))??;
    let figure = |of: &str| format!("flood_{name}_{of}");
    print(
        &figure("per_s"),
        count.load(Ordering::Relaxed) as f64 / took,
        "",
    );
    print(&figure("shown_p50_ms"), median(&mut times), "ms");
    print(&figure("shown_p99_ms"), percentile(&mut times, 0.99), "ms");
    print(&figure("cpu_pct"), cpu, "%");
    print(&figure("rss_mib"), memory, "MiB");
    Ok(())
}

/// Sends full-sized datagrams that begin with these bytes and continue with noise.
fn datagrams(to: SocketAddr, stop: &AtomicBool, count: &AtomicU64, head: &[u8]) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut rng = StdRng::seed_from_u64(1);
    let mut datagram = [0; 1_200];
    let begin = Instant::now();
    for burst in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        for _ in 0..BURST {
            rng.fill_bytes(&mut datagram);
            datagram[..head.len()].copy_from_slice(head);
            // A full socket buffer drops some, as a line would.
            let _ = socket.send_to(&datagram, to);
        }
        count.fetch_add(BURST, Ordering::Relaxed);
        let due = Duration::from_micros(burst * BURST * 1_000_000 / DATAGRAMS);
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    Ok(())
}

/// Sends well-formed DHT queries, each from another nonexistent node.
fn forged(to: SocketAddr, stop: &AtomicBool, count: &AtomicU64) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let mut rng = StdRng::seed_from_u64(2);
    let begin = Instant::now();
    for burst in 1.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        for _ in 0..BURST {
            // A full socket buffer drops some, as a line would.
            let _ = socket.send_to(&question(&mut rng), to);
        }
        count.fetch_add(BURST, Ordering::Relaxed);
        let due = Duration::from_micros(burst * BURST * 1_000_000 / DATAGRAMS);
        thread::sleep(due.saturating_sub(begin.elapsed()));
    }
    Ok(())
}

/// Encodes a `get_peers` for a random infohash, from a node with a random id (BEP 5).
fn question(rng: &mut StdRng) -> Vec<u8> {
    let mut random = [0; 42];
    rng.fill_bytes(&mut random);
    let mut out = b"d1:ad2:id20:".to_vec();
    out.extend(&random[..20]);
    out.extend(b"9:info_hash20:");
    out.extend(&random[20..40]);
    out.extend(b"e1:q9:get_peers1:t2:");
    out.extend(&random[40..]);
    out.extend(b"1:y1:qe");
    out
}

/// Runs a DHT node that answers every query with eight invented contacts; counts its answers.
fn liar(to: SocketAddr, stop: &AtomicBool, count: &AtomicU64) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut rng = StdRng::seed_from_u64(3);
    let mut buffer = [0; 2_048];
    let mut asked = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        // Makes itself known.
        if asked.elapsed() > Duration::from_millis(100) {
            socket.send_to(&question(&mut rng), to)?;
            asked = Instant::now();
        }
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let Some(id) = transaction(&buffer[..length]) else {
            continue;
        };
        let mut contacts = [0; 8 * 26];
        rng.fill_bytes(&mut contacts);
        for contact in contacts.chunks_exact_mut(26) {
            // Addresses of this machine, so that nobody else is queried.
            contact[20] = 127;
        }
        let mut out = b"d1:rd2:id20:".to_vec();
        out.extend([7; 20]);
        out.extend(b"5:nodes208:");
        out.extend(contacts);
        out.extend(format!("e1:t{}:", id.len()).as_bytes());
        out.extend(id);
        out.extend(b"1:y1:re");
        socket.send_to(&out, from)?;
        count.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// The transaction id of a query.
fn transaction(message: &[u8]) -> Option<&[u8]> {
    let is_question = message.ends_with(b"1:y1:qe");
    let at = message.windows(3).rposition(|part| part == b"1:t")? + 3;
    let length = usize::from(message.get(at)?.checked_sub(b'0')?);
    let id = message.get(at + 2..at + 2 + length)?;
    is_question.then_some(id)
}

/// Opens TCP connections that send half of a TLS record, and then nothing.
fn half_open(to: SocketAddr, stop: &AtomicBool, count: &AtomicU64) -> Result<()> {
    let mut open: Vec<TcpStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        open.retain(|stream| !is_closed(stream));
        while open.len() < HALF_OPEN {
            let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(1)) else {
                break;
            };
            stream.set_nonblocking(true)?;
            // It may have been closed already.
            let _ = stream.write_all(&[22, 3, 1, 2, 0, 1, 0]);
            open.push(stream);
            count.fetch_add(1, Ordering::Relaxed);
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

fn is_closed(stream: &TcpStream) -> bool {
    match stream.peek(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != std::io::ErrorKind::WouldBlock,
    }
}
