//! A cuttable piece of network between two nodes: a port that forwards UDP and TCP to another, or not.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{io::AsyncReadExt, io::AsyncWriteExt, task::JoinSet};

use super::V4;

/// Which traffic is forwarded.
#[derive(Default)]
struct Gates {
    udp: AtomicBool,
    /// Drops UDP towards the target, but not back from it.
    deaf: AtomicBool,
    tcp: AtomicBool,
}

/// A forwarding port, closed on drop.
pub(super) struct Wire {
    pub(super) address: SocketAddr,
    gates: Arc<Gates>,
    _tasks: JoinSet<()>,
}

impl Wire {
    /// Forwards to that address; everything is blocked at first.
    pub(super) fn to(target: SocketAddr) -> Self {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((V4, 0)).unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        udp.set_nonblocking(true).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let address = udp.local_addr().unwrap();
        let gates = Arc::new(Gates::default());
        let mut tasks = JoinSet::new();
        let udp = tokio::net::UdpSocket::from_std(udp).unwrap();
        tasks.spawn(carry_udp(udp, target, Arc::clone(&gates)));
        let tcp = tokio::net::TcpListener::from_std(tcp).unwrap();
        tasks.spawn(carry_tcp(tcp, target, Arc::clone(&gates)));
        Self {
            address,
            gates,
            _tasks: tasks,
        }
    }

    pub(super) fn udp(&self, open: bool) {
        self.gates.udp.store(open, Ordering::SeqCst);
    }

    /// Sets whether UDP towards the target is dropped.
    pub(super) fn deaf(&self, deaf: bool) {
        self.gates.deaf.store(deaf, Ordering::SeqCst);
    }

    pub(super) fn tcp(&self, open: bool) {
        self.gates.tcp.store(open, Ordering::SeqCst);
    }
}

async fn carry_udp(udp: tokio::net::UdpSocket, target: SocketAddr, gates: Arc<Gates>) {
    let udp = Arc::new(udp);
    let mut far: HashMap<SocketAddr, Arc<tokio::net::UdpSocket>> = HashMap::new();
    let mut back = JoinSet::new();
    let mut datagram = [0; 65_536];
    while let Ok((len, from)) = udp.recv_from(&mut datagram).await {
        if !gates.udp.load(Ordering::SeqCst) {
            continue;
        }
        if let Entry::Vacant(entry) = far.entry(from) {
            let socket = Arc::new(tokio::net::UdpSocket::bind((V4, 0)).await.unwrap());
            let (near, socket_, gates) =
                (Arc::clone(&udp), Arc::clone(&socket), Arc::clone(&gates));
            back.spawn(async move {
                let mut datagram = [0; 65_536];
                while let Ok((len, _)) = socket_.recv_from(&mut datagram).await {
                    if gates.udp.load(Ordering::SeqCst) {
                        let _ = near.send_to(&datagram[..len], from).await;
                    }
                }
            });
            entry.insert(socket);
        }
        if gates.deaf.load(Ordering::SeqCst) {
            continue;
        }
        let _ = far[&from].send_to(&datagram[..len], target).await;
    }
}

async fn carry_tcp(tcp: tokio::net::TcpListener, target: SocketAddr, gates: Arc<Gates>) {
    let mut pipes = JoinSet::new();
    while let Ok((near, _)) = tcp.accept().await {
        let far = tokio::net::TcpStream::connect(target).await.unwrap();
        let (near, far) = (near.into_split(), far.into_split());
        pipes.spawn(pipe(near.0, far.1, Arc::clone(&gates)));
        pipes.spawn(pipe(far.0, near.1, Arc::clone(&gates)));
    }
}

async fn pipe(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    gates: Arc<Gates>,
) {
    let mut bytes = [0; 16_384];
    while let Ok(len @ 1..) = from.read(&mut bytes).await {
        while !gates.tcp.load(Ordering::SeqCst) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if to.write_all(&bytes[..len]).await.is_err() {
            return;
        }
    }
}
