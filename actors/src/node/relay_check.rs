//! A check that a relay serves, made the way its clients use it (`docs/OPERATING.md`).

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use rand::Rng as _;
use tokio::{sync::mpsc, time::timeout};
use zeroize::Zeroizing;

use super::StartError;
use crate::{
    kit::{Metrics, Scope},
    relay::{RelayConfig, RelayMode, Relays},
    transport::{DialError, EVENTS, Paths, Relay, Transport, TransportConfig},
};

/// How long a reservation may take, once there is a connection.
const RESERVE: Duration = Duration::from_secs(5);
const STOP: Duration = Duration::from_millis(500);

/// The result of [`check_relay`].
#[derive(Debug)]
pub struct RelayCheck {
    /// How long connecting over QUIC took, or why it failed.
    pub quic: Result<Duration, DialError>,
    /// How long connecting over TCP took, or why it failed.
    pub tcp: Result<Duration, DialError>,
    /// Whether it granted a reservation over either, which is released at once. A full relay grants none.
    pub reserved: bool,
}

/// Connects to a relay over QUIC and over TCP, as two unknown peers, and requests a reservation. Waits 15 s at most.
pub async fn check_relay(relay: Relay) -> Result<RelayCheck, StartError> {
    let only = |quic| Paths {
        quic,
        tcp: !quic,
        relay: true,
    };
    let (quic, tcp) = tokio::try_join!(ask(relay, only(true)), ask(relay, only(false)))?;
    Ok(RelayCheck {
        reserved: quic.1 || tcp.1,
        quic: quic.0,
        tcp: tcp.0,
    })
}

async fn ask(
    relay: Relay,
    paths: Paths,
) -> Result<(Result<Duration, DialError>, bool), StartError> {
    let ip = relay.address.ip();
    // Nothing has to reach this transport, and a relay on loopback is reached only from there.
    let from = match ip {
        _ if ip.is_loopback() => ip,
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mut reset_key = Zeroizing::new([0; 64]);
    rand::rng().fill_bytes(reset_key.as_mut_slice());
    let (below, _) = Scope::new(Metrics::default());
    let above = below.layer();
    let (events, mut happenings) = mpsc::channel(EVENTS);
    let config = TransportConfig {
        paths,
        ..TransportConfig::new(vec![from], 0, reset_key)
    };
    let transport = Transport::start(config, &below, events)
        .await
        .map_err(|error| StartError::Listen { port: 0, error })?;
    // Streams that the relay opens here are reset by being dropped.
    below.transient(tracing::info_span!("events"), async move {
        while happenings.recv().await.is_some() {}
    });
    let begin = Instant::now();
    let dialled = transport.dial(relay.address, Some(relay.peer)).await;
    let took = begin.elapsed();
    let mut reserved = false;
    if dialled.is_ok() {
        let config = RelayConfig {
            always: true,
            ..RelayConfig::new(RelayMode::Off)
        };
        let (relays, _) = Relays::start(config, transport, &above);
        let mut reachable = relays.reachable();
        relays.offered(relay);
        let held = reachable.wait_for(|relays| !relays.is_empty());
        reserved = matches!(timeout(RESERVE, held).await, Ok(Ok(_)));
    }
    above.stop(STOP).await;
    below.stop(STOP).await;
    Ok((dialled.map(|_| took), reserved))
}
