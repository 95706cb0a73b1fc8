//! Whether a relay serves: asked as its clients ask it (`docs/OPERATING.md`).

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

/// How long a reservation may take: one is asked for as soon as there is a connection.
const RESERVE: Duration = Duration::from_secs(5);
const STOP: Duration = Duration::from_millis(500);

/// What a relay answered.
#[derive(Debug)]
pub struct RelayCheck {
    /// How long a connection by QUIC took, or why there is none.
    pub quic: Result<Duration, DialError>,
    /// The same by TCP.
    pub tcp: Result<Duration, DialError>,
    /// Whether it gave a reservation by one of them, which is given back at once. A full relay gives none.
    pub reserved: bool,
}

/// Connects to a relay by QUIC and by TCP, as two strangers, and asks for a reservation. Waits 15 s at most.
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
    // Nobody is to reach us; and from loopback alone do we go to a relay there.
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
    // Whatever it opens here is reset.
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
