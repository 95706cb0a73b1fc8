//! The state that survives a restart of the registry: sockets, keys, bars, and the ledger.

mod ledger;
mod pace;
pub(crate) mod pending;

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
            runtime::TrackedRuntime,
            source_for,
            udp::{Contacted, SharedSocket, Sorter, Udp},
        },
        tls::Tls,
    },
};

pub(crate) use ledger::Ended;
use ledger::Ledger;
pub(crate) use pace::HANDSHAKE_TIMEOUT;
use pace::{PROXIED_TIMEOUT, Pace};
use pending::{Pending, RequestLimit};

/// Time limit at a stop for the last packets to leave and the sockets to close.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

pub(crate) struct Shared {
    pub(crate) tls: Tls,
    /// The only way out, if set.
    pub(crate) proxy: Option<Proxy>,
    pub(crate) paths: Paths,
    /// The relays that may be dialled while our address is hidden.
    relays: Mutex<HashSet<Relay>>,
    pub(crate) local: Vec<SocketAddr>,
    pub(crate) admission: Admission,
    pub(crate) ledger: Ledger,
    pub(crate) events: mpsc::Sender<TransportEvent>,
    pub(crate) metrics: Metrics,
    pub(crate) pace: Pace,
    /// Datagrams other than QUIC, in both directions.
    pub(crate) udp: Udp,
    pub(crate) sorter: Arc<Sorter>,
    /// Addresses that we have dialled over TCP from our listening port.
    pub(crate) contacted_tcp: Contacted,
    /// Torrents that BitTorrent clients may ask for.
    pub(crate) torrents: Option<Torrents>,
    /// Emptied at a stop, like the endpoints.
    listeners: Mutex<Vec<Arc<TcpListener>>>,
    /// Emptied at a stop: handles to the transport may outlive it, and would keep the sockets open.
    endpoints: Mutex<Vec<Endpoint>>,
    barred: Mutex<Barred>,
    next_id: AtomicU64,
    /// Our pending punch requests, and the limit on those of others.
    pub(crate) punches: Pending,
    requests: Mutex<RequestLimit>,
    nat: Mutex<Nat>,
    /// The port to announce; `None` means our own.
    outer_port: watch::Sender<Option<u16>>,
    runtime: TrackedRuntime,
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
        let runtime = TrackedRuntime::default();
        let sorter = Arc::new(Sorter::new(metrics.clone()));
        let mut endpoints = Vec::with_capacity(ips.len());
        let mut local = Vec::with_capacity(ips.len());
        let mut sockets = Vec::with_capacity(ips.len());
        let mut listeners = Vec::with_capacity(ips.len());
        // Behind a proxy no socket may exist that anything could bypass it with, and in hiding none that others could
        // reach.
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
            contacted_tcp: Contacted::default(),
            torrents: config.torrents.clone(),
            listeners: Mutex::new(listeners),
            endpoints: Mutex::new(endpoints),
            barred: Mutex::new(Barred::default()),
            next_id: AtomicU64::new(0),
            punches: Pending::default(),
            requests: Mutex::new(RequestLimit::new(Instant::now())),
            nat: Mutex::new(nat),
            outer_port: watch::Sender::new(None),
            runtime,
        })
    }

    /// Reads or changes what is known of our place behind NATs, and publishes a changed outer port.
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

    /// The port to announce, as it changes; `None` means our own.
    pub(crate) fn outer_port(&self) -> watch::Receiver<Option<u16>> {
        self.outer_port.subscribe()
    }

    /// Records that a peer sees us at `address`.
    pub(crate) fn observed(&self, by: SocketAddr, address: SocketAddr) {
        let source = source_for(by);
        self.nat(|nat| {
            if let Some(source) = source {
                nat.local(source);
            }
            nat.observed(by, address);
        });
    }

    /// Records that a peer, which we dialled over TCP from our listening port, sees that port at `address`.
    pub(crate) fn observed_tcp(&self, by: SocketAddr, address: SocketAddr) {
        self.nat(|nat| nat.observed_tcp(by, address));
    }

    /// Whether one more punch request of a peer may be answered.
    pub(crate) fn allows_punch(&self) -> bool {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.allow(Instant::now())
    }

    pub(crate) fn set_relays(&self, relays: HashSet<Relay>) {
        *self.relays.lock().unwrap_or_else(PoisonError::into_inner) = relays;
    }

    /// Whether a peer may be dialled at an address. In hiding, only known relays may; another peer's claim to be one
    /// does not count.
    pub(crate) fn may_dial(&self, address: SocketAddr, expected: Option<PeerId>) -> bool {
        let relays = self.relays.lock().unwrap_or_else(PoisonError::into_inner);
        !self.paths.is_hidden()
            || expected.is_some_and(|peer| relays.contains(&Relay { address, peer }))
    }

    /// Whether a connection over such a path may be kept. In hiding, the only connections are those to dialled relays.
    pub(crate) fn allows(&self, path: PathKind) -> bool {
        self.paths.allows(path) || self.paths.is_hidden()
    }

    /// Whether we have no port: behind a proxy, or in hiding.
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

    /// Runs a task that must not outlive the transport, and may need a moment when it stops.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(Box::pin(task));
    }

    /// Our listening address for this address's family, from which dials leave.
    pub(crate) fn local_for(&self, ip: IpAddr) -> Option<SocketAddr> {
        let mut local = self.local.iter().copied();
        local.find(|local| local.is_ipv4() == ip.is_ipv4())
    }

    /// The time limit of a dial.
    pub(crate) fn dial_timeout(&self) -> Duration {
        match self.proxy {
            Some(_) => PROXIED_TIMEOUT,
            None => HANDSHAKE_TIMEOUT,
        }
    }

    /// The endpoint for this address's family.
    pub(crate) fn endpoint_for(&self, ip: IpAddr) -> Option<Endpoint> {
        let at = self
            .local
            .iter()
            .position(|local| local.is_ipv4() == ip.is_ipv4())?;
        self.endpoints().get(at).cloned()
    }

    /// Our end of a new connection.
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

    /// Closes all connections, notifying the peers, and releases the sockets.
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
        // A peer that no longer answers must not delay us: the close was sent, and its connection will time out.
        if tokio::time::timeout(STOP_PATIENCE, quiet).await.is_err() {
            tracing::debug!("connections were still draining at the end");
            self.runtime.end().await;
        }
    }
}
