//! A node that is only a relay: no profile, no channels, no database (`docs/OPERATING.md`).

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bitchat_wire::stream::StreamKind;
use futures_util::future::BoxFuture;
use libp2p_identity::{Keypair, PeerId};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::StartError;
use crate::{
    dht::{Keeper, Saved},
    disguise::{Disguise, Torrents},
    kit::{Metrics, Scope},
    public_relays::{self, Offer, PublicRelaysConfig, Uses},
    relay::{RelayConfig, RelayLimits, RelayMode, Relays},
    tracker::{self, TrackerConfig, Trackers},
    transport::{EVENTS, IncomingLimits, Relay, Transport, TransportConfig, TransportEvent},
};

/// How long each layer may take to stop.
const LAYER_STOP: Duration = Duration::from_millis(800);
/// Trackers may take longer: they are sent `stopped`.
const TRACKERS_STOP: Duration = Duration::from_millis(2_200);
/// Length in bytes of the keys that a relay keeps: the seed of its PeerId, then QUIC's reset key.
pub const RELAY_KEYS: usize = 32 + 64;

/// The settings of a relay; see [`RelayNode::builder`]. What is not set keeps its default.
#[must_use = "a relay runs once `start` is called"]
pub struct RelayBuilder {
    bind: Vec<IpAddr>,
    port: u16,
    extra: Vec<SocketAddr>,
    keys: Zeroizing<[u8; RELAY_KEYS]>,
    limits: RelayLimits,
    announce: Option<Announce>,
}

/// Where a relay announces that it serves everybody.
#[derive(Clone, Debug, Default)]
pub struct Announce {
    /// Tracker URLs; if empty, well-known public trackers.
    pub trackers: Vec<String>,
    /// Whether to announce in the DHT as well.
    pub dht: bool,
    /// DHT nodes to bootstrap from, as `HOST:PORT`.
    pub dht_bootstrap: Vec<String>,
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
    /// From the top: announces, trackers and DHT, the relay, the transport.
    layers: [Scope; 4],
}

fn keypair(keys: &[u8; RELAY_KEYS]) -> Keypair {
    let mut seed = Zeroizing::new([0; 32]);
    seed.copy_from_slice(&keys[..32]);
    Keypair::ed25519_from_bytes(seed.as_mut_slice()).expect("any 32 bytes are a seed")
}

/// The PeerId of a relay with these keys.
pub fn relay_peer(keys: &[u8; RELAY_KEYS]) -> PeerId {
    keypair(keys).public().to_peer_id()
}

impl RelayBuilder {
    /// The addresses to listen on. Default, or with none: all of IPv4 and IPv6.
    pub fn bind(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.bind = addresses.into_iter().collect();
        self
    }

    /// Further addresses to listen on, over TCP alone: with port 443, say, the only one that some proxies allow.
    pub fn extra(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.extra = addresses.into_iter().collect();
        self
    }

    /// How much to serve. Default: [`RelayLimits::PUBLIC`].
    pub fn limits(mut self, limits: RelayLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Where to announce that it serves everybody. Default, or `None`: nowhere; clients have to be configured with it.
    pub fn announce(mut self, announce: impl Into<Option<Announce>>) -> Self {
        self.announce = announce.into();
        self
    }

    /// Listens, serves, and announces the relay where it is to be announced.
    pub async fn start(self) -> Result<RelayNode, StartError> {
        let metrics = Metrics::default();
        let (base, _) = Scope::new(metrics.clone());
        let layers = [(); 4].map(|()| base.layer());
        let mut reset_key = Zeroizing::new([0; 64]);
        reset_key.copy_from_slice(&self.keys[32..]);
        let listen = |error| StartError::Listen {
            port: self.port,
            error,
        };
        let config = TransportConfig {
            extra: self.extra,
            key: Some(keypair(&self.keys)),
            incoming: incoming(&self.limits),
            ..TransportConfig::new(self.bind, self.port, reset_key)
        };
        let (events, happenings) = mpsc::channel(EVENTS);
        let transport = Transport::start(config, &layers[3], events)
            .await
            .map_err(listen)?;
        let config = RelayConfig {
            limits: self.limits,
            ..RelayConfig::new(RelayMode::Public)
        };
        let (relays, _) = Relays::start(config, transport.clone(), &layers[2]);
        let pump = pump(relays.clone(), happenings);
        layers[2].transient(tracing::info_span!("streams"), pump);
        if let Some(announce) = self.announce {
            offer(announce, &transport, &relays, &layers).await;
        }
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

/// Announces the relay in public.
async fn offer(announce: Announce, transport: &Transport, relays: &Relays, layers: &[Scope; 4]) {
    let disguise = Disguise::default();
    let mut torrents = Torrents::new(disguise, &mut rand::rng());
    if !announce.dht {
        torrents = torrents.without_dht();
    }
    let config = TrackerConfig {
        udp: Some(transport.udp()),
        torrents,
        ..TrackerConfig::new(transport.port())
    };
    let trackers = Trackers::start_with(config, &layers[1]);
    let dht = if announce.dht {
        let start = super::dht::start(
            announce.dht_bootstrap,
            transport,
            disguise,
            Arc::new(Nothing),
            &layers[1],
        );
        Some(start.await)
    } else {
        None
    };
    let config = PublicRelaysConfig {
        offer: Offer::Always,
        look: None,
        channels: Arc::new(Vec::new),
        trackers: match announce.trackers.is_empty() {
            true => tracker::public_trackers(),
            false => announce.trackers,
        },
    };
    let uses = Uses {
        transport: transport.clone(),
        relays: relays.clone(),
        trackers,
        dht,
    };
    public_relays::start(config, uses, &layers[0]);
}

/// A relay keeps no DHT nodes for its next run: it has no database.
struct Nothing;

impl Keeper for Nothing {
    fn load(&self) -> BoxFuture<'_, Saved> {
        Box::pin(async { Saved::default() })
    }

    fn save(&self, _: Saved) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// The limits on incoming connections: one for each reservation and each peer that begins a circuit, and the usual number
/// for peers that only ask.
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
        // Streams of other kinds are reset by being dropped.
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
    /// Begins a relay on a port of UDP and TCP (0: any). `keys` are drawn at random once and kept: clients are configured
    /// with the PeerId derived from them ([`relay_peer`]).
    pub fn builder(port: u16, keys: Zeroizing<[u8; RELAY_KEYS]>) -> RelayBuilder {
        RelayBuilder {
            bind: Vec::new(),
            port,
            extra: Vec::new(),
            keys,
            limits: RelayLimits::PUBLIC,
            announce: None,
        }
    }

    /// Its PeerId, the same at each start.
    pub fn peer_id(&self) -> PeerId {
        self.inner.transport.peer_id()
    }

    /// The port of UDP and TCP.
    pub fn port(&self) -> u16 {
        self.inner.transport.port()
    }

    /// Its address and PeerId as clients are configured with them, for an IP address that leads here.
    pub fn at(&self, ip: IpAddr) -> Relay {
        Relay {
            address: SocketAddr::new(ip, self.port()),
            peer: self.peer_id(),
        }
    }

    /// The current numbers of reservations and circuits.
    pub fn serves(&self) -> (usize, usize) {
        self.inner.relays.serves()
    }

    /// The metrics of this relay.
    pub fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    /// Stops: accepts nothing new, notifies the holders of reservations, and waits up to `patience` for circuits to end.
    pub async fn stop(&self, patience: Duration) {
        let [announces, trackers, ..] = &self.inner.layers;
        let quiet = async {
            announces.stop(LAYER_STOP).await;
            trackers.stop(TRACKERS_STOP).await;
        };
        tokio::join!(quiet, self.inner.relays.drain(patience));
        for layer in &self.inner.layers {
            layer.stop(LAYER_STOP).await;
        }
    }
}
