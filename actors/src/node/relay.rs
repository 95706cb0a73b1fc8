//! A node that is nothing but a relay: no profile, no channels, no database (`docs/OPERATING.md`).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bitchat_wire::stream::StreamKind;
use libp2p_identity::{Keypair, PeerId};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::StartError;
use crate::{
    kit::{Metrics, Scope},
    relay::{RelayConfig, RelayLimits, RelayMode, Relays},
    transport::{EVENTS, IncomingLimits, Relay, Transport, TransportConfig, TransportEvent},
};

/// How long each layer may take to stop.
const LAYER_STOP: Duration = Duration::from_millis(800);
/// What a relay keeps: the seed of its PeerId, and QUIC's reset key.
pub const RELAY_KEYS: usize = 32 + 64;

/// What a relay is made of.
pub struct RelayBuilder {
    /// Addresses to listen on; empty: all of IPv4 and IPv6.
    pub bind: Vec<IpAddr>,
    /// The port, of UDP and TCP.
    pub port: u16,
    /// Where to listen by TCP besides: at port 443, since some proxies let nothing else through.
    pub extra: Vec<SocketAddr>,
    /// Random once, and kept: others write the PeerId down that comes of it.
    pub keys: Zeroizing<[u8; RELAY_KEYS]>,
    /// What it gives.
    pub limits: RelayLimits,
}

/// A running relay. Cheap to clone.
#[derive(Clone)]
pub struct RelayNode {
    inner: Arc<Inner>,
}

struct Inner {
    metrics: Metrics,
    transport: Transport,
    relays: Relays,
    layers: [Scope; 2],
}

impl RelayBuilder {
    /// The usual limits, on all addresses.
    pub fn new(port: u16, keys: Zeroizing<[u8; RELAY_KEYS]>) -> Self {
        Self {
            bind: Vec::new(),
            port,
            extra: Vec::new(),
            keys,
            limits: RelayLimits::PUBLIC,
        }
    }

    /// Starts it.
    pub async fn start(self) -> Result<RelayNode, StartError> {
        let metrics = Metrics::default();
        let (base, _) = Scope::new(metrics.clone());
        let layers = [base.layer(), base.layer()];
        let mut seed = Zeroizing::new([0; 32]);
        let mut reset_key = Zeroizing::new([0; 64]);
        seed.copy_from_slice(&self.keys[..32]);
        reset_key.copy_from_slice(&self.keys[32..]);
        let listen = |error| StartError::Listen {
            port: self.port,
            error,
        };
        let key = Keypair::ed25519_from_bytes(seed.as_mut_slice())
            .map_err(|error| listen(std::io::Error::other(error)))?;
        let config = TransportConfig {
            extra: self.extra,
            key: Some(key),
            incoming: incoming(&self.limits),
            ..TransportConfig::new(self.bind, self.port, reset_key)
        };
        let (events, happenings) = mpsc::channel(EVENTS);
        let transport = Transport::start(config, &layers[1], events)
            .await
            .map_err(listen)?;
        let config = RelayConfig {
            limits: self.limits,
            ..RelayConfig::new(RelayMode::Public)
        };
        let (relays, _) = Relays::start(config, transport.clone(), &layers[0]);
        let pump = pump(relays.clone(), happenings);
        layers[0].transient(tracing::info_span!("streams"), pump);
        let inner = Inner {
            metrics,
            transport,
            relays,
            layers,
        };
        Ok(RelayNode {
            inner: Arc::new(inner),
        })
    }
}

/// A connection for each reservation, and for each who begins a circuit; the usual number for those who only ask.
fn incoming(limits: &RelayLimits) -> IncomingLimits {
    let usual = IncomingLimits::default();
    let add = |one: usize, two: usize, more: usize| one.saturating_add(two).saturating_add(more);
    IncomingLimits {
        all: add(limits.reservations, limits.circuits, usual.all),
        of_source: add(
            limits.reservations_an_address,
            limits.circuits_an_address,
            usual.of_source,
        ),
    }
}

async fn pump(relays: Relays, mut happenings: mpsc::Receiver<TransportEvent>) {
    while let Some(event) = happenings.recv().await {
        // What is not a relay's is reset.
        if let TransportEvent::Stream {
            connection,
            kind: kind @ StreamKind::RelayHop,
            stream,
        } = event
        {
            relays.incoming(connection, kind, stream).await;
        }
    }
}

impl RelayNode {
    /// Its PeerId, the same at each start.
    pub fn peer_id(&self) -> PeerId {
        self.inner.transport.peer_id()
    }

    /// The port of UDP and TCP.
    pub fn port(&self) -> u16 {
        self.inner.transport.port()
    }

    /// It, as others are told of it, at an address that leads here.
    pub fn at(&self, ip: IpAddr) -> Relay {
        Relay {
            address: SocketAddr::new(ip, self.port()),
            peer: self.peer_id(),
        }
    }

    /// Reservations and circuits of this moment.
    pub fn serves(&self) -> (usize, usize) {
        self.inner.relays.serves()
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Takes on nothing new, tells those who hold reservations, waits for circuits to end, so long at most, and stops.
    pub async fn stop(&self, patience: Duration) {
        self.inner.relays.drain(patience).await;
        for layer in &self.inner.layers {
            layer.stop(LAYER_STOP).await;
        }
    }
}
