//! Starting and stopping, layer by layer.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bitchat_wire::{
    channel::ChannelFile,
    identity::{DeviceKey, IdentityKey},
    stream::StreamKind,
};
use rand::RngExt;
use tokio::sync::{broadcast, mpsc};
use zeroize::Zeroizing;

use super::{NodeBuilder, NodeEvent, StartError, disguise, portmap::Router, status::Observers};
use crate::{
    channel::ChannelConfig,
    chat::{Chat, Chats},
    dht::Dht,
    discovery::{Discovery, Reached, Sources},
    disguise::{Disguise, Torrents},
    kit::{Death, Metrics, Scope},
    lan::{Lan, LanConfig},
    link::{Links, LocalDevice},
    offers,
    relay::{RelayConfig, RelayMode, Relays},
    store::{Store, StoreError},
    tracker::{TrackerConfig, Trackers},
    transport::{EVENTS, Paths, Proxy, Transport, TransportConfig, TransportEvent},
};

/// Happenings that a listener may lag behind; then it re-reads the store.
const HAPPENINGS: usize = 1_024;
/// What trackers found, waiting for discovery: an answer each.
const FOUND: usize = 64;
/// What the DHT found, waiting for discovery: an answer of a node each.
const DHT_FOUND: usize = 64;
/// Whom the local network found, waiting for discovery: a node each.
const LAN_FOUND: usize = 64;
/// Connections that discovery made, waiting for links.
const REACHED: usize = 64;
/// How long each layer may take to stop.
const LAYER_STOP: Duration = Duration::from_millis(800);
/// Trackers may take longer: they are told `stopped`.
const TRACKERS_STOP: Duration = Duration::from_millis(2_200);
/// The router is asked to take its mapping back.
const PORTMAP_STOP: Duration = Duration::from_millis(1_900);

/// In a channel made a moment ago there is nobody to be found, while its maker hands the file on (and tells a
/// tracker that serves only what it knows). Asking too early would mean a refusal, and a long wait after it.
const MAKERS_PAUSE: Duration = Duration::from_secs(2);

/// Ports below it are for services, and would stand out in an announce.
const FIRST_PORT: u16 = 20_000;
/// How long to be in need of relays before strangers' are looked for: nothing else helps behind a proxy, but elsewhere
/// members mostly turn up first.
const LOOK_SOON: Duration = Duration::from_secs(2);
const LOOK_LATER: Duration = Duration::from_secs(30);
/// How often a proxy that did not work is looked at again, if nothing else tries it.
const PROXY_LOOK: Duration = Duration::from_secs(10);

/// A running node. Cheap to clone; [`Node::stop`] ends it for all clones.
#[derive(Clone)]
pub struct Node {
    pub(super) inner: Arc<Inner>,
}

/// The layers, in the order in which they start.
pub(super) struct Layers {
    store: Scope,
    transport: Scope,
    relay: Scope,
    portmap: Scope,
    trackers: Scope,
    dht: Scope,
    lan: Scope,
    discovery: Scope,
    links: Scope,
    pub(super) channels: Scope,
}

pub(super) struct Inner {
    pub(super) metrics: Metrics,
    pub(super) store: Store,
    pub(super) transport: Transport,
    pub(super) relays: Relays,
    pub(super) router: Router,
    pub(super) dht: Option<Dht>,
    pub(super) discovery: Discovery,
    pub(super) links: Links,
    pub(super) identity: IdentityKey,
    pub(super) name: String,
    pub(super) agent: String,
    pub(super) local: Arc<LocalDevice>,
    pub(super) disguise: Disguise,
    pub(super) chats: Chats,
    /// One change of a channel's file at a time.
    pub(super) editing: tokio::sync::Mutex<()>,
    pub(super) events: broadcast::Sender<NodeEvent>,
    pub(super) observers: Arc<Observers>,
    pub(super) deaths: Arc<Mutex<Vec<Death>>>,
    pub(super) started: Instant,
    pub(super) layers: Layers,
}

impl NodeBuilder {
    /// Embedded defaults for a database and an identity.
    pub fn new(database: PathBuf, identity: IdentityKey) -> Self {
        Self {
            database,
            identity,
            name: String::new(),
            bind: Vec::new(),
            port: None,
            agent: concat!("bitchat/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy: None,
            paths: Paths::ALL,
            relay: RelayMode::default(),
            dht: false,
            dht_bootstrap: Vec::new(),
            lan: false,
            portmap: false,
            public_relays: false,
            disguise: None,
            read_marks: false,
        }
    }

    /// Starts the node.
    pub async fn start(self) -> Result<Node, StartError> {
        let metrics = Metrics::default();
        let (base, reports) = Scope::new(metrics.clone());
        let layers = Layers {
            store: base.layer(),
            transport: base.layer(),
            relay: base.layer(),
            portmap: base.layer(),
            trackers: base.layer(),
            dht: base.layer(),
            lan: base.layer(),
            discovery: base.layer(),
            links: base.layer(),
            channels: base.layer(),
        };
        let store = Store::open(&self.database, &layers.store).await?;
        match self.start_on(store, metrics, reports, layers).await {
            Ok(node) => Ok(node),
            Err((error, layers)) => {
                layers.stop().await;
                Err(error)
            }
        }
    }

    async fn start_on(
        self,
        store: Store,
        metrics: Metrics,
        reports: mpsc::Receiver<Death>,
        layers: Layers,
    ) -> Result<Node, (StartError, Layers)> {
        let prepared = async {
            let local = local_device(&store, &self.identity).await?;
            let disguise = disguise::kept(&store, self.disguise).await?;
            let port = match kept_port(&store).await? {
                // A client on loopback alone is nobody's, and its port may be a real one's.
                0 if !self.on_loopback() => disguise.port(&mut rand::rng()),
                port => port,
            };
            Ok::<_, StoreError>((local, reset_key(&store).await?, disguise, port))
        };
        let (local, reset_key, disguise, kept_port) = match prepared.await {
            Ok(prepared) => prepared,
            Err(error) => return Err((error.into(), layers)),
        };
        let port = self.port.unwrap_or(kept_port);
        let mut torrents = Torrents::new(disguise, &mut rand::rng());
        let listens = self.listens();
        if !self.dht || !listens {
            torrents = torrents.without_dht();
        }
        let config = TransportConfig {
            port_is_wish: self.port.is_none(),
            torrents: Some(torrents.clone()),
            proxy: self.proxy.clone(),
            paths: self.paths,
            ..TransportConfig::new(self.bind.clone(), port, reset_key.clone())
        };
        let (transport_events, happenings) = mpsc::channel(EVENTS);
        let transport = match Transport::start(config, &layers.transport, transport_events).await {
            Ok(transport) => transport,
            Err(error) => return Err((StartError::Listen { port, error }, layers)),
        };
        // Trackers are told a port like any other; behind a proxy nobody answers there.
        let announced = match transport.port() {
            0 if port == 0 => rand::rng().random_range(FIRST_PORT..=u16::MAX),
            0 => port,
            port => port,
        };
        if let Err(error) = store.set_value("port", &announced.to_be_bytes()).await {
            return Err((error.into(), layers));
        }
        if let Some(proxy) = self.proxy.clone() {
            let watch = watch_proxy(proxy);
            layers
                .transport
                .transient(tracing::info_span!("proxy"), watch);
        }
        // Who listens nowhere carries nothing, and is reached through others or not at all.
        let config = RelayConfig {
            always: !listens,
            ..RelayConfig::new(if listens { self.relay } else { RelayMode::Off })
        };
        let (relays, met) = Relays::start(config, transport.clone(), &layers.relay);
        let router = Router::start(
            self.portmap,
            &transport,
            disguise,
            reset_key,
            &layers.portmap,
        );
        let (found, all) = mpsc::channel(FOUND);
        let (ours, findings) = mpsc::channel(FOUND);
        let (public, offered) = mpsc::channel(offers::FOUND);
        layers.discovery.transient(
            tracing::info_span!("found"),
            super::offers::sort(all, ours, public),
        );
        let config = TrackerConfig {
            udp: listens.then(|| transport.udp()),
            torrents: torrents.clone(),
            proxy: self.proxy.clone(),
            ..TrackerConfig::new(announced)
        };
        let trackers = Trackers::start_with(config, &layers.trackers, found);
        let (dht_sender, dht_found) = mpsc::channel(DHT_FOUND);
        let dht = if self.dht && listens {
            let keeper = Arc::new(store.clone());
            let bootstrap = self.dht_bootstrap.clone();
            let start = super::dht::start(
                bootstrap,
                &transport,
                disguise,
                keeper,
                &layers.dht,
                dht_sender,
            );
            Some(start.await)
        } else {
            None
        };
        let (lan_sender, lan_found) = mpsc::channel(LAN_FOUND);
        let lan = (self.lan && listens).then(|| {
            let listening = transport.local_addresses();
            let config = LanConfig {
                port: transport.port(),
                bind: listening.iter().map(SocketAddr::ip).collect(),
            };
            Lan::start(config, &layers.lan, lan_sender)
        });
        layers.trackers.transient(
            tracing::info_span!("outer port"),
            super::outer::follow(transport.clone(), trackers.clone(), dht.clone()),
        );
        let sources = Sources {
            trackers,
            found: findings,
            dht: dht.clone(),
            dht_found,
            relays: relays.clone(),
            met,
            lan,
            lan_found,
        };
        let uses = offers::Uses {
            transport: transport.clone(),
            relays: relays.clone(),
            trackers: sources.trackers.clone(),
            found: offered,
            dht: dht.clone(),
        };
        let (offer, look) = (self.offer(), self.look_for_relays());
        let (reached, connections) = mpsc::channel(REACHED);
        let discovery = Discovery::start(
            transport.clone(),
            sources,
            store.clone(),
            &layers.discovery,
            reached,
        );
        let links = Links::start(
            transport.clone(),
            relays.clone(),
            discovery.clone(),
            store.clone(),
            &layers.links,
        );
        let (events, _) = broadcast::channel(HAPPENINGS);
        let chats = Chats::new(
            store.clone(),
            events.clone(),
            self.name.clone(),
            self.read_marks,
            &layers.channels,
        );
        let inner = Inner {
            metrics,
            store,
            transport,
            relays,
            router,
            dht,
            discovery,
            links,
            identity: self.identity,
            name: self.name,
            agent: self.agent,
            local: Arc::new(local),
            disguise,
            chats,
            editing: tokio::sync::Mutex::default(),
            events,
            observers: Arc::default(),
            deaths: Arc::default(),
            started: Instant::now(),
            layers,
        };
        let node = Node {
            inner: Arc::new(inner),
        };
        node.pump(happenings, connections, reports);
        let config = offers::OffersConfig {
            offer,
            look,
            channels: super::offers::channels(&node),
            trackers: Vec::new(),
        };
        offers::start(config, uses, &node.inner.layers.discovery);
        match node.open_channels().await {
            Ok(()) => Ok(node),
            Err(error) => {
                node.stop().await;
                // The layers are stopped already; stopping them again does nothing.
                let (base, _) = Scope::new(Metrics::default());
                Err((error.into(), Layers::empty(&base)))
            }
        }
    }
}

/// Keeps what the status says of the proxy true, also while nothing is to be sent.
async fn watch_proxy(proxy: Proxy) {
    proxy.probe().await;
    loop {
        tokio::time::sleep(PROXY_LOOK).await;
        if proxy.status().trouble.is_some() {
            proxy.probe().await;
        }
    }
}

impl NodeBuilder {
    /// A public relay says so when it is known to be within reach.
    fn offer(&self) -> offers::Offer {
        match self.relay {
            RelayMode::Public if self.listens() => offers::Offer::WhenReached,
            _ => offers::Offer::Never,
        }
    }

    fn look_for_relays(&self) -> Option<Duration> {
        let delay = match self.proxy {
            Some(_) => LOOK_SOON,
            None => LOOK_LATER,
        };
        // In hiding no tracker is asked, unless through a proxy, whose address it is that trackers tell.
        let shown = self.proxy.is_some() || !self.paths.is_hidden() && !self.on_loopback();
        (self.public_relays && shown && self.paths.relay).then_some(delay)
    }

    /// Whether anybody can come: not behind a proxy, nor in hiding.
    fn listens(&self) -> bool {
        self.proxy.is_none() && !self.paths.is_hidden()
    }

    fn on_loopback(&self) -> bool {
        !self.bind.is_empty() && self.bind.iter().all(IpAddr::is_loopback)
    }
}

impl Node {
    /// Carries what lower layers tell to the layers above them.
    fn pump(
        &self,
        mut happenings: mpsc::Receiver<TransportEvent>,
        mut connections: mpsc::Receiver<Reached>,
        mut reports: mpsc::Receiver<Death>,
    ) {
        let inner = &self.inner;
        let (links, relays) = (inner.links.clone(), inner.relays.clone());
        let observers = Arc::clone(&inner.observers);
        let discovery = inner.discovery.clone();
        let portmap = inner.router.portmap();
        inner
            .layers
            .links
            .transient(tracing::info_span!("streams"), async move {
                while let Some(event) = happenings.recv().await {
                    match event {
                        TransportEvent::Stream {
                            connection,
                            kind: StreamKind::Link,
                            stream,
                        } => links.incoming(connection, stream).await,
                        TransportEvent::Observed { by, address, .. } => {
                            observers.add(by, address);
                            relays.placed().await;
                        }
                        TransportEvent::Stream {
                            connection,
                            kind: kind @ (StreamKind::RelayHop | StreamKind::RelayStop),
                            stream,
                        } => relays.incoming(connection, kind, stream).await,
                        TransportEvent::Connected(connection) => {
                            observers.connected(connection.peer());
                            relays.connected(&connection).await;
                        }
                        TransportEvent::Moved => {
                            if let Some(portmap) = &portmap {
                                portmap.moved().await;
                            }
                            relays.moved().await;
                            discovery.moved().await;
                        }
                        TransportEvent::Closed { peer, .. } => observers.closed(&peer),
                        // The side that picked the survivor makes the new links; the other one waits for them.
                        TransportEvent::Draining {
                            connection,
                            survivor,
                            chosen_here: true,
                        } => links.moved(connection.id(), survivor).await,
                        TransportEvent::Draining { .. } => {}
                        // Dropping a stream of a kind that nobody serves yet resets it.
                        TransportEvent::Stream { .. } => {}
                    }
                }
            });
        let links = inner.links.clone();
        inner
            .layers
            .links
            .transient(tracing::info_span!("reached"), async move {
                while let Some(reached) = connections.recv().await {
                    links.initiate(reached).await;
                }
            });
        let deaths = Arc::clone(&inner.deaths);
        inner
            .layers
            .links
            .transient(tracing::info_span!("deaths"), async move {
                while let Some(death) = reports.recv().await {
                    tracing::error!(
                        actor = death.actor,
                        times = death.times,
                        reason = death.reason,
                        "an actor keeps failing"
                    );
                    let mut deaths = deaths.lock().unwrap_or_else(PoisonError::into_inner);
                    deaths.push(death);
                    let excess = deaths.len().saturating_sub(super::status::DEATHS);
                    deaths.drain(..excess);
                }
            });
    }

    /// `made` now, or joined or opened.
    pub(super) fn start_channel(&self, file: ChannelFile, made: bool) -> Chat {
        let inner = &self.inner;
        let config = ChannelConfig {
            trackers: Arc::new(Mutex::new(file.trackers().to_vec())),
            file,
            local: Arc::clone(&inner.local),
            agent: inner.agent.clone(),
            store: inner.store.clone(),
            links: inner.links.clone(),
            discovery: inner.discovery.clone(),
            transport: inner.transport.clone(),
            relays: inner.relays.clone(),
            events: inner.events.clone(),
            readers: Vec::new(),
            announce_from: Instant::now() + if made { MAKERS_PAUSE } else { Duration::ZERO },
        };
        inner.chats.start(config)
    }

    /// Stops in order: channels say goodbye, trackers are told, connections close, the store last. Under 3 s.
    pub async fn stop(&self) {
        let chats = self.inner.chats.drain();
        // Those who are reached through us look for others from now on.
        self.inner.relays.drain(Duration::ZERO).await;
        let goodbyes = async {
            futures_util::future::join_all(chats.iter().map(Chat::stop)).await;
            self.inner.layers.channels.stop(LAYER_STOP).await;
            self.inner.layers.links.stop(LAYER_STOP).await;
        };
        let trackers = async {
            self.inner.layers.discovery.stop(LAYER_STOP).await;
            let layers = &self.inner.layers;
            tokio::join!(
                layers.trackers.stop(TRACKERS_STOP),
                layers.dht.stop(LAYER_STOP),
                layers.lan.stop(LAYER_STOP),
                layers.portmap.stop(PORTMAP_STOP)
            );
        };
        tokio::join!(goodbyes, trackers);
        self.inner.layers.stop().await;
    }
}

impl Layers {
    fn empty(base: &Scope) -> Self {
        Self {
            store: base.layer(),
            transport: base.layer(),
            relay: base.layer(),
            portmap: base.layer(),
            trackers: base.layer(),
            dht: base.layer(),
            lan: base.layer(),
            discovery: base.layer(),
            links: base.layer(),
            channels: base.layer(),
        }
    }

    /// From the top to the bottom. Layers that stopped already cost nothing.
    async fn stop(&self) {
        for layer in [
            &self.channels,
            &self.links,
            &self.discovery,
            &self.trackers,
            &self.dht,
            &self.relay,
            &self.lan,
            &self.portmap,
            &self.transport,
            &self.store,
        ] {
            if !layer.stop(LAYER_STOP).await {
                tracing::warn!("a layer did not stop in time");
            }
        }
    }
}

/// This home's device: its key lives in the database, so that whoever restores another copy of the database
/// without its key, or the key without its logs, cannot happen.
async fn local_device(store: &Store, identity: &IdentityKey) -> Result<LocalDevice, StoreError> {
    let seed = match stored::<32>(store, "device_key").await? {
        Some(seed) => seed,
        None => {
            let seed = DeviceKey::generate(&mut rand::rng()).seed();
            let created = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_secs();
            store
                .set_value("device_created", &created.to_be_bytes())
                .await?;
            store.set_value("device_key", seed.as_slice()).await?;
            seed
        }
    };
    let created = stored::<8>(store, "device_created")
        .await?
        .map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let key = DeviceKey::from_seed(&seed);
    let certificate = identity.certify(&key.id(), created);
    Ok(LocalDevice { key, certificate })
}

async fn reset_key(store: &Store) -> Result<Zeroizing<[u8; 64]>, StoreError> {
    if let Some(key) = stored::<64>(store, "reset_key").await? {
        return Ok(key);
    }
    let mut key = Zeroizing::new([0; 64]);
    rand::Rng::fill_bytes(&mut rand::rng(), key.as_mut_slice());
    store.set_value("reset_key", key.as_slice()).await?;
    Ok(key)
}

async fn kept_port(store: &Store) -> Result<u16, StoreError> {
    Ok(stored::<2>(store, "port")
        .await?
        .map_or(0, |bytes| u16::from_be_bytes(*bytes)))
}

async fn stored<const N: usize>(
    store: &Store,
    name: &str,
) -> Result<Option<Zeroizing<[u8; N]>>, StoreError> {
    let Some(bytes) = store.value(name).await? else {
        return Ok(None);
    };
    match <[u8; N]>::try_from(bytes.as_slice()) {
        Ok(value) => Ok(Some(Zeroizing::new(value))),
        Err(_) => Err(StoreError::Database(format!(
            "the value {name:?} has {} bytes instead of {N}",
            bytes.len()
        ))),
    }
}
