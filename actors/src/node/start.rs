//! Starting a node, layer by layer.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rand::RngExt;
use tokio::sync::{broadcast, mpsc};

use super::{
    Builder, Inner, Node, StartError,
    identity::{self, Kept},
    indexes::INDEXES,
    layers::Layers,
    portmap::Router,
};
use crate::{
    chat::Chats,
    dht::Dht,
    discovery::{Discovery, Sources},
    disguise::Torrents,
    kit::{Death, Metrics, Scope},
    lan::{Lan, LanConfig},
    link::Links,
    public_relays::{self, PublicRelaysConfig},
    relay::{RelayConfig, RelayMode, Relays},
    store::Store,
    tracker::{TrackerConfig, Trackers},
    transport::{EVENTS, Proxy, Transport, TransportConfig, TransportEvent},
};

/// Capacity of the event broadcast. A receiver that lags re-reads the store.
const NODE_EVENTS: usize = 1_024;
/// Connections made by discovery, queued for links.
const REACHED: usize = 64;

/// Ports below this are for services, and would stand out in an announce.
const FIRST_PORT: u16 = 20_000;
/// How often a proxy that did not work is probed, if nothing else uses it.
const PROXY_PROBE: Duration = Duration::from_secs(10);

impl Builder {
    /// Starts the node: opens its database, listens, and opens its channels.
    pub async fn start(self) -> Result<Node, StartError> {
        let (base, deaths) = Scope::new(Metrics::default());
        let layers = Layers::new(&base);
        let store = Store::open(&self.database, &layers.store, INDEXES).await?;
        let node = self.start_layers(store, deaths, layers.clone()).await;
        if node.is_err() {
            layers.stop().await;
        }
        node
    }

    async fn start_layers(
        self,
        store: Store,
        deaths: mpsc::Receiver<Death>,
        layers: Layers,
    ) -> Result<Node, StartError> {
        let kept = Kept::load(&self, &store).await?;
        let torrents = self.torrents(kept.disguise);
        let (events, transport_events) = mpsc::channel(EVENTS);
        let port = self.port.unwrap_or(kept.port);
        let transport = self
            .start_transport(port, &kept, &torrents, &layers, events)
            .await?;
        let announced = announced_port(port, transport.port());
        identity::keep_port(&store, announced).await?;
        let (relays, met) = self.start_relays(&transport, &layers);
        let router = Router::start(
            self.portmap,
            &transport,
            kept.disguise,
            kept.reset_key.clone(),
            &layers.portmap,
        );
        let trackers = self.start_trackers(announced, torrents, &transport, &layers);
        let dht = self.start_dht(&kept, &store, &transport, &layers).await;
        let lan = self.start_lan(&transport, &layers);
        layers.trackers.transient(
            tracing::info_span!("outer port"),
            super::outer::follow(transport.clone(), trackers.clone(), dht.clone()),
        );
        let sources = Sources {
            trackers: trackers.clone(),
            dht: dht.clone(),
            relays: relays.clone(),
            met,
            lan,
        };
        let uses = public_relays::Uses {
            transport: transport.clone(),
            relays: relays.clone(),
            trackers,
            dht: dht.clone(),
        };
        let (offer, look) = (self.offer(), self.look_for_relays());
        let (reached_sender, reached) = mpsc::channel(REACHED);
        let discovery = Discovery::start(
            transport.clone(),
            sources,
            store.clone(),
            &layers.discovery,
            reached_sender,
        );
        let links = Links::start(
            transport.clone(),
            relays.clone(),
            discovery.clone(),
            store.clone(),
            &layers.links,
        );
        let (events, _) = broadcast::channel(NODE_EVENTS);
        let chats = Chats::new(
            store.clone(),
            events.clone(),
            self.name.clone(),
            self.read_marks,
            &layers.channels,
        );
        let node = Node {
            inner: Arc::new(Inner {
                metrics: layers.store.metrics().clone(),
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
                local: Arc::new(kept.local),
                disguise: kept.disguise,
                chats,
                editing: tokio::sync::Mutex::default(),
                events,
                observers: Arc::default(),
                deaths: Arc::default(),
                started: Instant::now(),
                layers,
            }),
        };
        node.route(transport_events, reached, deaths);
        let config = PublicRelaysConfig {
            offer,
            look,
            channels: super::public_relays::channels(&node),
            trackers: Vec::new(),
        };
        public_relays::start(config, uses, &node.inner.layers.discovery);
        if let Err(error) = node.open_channels().await {
            node.stop().await;
            return Err(error.into());
        }
        // What the last run left undone. It may take a while in a large home, and nobody waits for it.
        let eraser = node.clone();
        node.inner
            .layers
            .channels
            .transient(tracing::info_span!("erase"), async move {
                eraser.erase_left().await
            });
        Ok(node)
    }

    async fn start_transport(
        &self,
        port: u16,
        kept: &Kept,
        torrents: &Torrents,
        layers: &Layers,
        events: mpsc::Sender<TransportEvent>,
    ) -> Result<Transport, StartError> {
        let config = TransportConfig {
            port_is_wish: self.port.is_none(),
            torrents: Some(torrents.clone()),
            proxy: self.proxy.clone(),
            paths: self.paths,
            ..TransportConfig::new(self.bind.clone(), port, kept.reset_key.clone())
        };
        let transport = Transport::start(config, &layers.transport, events)
            .await
            .map_err(|error| StartError::Listen { port, error })?;
        if let Some(proxy) = self.proxy.clone() {
            layers
                .transport
                .transient(tracing::info_span!("proxy"), watch_proxy(proxy));
        }
        Ok(transport)
    }

    /// A node that does not listen carries nothing, and is reached through relays or not at all.
    fn start_relays(
        &self,
        transport: &Transport,
        layers: &Layers,
    ) -> (Relays, mpsc::Receiver<crate::relay::Found>) {
        let listens = self.listens();
        let config = RelayConfig {
            always: !listens,
            ..RelayConfig::new(if listens { self.relay } else { RelayMode::Off })
        };
        Relays::start(config, transport.clone(), &layers.relay)
    }

    fn start_trackers(
        &self,
        announced: u16,
        torrents: Torrents,
        transport: &Transport,
        layers: &Layers,
    ) -> Trackers {
        let config = TrackerConfig {
            udp: self.listens().then(|| transport.udp()),
            torrents,
            proxy: self.proxy.clone(),
            ..TrackerConfig::new(announced)
        };
        Trackers::start_with(config, &layers.trackers)
    }

    async fn start_dht(
        &self,
        kept: &Kept,
        store: &Store,
        transport: &Transport,
        layers: &Layers,
    ) -> Option<Dht> {
        if !self.dht || !self.listens() {
            return None;
        }
        let dht = super::dht::start(
            self.dht_bootstrap.clone(),
            transport,
            kept.disguise,
            Arc::new(store.clone()),
            &layers.dht,
        );
        Some(dht.await)
    }

    fn start_lan(&self, transport: &Transport, layers: &Layers) -> Option<Lan> {
        (self.lan && self.listens()).then(|| {
            let listening = transport.local_addresses();
            let config = LanConfig {
                port: transport.port(),
                bind: listening.iter().map(SocketAddr::ip).collect(),
            };
            Lan::start(config, &layers.lan)
        })
    }
}

/// The port that trackers are given. They expect one even of a node that does not listen, where nothing answers.
fn announced_port(wanted: u16, listening: u16) -> u16 {
    match listening {
        0 if wanted == 0 => rand::rng().random_range(FIRST_PORT..=u16::MAX),
        0 => wanted,
        port => port,
    }
}

/// Keeps the proxy's status up to date also while nothing is sent. Never ends.
async fn watch_proxy(proxy: Proxy) {
    proxy.probe().await;
    loop {
        tokio::time::sleep(PROXY_PROBE).await;
        if proxy.status().trouble.is_some() {
            proxy.probe().await;
        }
    }
}
