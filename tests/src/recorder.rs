//! A tracker that records every byte it receives, over HTTP and UDP.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::Result;

/// The answer to every announce over HTTP: without counts, so that clients that show them send scrapes.
const ANNOUNCED: &[u8] = b"d8:intervali1800e5:peers0:e";
/// The answer to every scrape.
const SCRAPED: &[u8] = b"d5:filesdee";
/// The connection id, the same for all clients.
const CONNECTION: u64 = 0x1122_3344_5566_7788;

/// A request that it received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Over HTTP, the number of the connection, from 1; over UDP, the source port.
    pub from: usize,
    /// All bytes: the head of a request, or a datagram.
    pub bytes: Vec<u8>,
}

#[derive(Default)]
struct Records {
    http: Mutex<Vec<Record>>,
    udp: Mutex<Vec<Record>>,
}

/// A tracker on loopback. Its threads run until the process of the test ends.
pub struct Recorder {
    http: SocketAddr,
    udp: SocketAddr,
    records: Arc<Records>,
}

impl Recorder {
    /// Starts a recorder on free ports.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let (http, udp) = (listener.local_addr()?, socket.local_addr()?);
        let records = Arc::new(Records::default());
        let kept = Arc::clone(&records);
        thread::spawn(move || {
            let connections = AtomicUsize::new(0);
            for tcp in listener.incoming().flatten() {
                let number = connections.fetch_add(1, Ordering::Relaxed) + 1;
                let kept = Arc::clone(&kept);
                // The thread ends when the other side closes.
                thread::spawn(move || serve_http(tcp, number, &kept));
            }
        });
        let kept = Arc::clone(&records);
        thread::spawn(move || serve_udp(&socket, &kept));
        Ok(Self { http, udp, records })
    }

    /// The URLs of its HTTP and its UDP tracker.
    pub fn urls(&self) -> [String; 2] {
        [
            format!("http://{}/announce", self.http),
            format!("udp://{}/announce", self.udp),
        ]
    }

    /// `HOST:PORT` of its HTTP tracker.
    pub fn host(&self) -> String {
        self.http.to_string()
    }

    /// HTTP requests so far.
    pub fn http(&self) -> Vec<Record> {
        lock(&self.records.http).clone()
    }

    /// UDP datagrams so far.
    pub fn udp(&self) -> Vec<Record> {
        lock(&self.records.udp).clone()
    }

    /// The number of requests that contain that text.
    pub fn count(&self, what: &str) -> usize {
        let says = |record: &&Record| String::from_utf8_lossy(&record.bytes).contains(what);
        self.http().iter().filter(says).count()
    }
}

fn lock(records: &Mutex<Vec<Record>>) -> std::sync::MutexGuard<'_, Vec<Record>> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve_http(mut tcp: TcpStream, number: usize, records: &Records) {
    loop {
        let mut head = Vec::new();
        let mut byte = [0];
        while !head.ends_with(b"\r\n\r\n") {
            match tcp.read(&mut byte) {
                Ok(1) => head.push(byte[0]),
                _ => return,
            }
        }
        let scrape = head.starts_with(b"GET /scrape");
        let closes = head
            .windows(17)
            .any(|words| words.eq_ignore_ascii_case(b"connection: close"));
        lock(&records.http).push(Record {
            from: number,
            bytes: head,
        });
        let body = if scrape { SCRAPED } else { ANNOUNCED };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        if tcp.write_all(&[head.as_bytes(), body].concat()).is_err() || closes {
            return;
        }
    }
}

fn serve_udp(socket: &UdpSocket, records: &Records) {
    let mut buffer = [0; 2_048];
    loop {
        // The client may be gone; that is its error.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        let asked = &buffer[..length];
        lock(&records.udp).push(Record {
            from: usize::from(from.port()),
            bytes: asked.to_vec(),
        });
        let Some((action, transaction)) = asked.get(8..12).zip(asked.get(12..16)) else {
            continue;
        };
        let mut answer = [action, transaction].concat();
        match action {
            [0, 0, 0, 0] => answer.extend_from_slice(&CONNECTION.to_be_bytes()),
            [0, 0, 0, 1] => {
                answer.extend_from_slice(&1_800_u32.to_be_bytes());
                answer.extend_from_slice(&[0; 8]);
            }
            [0, 0, 0, 2] => answer.resize(8 + (length.saturating_sub(16)) / 20 * 12, 0),
            _ => continue,
        }
        // A client repeats a lost one, or the test fails.
        let _ = socket.send_to(&answer, from);
    }
}
