//! The settings of a node that is about to start.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use bitchat_wire::identity::IdentityKey;

use super::Node;
use crate::{
    disguise::{Disguise, Torrents},
    public_relays::Offer,
    relay::RelayMode,
    transport::{Paths, Proxy},
};

/// How long relays may be missing before public ones are looked for. Behind a proxy nothing else helps; elsewhere
/// members mostly turn up first.
const LOOK_SOON: Duration = Duration::from_secs(2);
const LOOK_LATER: Duration = Duration::from_secs(30);

/// The settings of a node; see [`Node::builder`]. What is not set keeps its default.
#[must_use = "a node runs once `start` is called"]
pub struct Builder {
    pub(super) database: PathBuf,
    pub(super) identity: IdentityKey,
    pub(super) name: String,
    pub(super) bind: Vec<IpAddr>,
    pub(super) port: Option<u16>,
    pub(super) agent: String,
    pub(super) proxy: Option<Proxy>,
    pub(super) paths: Paths,
    pub(super) read_marks: bool,
    pub(super) relay: RelayMode,
    pub(super) dht: bool,
    pub(super) dht_bootstrap: Vec<String>,
    pub(super) lan: bool,
    pub(super) portmap: bool,
    pub(super) public_relays: bool,
    pub(super) disguise: Option<Disguise>,
}

impl Node {
    /// Begins a node that keeps everything in `database`, which is created if missing, and that speaks for `identity`.
    pub fn builder(database: impl Into<PathBuf>, identity: IdentityKey) -> Builder {
        Builder {
            database: database.into(),
            identity,
            name: String::new(),
            bind: Vec::new(),
            port: None,
            agent: concat!("bitchat/", env!("CARGO_PKG_VERSION")).to_owned(),
            proxy: None,
            paths: Paths::ALL,
            read_marks: false,
            relay: RelayMode::default(),
            dht: false,
            dht_bootstrap: Vec::new(),
            lan: false,
            portmap: false,
            public_relays: false,
            disguise: None,
        }
    }
}

impl Builder {
    /// The name shown to the members of each channel, at most 64 bytes. Default: empty.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The addresses to listen on. Default, or with none: all of IPv4 and IPv6.
    pub fn bind(mut self, addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        self.bind = addresses.into_iter().collect();
        self
    }

    /// The port, of UDP and TCP. Default, or `None`: the last run's if it is free, at first one that the disguise's client
    /// would choose, otherwise any.
    pub fn port(mut self, port: impl Into<Option<u16>>) -> Self {
        self.port = port.into();
        self
    }

    /// The client's name and version, shown to members for diagnosis. Default: this library's.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = agent.into();
        self
    }

    /// The proxy that all connections and HTTP trackers go through. Default, or `None`: no proxy. With a proxy the node
    /// does not listen, uses neither UDP nor the DHT, resolves no names, and sends nothing while the proxy does not work.
    pub fn proxy(mut self, proxy: impl Into<Option<Proxy>>) -> Self {
        self.proxy = proxy.into();
        self
    }

    /// The kinds of path over which members may be reached. Default: [`Paths::ALL`]. With [`Paths::RELAYED`] no member
    /// learns this node's address: it does not listen, uses neither UDP nor the DHT nor the local network, asks no
    /// trackers, and dials only the relays of channel files.
    pub fn paths(mut self, paths: Paths) -> Self {
        self.paths = paths;
        self
    }

    /// Whether members learn how far the user has read. Default: no.
    pub fn read_marks(mut self, send: bool) -> Self {
        self.read_marks = send;
        self
    }

    /// Whose traffic to carry between nodes that cannot reach each other directly. Default: that of the members of this
    /// node's channels.
    pub fn relay(mut self, mode: RelayMode) -> Self {
        self.relay = mode;
        self
    }

    /// Whether to look for members in the mainline DHT, and serve it as every node there does. Default: no, since the DHT
    /// exchanges packets with strangers all over the world.
    pub fn dht(mut self, enabled: bool) -> Self {
        self.dht = enabled;
        self
    }

    /// DHT nodes to bootstrap from, as `HOST:PORT`, besides those of the last run and of channel files. Public
    /// routers are asked when none of these answer, unless the node listens on loopback alone.
    pub fn dht_bootstrap(mut self, nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.dht_bootstrap = nodes.into_iter().map(Into::into).collect();
        self
    }

    /// Whether to look for members in the local network, by multicast from the addresses that the node listens on.
    /// Default: no.
    pub fn lan(mut self, enabled: bool) -> Self {
        self.lan = enabled;
        self
    }

    /// Whether to ask the router to forward the port. Default: no.
    pub fn portmap(mut self, enabled: bool) -> Self {
        self.portmap = enabled;
        self
    }

    /// Whether to look for public relays when this node cannot be reached and neither members nor channel files
    /// offer a relay. Default: no; never on loopback alone.
    pub fn public_relays(mut self, enabled: bool) -> Self {
        self.public_relays = enabled;
        self
    }

    /// The BitTorrent client that trackers and the DHT take this node for; remembered for the next run. Default, or
    /// `None`: the last run's, at first Transmission 4.1.
    pub fn disguise(mut self, client: impl Into<Option<Disguise>>) -> Self {
        self.disguise = client.into();
        self
    }

    /// Whether this node announces itself as a public relay: once others are known to reach it.
    pub(super) fn offer(&self) -> Offer {
        match self.relay {
            RelayMode::Public if self.listens() => Offer::WhenReached,
            _ => Offer::Never,
        }
    }

    /// How long relays may be missing before public ones are looked for; `None`: they are not.
    pub(super) fn look_for_relays(&self) -> Option<Duration> {
        let delay = match self.proxy {
            Some(_) => LOOK_SOON,
            None => LOOK_LATER,
        };
        // A hidden node asks trackers only through a proxy: they would publish its address.
        let shown = self.proxy.is_some() || !self.paths.is_hidden() && !self.on_loopback();
        (self.public_relays && shown && self.paths.relay).then_some(delay)
    }

    /// Whether others can connect to this node: not behind a proxy, nor when hidden.
    pub(super) fn listens(&self) -> bool {
        self.proxy.is_none() && !self.paths.is_hidden()
    }

    pub(super) fn on_loopback(&self) -> bool {
        !self.bind.is_empty() && self.bind.iter().all(IpAddr::is_loopback)
    }

    /// What trackers and the DHT know this node by, in this run.
    pub(super) fn torrents(&self, disguise: Disguise) -> Torrents {
        let torrents = Torrents::new(disguise, &mut rand::rng());
        if self.dht && self.listens() {
            torrents
        } else {
            torrents.without_dht()
        }
    }
}
