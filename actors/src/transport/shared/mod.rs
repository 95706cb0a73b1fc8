//! What outlives a restart of the registry: sockets, keys, bars, and words that wait for the owner.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use libp2p_identity::PeerId;
use quinn::{Endpoint, Runtime};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
};

mod ledger;
mod pace;
pub(crate) mod pending;

use crate::{
    disguise::Torrents,
    transport::{
        address::{PathKind, Paths, Relay},
        admission::{Admission, Barred},
        api::{TransportConfig, TransportEvent},
        connection::{CODE, ConnectionId, LocalEnd},
        metrics::Metrics,
        nat::{Nat, NatKind},
        proxy::Proxy,
        socket::{
            bind, endpoint,
            runtime::Counted,
            source_for,
            udp::{Asked, SharedSocket, Sorter, Udp},
        },
        tls::Tls,
    },
};

pub(crate) use ledger::Ended;
use ledger::Ledger;
pub(crate) use pace::HANDSHAKE_TIMEOUT;
use pace::{PROXIED_TIMEOUT, Pace};
use pending::{Heed, Pending};

/// At a stop, how long to wait for the last packets to leave and for the sockets to close.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Shared {
    pub(crate) tls: Tls,
    /// The only way out, where there is one.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) paths: Paths,
    /// Whom we dial where we hide from members.
    relays: Mutex<HashSet<Relay>>,
    pub(crate) local: Vec<SocketAddr>,
    pub(crate) admission: Admission,
    pub(crate) ledger: Ledger,
    pub(crate) events: mpsc::Sender<TransportEvent>,
    pub(crate) metrics: Metrics,
    pub(crate) pace: Pace,
    /// What leaves the sockets beside QUIC, and what comes.
    pub(crate) udp: Udp,
    pub(crate) sorter: Arc<Sorter>,
    /// Where we have dialled by TCP from the port on which we listen.
    pub(crate) asked_tcp: Asked,
    /// What BitTorrent clients may come for.
    pub(crate) torrents: Option<Torrents>,
    /// Emptied at a stop, as the endpoints are.
    listeners: Mutex<Vec<Arc<TcpListener>>>,
    /// Emptied at a stop, since handles to the transport may live on, and would keep the sockets open.
    endpoints: Mutex<Vec<Endpoint>>,
    barred: Mutex<Barred>,
    next_id: AtomicU64,
    /// Requests of ours to open the way, and how many of others are heeded.
    pub(crate) punches: Pending,
    heed: Mutex<Heed>,
    nat: Mutex<Nat>,
    /// The port to announce, when it is known to be another than ours.
    outer_port: watch::Sender<Option<u16>>,
    runtime: Counted,
}

impl Shared {
    pub(crate) fn bind(
        config: &TransportConfig,
        events: mpsc::Sender<TransportEvent>,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let ips = if config.bind.is_empty() {
            bind::everywhere()
        } else {
            config.bind.clone()
        };
        let tls = Tls::new(config.key.as_ref()).map_err(io::Error::other)?;
        let runtime = Counted::default();
        let sorter = Arc::new(Sorter::new(metrics.clone()));
        let mut endpoints = Vec::with_capacity(ips.len());
        let mut local = Vec::with_capacity(ips.len());
        let mut sockets = Vec::with_capacity(ips.len());
        let mut listeners = Vec::with_capacity(ips.len());
        // With a proxy there is no socket that anything could leave by, and in hiding none that somebody could come to.
        let listens = config.proxy.is_none() && !config.paths.is_hidden();
        let bound = if listens {
            bind::bind(&ips, config.port, config.port_is_wish)?
        } else {
            Vec::new()
        };
        for (socket, listener) in bound {
            let address = socket.local_addr()?;
            local.push(address);
            listeners.push(Arc::new(TcpListener::from_std(listener)?));
            let runtime = Arc::new(runtime.clone());
            let socket = runtime.wrap_udp_socket(socket)?;
            let socket = Arc::new(SharedSocket::new(socket, Arc::clone(&sorter)));
            sockets.push((address, Arc::downgrade(&socket)));
            endpoints.push(endpoint::endpoint(
                &tls,
                &config.reset_key,
                socket,
                runtime,
            )?);
        }
        for extra in config.extra.iter().filter(|_| listens) {
            listeners.push(Arc::new(TcpListener::from_std(bind::listen(*extra)?)?));
        }
        let mut nat = Nat::default();
        if config.proxy.is_some() {
            nat.set_only(NatKind::Proxy);
        } else if config.paths.is_hidden() {
            nat.set_only(NatKind::Hidden);
        }
        Ok(Self {
            tls,
            proxy: config.proxy.clone(),
            paths: config.paths,
            relays: Mutex::default(),
            local,
            admission: Admission::new(config.incoming),
            ledger: Ledger::default(),
            events,
            metrics,
            pace: Pace::default(),
            udp: Udp::new(sockets, Arc::clone(&sorter)),
            sorter,
            asked_tcp: Asked::default(),
            torrents: config.torrents.clone(),
            listeners: Mutex::new(listeners),
            endpoints: Mutex::new(endpoints),
            barred: Mutex::new(Barred::default()),
            next_id: AtomicU64::new(0),
            punches: Pending::default(),
            heed: Mutex::new(Heed::new(Instant::now())),
            nat: Mutex::new(nat),
            outer_port: watch::Sender::new(None),
            runtime,
        })
    }

    /// What is known of where we are.
    pub(crate) fn nat<T>(&self, look: impl FnOnce(&mut Nat) -> T) -> T {
        let mut nat = self.nat.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = look(&mut nat);
        let port = nat.port();
        drop(nat);
        self.outer_port.send_if_modified(|known| {
            let news = *known != port;
            *known = port;
            news
        });
        seen
    }

    /// The port to announce, from now on; `None`: our own.
    pub(crate) fn outer_port(&self) -> watch::Receiver<Option<u16>> {
        self.outer_port.subscribe()
    }

    /// A peer sees us there.
    pub(crate) fn observed(&self, by: SocketAddr, address: SocketAddr) {
        let source = source_for(by);
        self.nat(|nat| {
            if let Some(source) = source {
                nat.local(source);
            }
            nat.observed(by, address);
        });
    }

    /// A peer whom we dialled by TCP from the port on which we listen sees it there.
    pub(crate) fn observed_tcp(&self, by: SocketAddr, address: SocketAddr) {
        self.nat(|nat| nat.observed_tcp(by, address));
    }

    /// Whether one more request to open the way is heeded.
    pub(crate) fn heeds(&self) -> bool {
        let mut heed = self.heed.lock().unwrap_or_else(PoisonError::into_inner);
        heed.one(Instant::now())
    }

    pub(crate) fn set_relays(&self, relays: HashSet<Relay>) {
        *self.relays.lock().unwrap_or_else(PoisonError::into_inner) = relays;
    }

    /// Whether that peer may be dialled there: in hiding, relays alone, which are not taken at another's word.
    pub(crate) fn may_dial(&self, address: SocketAddr, expected: Option<PeerId>) -> bool {
        let relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        !self.paths.is_hidden()
            || expected.is_some_and(|peer| relays.contains(&Relay { address, peer }))
    }

    /// Whether a connection may be kept. Those in hiding have dialled their relays, and hear nobody else.
    pub(crate) fn allows(&self, path: PathKind) -> bool {
        self.paths.allows(path) || self.paths.is_hidden()
    }

    /// Whether there is no port of ours: behind a proxy, or in hiding.
    pub(crate) fn listens_nowhere(&self) -> bool {
        self.local.is_empty()
    }

    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(crate) fn listeners(&self) -> Vec<Arc<TcpListener>> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Runs something that must not outlive the transport, and may need a moment at its stop.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(Box::pin(task));
    }

    /// Where we listen for addresses like this one, and dial them from.
    pub(crate) fn local_for(&self, ip: IpAddr) -> Option<SocketAddr> {
        let mut local = self.local.iter().copied();
        local.find(|local| local.is_ipv4() == ip.is_ipv4())
    }

    /// How long a dial may take.
    pub(crate) fn dial_timeout(&self) -> Duration {
        match self.proxy {
            Some(_) => PROXIED_TIMEOUT,
            None => HANDSHAKE_TIMEOUT,
        }
    }

    /// The endpoint that reaches addresses like this one.
    pub(crate) fn endpoint_for(&self, ip: IpAddr) -> Option<Endpoint> {
        let at = self
            .local
            .iter()
            .position(|local| local.is_ipv4() == ip.is_ipv4())?;
        self.endpoints().get(at).cloned()
    }

    /// Our end of a connection that has come about.
    pub(crate) fn local_end(&self) -> LocalEnd {
        LocalEnd {
            id: ConnectionId(self.next_id.fetch_add(1, Ordering::Relaxed)),
            peer: self.tls.peer(),
            traffic: Arc::clone(&self.metrics.traffic),
        }
    }

    pub(crate) fn bar(&self, peer: PeerId, address: Option<SocketAddr>, time: Duration) {
        self.barred(|barred| barred.bar(peer, address, Instant::now(), time));
    }

    pub(crate) fn is_barred(&self, peer: Option<&PeerId>, address: Option<&SocketAddr>) -> bool {
        let now = Instant::now();
        self.barred(|barred| {
            address.is_some_and(|address| barred.has_address(address, now))
                || peer.is_some_and(|peer| barred.has_peer(peer, now))
        })
    }

    fn barred<T>(&self, look: impl FnOnce(&mut Barred) -> T) -> T {
        look(&mut self.barred.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Closes everything, tells the peers, and lets go of the sockets.
    pub(crate) async fn stop(&self) {
        let endpoints = std::mem::take(
            &mut *self
                .endpoints
                .lock()
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
        for endpoint in &endpoints {
            endpoint.close(CODE, b"");
        }
        let quiet = async {
            for endpoint in endpoints {
                endpoint.wait_idle().await;
            }
            self.runtime.idle().await;
        };
        // A peer that no longer answers must not hold us up: the close was sent, it will time out.
        if tokio::time::timeout(STOP_PATIENCE, quiet).await.is_err() {
            tracing::debug!("connections were still draining at the end");
            self.runtime.end().await;
        }
    }
}
