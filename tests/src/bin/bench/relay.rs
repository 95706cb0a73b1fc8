//! A circuit beside a direct TCP connection: throughput of one stream, and the added latency of a round trip. To the relay
//! over TCP, as used by those that need one most (behind proxies, or where UDP is blocked), and over QUIC.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bitchat_actors::{
    internals::{
        kit::Scope,
        relay::{RelayConfig, Relays},
        transport::{Connection, EVENTS, Stream, Transport, TransportConfig, TransportEvent},
    },
    node::{RELAY_KEYS, RelayNode},
    settings::{Relay, RelayLimits, RelayMode},
    status::{Metrics, PathKind},
};
use bitchat_wire::stream::StreamKind;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
};

use crate::figure::{percentile, print};

/// Bytes that are sent over one stream.
const BYTES: usize = 256 << 20;
const PIECE: usize = 64 << 10;
const ROUNDS: usize = 2_000;
/// Time limit of a reservation.
const PATIENCE: Duration = Duration::from_secs(60);
/// Blocks per path, alternating; figures are medians.
const BLOCKS: usize = 3;
/// The first byte of a stream, which selects what to do with the rest.
const SINK: u8 = 0;
const ECHO: u8 = 1;

/// A node without channels that serves streams.
pub(crate) struct Peer {
    pub(crate) transport: Transport,
    pub(crate) relays: Relays,
    scope: Scope,
}

impl Peer {
    async fn start(extra: Vec<SocketAddr>) -> Result<Self> {
        Self::start_at(Ipv4Addr::LOCALHOST.into(), extra).await
    }

    pub(crate) async fn start_at(ip: IpAddr, extra: Vec<SocketAddr>) -> Result<Self> {
        let (scope, _) = Scope::new(Metrics::default());
        let (sender, mut events) = mpsc::channel(EVENTS);
        let config = TransportConfig {
            extra,
            ..TransportConfig::new(vec![ip], 0, [3; 64].into())
        };
        let transport = Transport::start(config, &scope, sender).await?;
        let config = RelayConfig {
            always: true,
            ..RelayConfig::new(RelayMode::Off)
        };
        let (relays, _) = Relays::start(config, transport.clone(), &scope);
        let own = relays.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                match event {
                    TransportEvent::Stream {
                        connection,
                        kind: kind @ StreamKind::RelayStop,
                        stream,
                    } => own.incoming(connection, kind, stream).await,
                    TransportEvent::Stream { stream, .. } => {
                        tokio::spawn(serve(stream));
                    }
                    _ => {}
                }
            }
        });
        Ok(Self {
            transport,
            relays,
            scope,
        })
    }

    /// Holds a reservation at the relay.
    pub(crate) async fn reserve(&self, relay: Relay) -> Result<()> {
        let mut reachable = self.relays.reachable();
        self.relays.offered(relay);
        let held = reachable.wait_for(|relays| !relays.is_empty());
        tokio::time::timeout(PATIENCE, held)
            .await
            .context("no reservation")??;
        Ok(())
    }

    /// Opens a circuit to a target that holds a reservation there.
    pub(crate) async fn circuit(&self, relay: Relay, target: &Self) -> Result<Connection> {
        let circuit = self.relays.dial(relay, target.transport.peer_id()).await?;
        ensure!(circuit.path() == PathKind::Relayed, "it is a circuit");
        Ok(circuit)
    }

    /// Drops the reservation and stops it from being renewed.
    pub(crate) async fn stop(&self) {
        self.scope.stop(Duration::from_secs(5)).await;
    }
}

async fn serve(mut stream: Stream) -> Result<()> {
    match stream.recv.read_u8().await? {
        ECHO => {
            let mut message = [0; 100];
            loop {
                stream.recv.read_exact(&mut message).await?;
                stream.send.write_all(&message).await?;
                stream.send.flush().await?;
            }
        }
        _ => {
            let mut buffer = vec![0; PIECE];
            while stream.recv.read(&mut buffer).await? > 0 {}
            stream.send.write_u8(1).await?;
            stream.send.flush().await?;
            Ok(stream.send.shutdown().await?)
        }
    }
}

/// Sends that much on one stream, until everything has arrived.
pub(crate) async fn upload(connection: &Connection, bytes: usize) -> Result<()> {
    let mut stream = connection.open(StreamKind::Sub).await?;
    let piece = vec![7; PIECE];
    stream.send.write_u8(SINK).await?;
    for _ in 0..bytes / PIECE {
        stream.send.write_all(&piece).await?;
    }
    stream.send.shutdown().await?;
    ensure!(stream.recv.read_u8().await? == 1, "all has arrived");
    Ok(())
}

/// Measures the throughput of one stream, in MiB/s.
async fn throughput(connection: &Connection) -> Result<f64> {
    let begin = Instant::now();
    upload(connection, BYTES).await?;
    Ok((BYTES >> 20) as f64 / begin.elapsed().as_secs_f64())
}

/// Measures the median of round trips of 100 bytes, in milliseconds.
async fn round_trip(connection: &Connection) -> Result<f64> {
    let mut stream = connection.open(StreamKind::Sub).await?;
    stream.send.write_u8(ECHO).await?;
    let mut message = [7; 100];
    let mut times = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        stream.send.write_all(&message).await?;
        stream.send.flush().await?;
        stream.recv.read_exact(&mut message).await?;
        times.push(begin.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(percentile(&mut times, 0.5))
}

/// Opens a circuit to the target, with both legs to the relay at that address.
async fn circuit(target: &Peer, other: &Peer, relay: Relay) -> Result<Connection> {
    target.reserve(relay).await?;
    other.circuit(relay, target).await
}

/// Measurements of one path.
#[derive(Default)]
struct Way {
    rates: Vec<f64>,
    round_trips: Vec<f64>,
}

impl Way {
    async fn block(&mut self, connection: &Connection) -> Result<()> {
        self.round_trips.push(round_trip(connection).await?);
        self.rates.push(throughput(connection).await?);
        Ok(())
    }

    /// The medians.
    fn result(mut self) -> (f64, f64) {
        (
            percentile(&mut self.rates, 0.5),
            percentile(&mut self.round_trips, 0.5),
        )
    }
}

pub(crate) async fn run() -> Result<()> {
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    let free = TcpListener::bind((loopback, 0))?.local_addr()?;
    let (_target, other) = (Peer::start(vec![free]).await?, Peer::start(vec![]).await?);
    let direct = other.transport.dial(free, None).await?;
    ensure!(direct.path() == PathKind::Tcp, "nobody speaks QUIC there");

    let at = TcpListener::bind((loopback, 0))?.local_addr()?;
    let node = RelayNode::builder(0, [9; RELAY_KEYS].into())
        .bind([loopback])
        .extra([at])
        .limits(RelayLimits {
            circuit_bytes: 0,
            bytes_a_second: 0,
            ..RelayLimits::PUBLIC
        })
        .start()
        .await?;
    let by_quic = node.at(loopback);
    // An extra address supports TCP only.
    let by_tcp = Relay {
        address: at,
        peer: by_quic.peer,
    };
    // Two nodes share one connection, so TCP and QUIC use different pairs.
    let (tcp_target, tcp_other) = (Peer::start(vec![]).await?, Peer::start(vec![]).await?);
    let tcp = circuit(&tcp_target, &tcp_other, by_tcp).await?;
    let (quic_target, quic_other) = (Peer::start(vec![]).await?, Peer::start(vec![]).await?);
    let quic = circuit(&quic_target, &quic_other, by_quic).await?;

    let (mut ways, connections) = ([(); 3].map(|()| Way::default()), [&direct, &tcp, &quic]);
    for _ in 0..BLOCKS {
        for (way, connection) in ways.iter_mut().zip(connections) {
            way.block(connection).await?;
        }
    }
    let [direct, tcp, quic] = ways.map(Way::result);
    print("direct_tcp_mib_per_s", direct.0, "MiB/s");
    print("relay_mib_per_s", tcp.0, "MiB/s");
    print("relay_throughput_ratio", tcp.0 / direct.0, "x direct TCP");
    print("relay_quic_mib_per_s", quic.0, "MiB/s");
    print(
        "relay_quic_throughput_ratio",
        quic.0 / direct.0,
        "x direct TCP",
    );
    print("direct_tcp_rtt_p50_ms", direct.1, "ms");
    print("relay_rtt_added_ms", tcp.1 - direct.1, "ms");
    print("relay_quic_rtt_added_ms", quic.1 - direct.1, "ms");
    node.stop(Duration::ZERO).await;
    Ok(())
}
