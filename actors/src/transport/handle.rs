//! The handle to the transport, which starts it.

use std::{
    collections::HashSet,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use libp2p_identity::PeerId;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    address::{Paths, Relay, multiaddr::is_dialable},
    api::{Adoption, DialError, TransportConfig, TransportEvent},
    connection::Connection,
    metrics::Metrics,
    msg::{Dialling, Msg},
    nat::NatView,
    proxy::{Proxy, ProxyStatus},
    registry::{MAILBOX, Registry},
    shared::Shared,
    socket::Udp,
};
use crate::kit::{self, Addr, Scope};

/// A handle to the transport. Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    pub(crate) shared: Arc<Shared>,
    pub(crate) registry: Addr<Msg>,
}

impl Transport {
    /// Binds the sockets and starts the actor in `scope`, with a new ephemeral PeerId. Must be called inside tokio.
    /// Fails when an address is not ours or the port is taken. When the scope stops, all connections are closed, and
    /// the sockets within half a second.
    pub async fn start(
        config: TransportConfig,
        scope: &Scope,
        events: mpsc::Sender<TransportEvent>,
    ) -> io::Result<Self> {
        let metrics = Metrics::register(scope.metrics());
        let shared = Arc::new(Shared::bind(&config, events, metrics)?);
        let (registry, inbox) = kit::mailbox("transport", MAILBOX);
        let factory = {
            let (shared, own) = (Arc::clone(&shared), registry.clone());
            move || Registry::new(Arc::clone(&shared), own.clone())
        };
        scope.permanent_with(
            "transport",
            inbox,
            tracing::info_span!("transport"),
            factory,
        );
        Ok(Self { shared, registry })
    }

    /// Our PeerId of this run.
    pub fn peer_id(&self) -> PeerId {
        self.shared.tls.peer()
    }

    /// The bound addresses.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.shared.local.clone()
    }

    /// The port of all sockets.
    pub fn port(&self) -> u16 {
        self.shared.local.first().map_or(0, SocketAddr::port)
    }

    /// The UDP port that QUIC shares with trackers, DHT and punches.
    pub fn udp(&self) -> Udp {
        self.shared.udp.clone()
    }

    /// Connects, or returns the connection that is there already for that address (or the expected peer). Dials of one
    /// address for one peer are one dial. QUIC goes first, TCP to the same port 250 ms to 1 s later unless something of QUIC has
    /// come back by then. Waits at most 10 s. Returns as soon as the TLS handshake is done on
    /// our side; a peer that refuses us after that closes, and [`TransportEvent::Closed`] says so.
    /// Cancel-safe: when all who wait are cancelled, the dial is given up.
    pub async fn dial(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
    ) -> Result<Connection, DialError> {
        self.dial_by(address, expected, None).await
    }

    /// The same, with the help of a peer `via` that may have links with both, as it has one with us: it carries words to the expected
    /// peer, so that both open their NATs. Where that fails, it does so in less than 3 s.
    pub async fn dial_by(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
        via: Option<PeerId>,
    ) -> Result<Connection, DialError> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        if !is_dialable(address) {
            return Err(DialError::Refused("not the address of a host".to_owned()));
        }
        let dial = self.join_dial(address, expected, via);
        tokio::time::timeout(self.shared.dial_timeout(), dial)
            .await
            .unwrap_or(Err(DialError::TimedOut))
    }

    async fn join_dial(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
        via: Option<PeerId>,
    ) -> Result<Connection, DialError> {
        loop {
            // Not `ask`: its time-out has other words for ours.
            let (reply, answer) = oneshot::channel();
            let question = Msg::Dial {
                address,
                expected,
                via,
                reply,
            };
            self.registry
                .send(question)
                .await
                .map_err(|_| DialError::Stopped)?;
            let mut dial = match answer.await.map_err(|_| DialError::Stopped)? {
                Dialling::Done(end) => return end,
                Dialling::Wait(dial) => dial,
            };
            if let Ok(state) = dial.wait_for(Option::is_some).await
                && let Some(end) = state.clone()
            {
                return end;
            }
            // The dial that we joined was given up by the others at that very moment: begin another.
        }
    }

    /// Speaks TLS and yamux over a byte stream to a peer through a relay, and keeps what comes of it like any other
    /// connection. Waits at most 10 s. Cancel-safe: the stream is given up.
    pub async fn adopt(&self, adoption: Adoption) -> Result<Connection, DialError> {
        let (reply, answer) = oneshot::channel();
        self.registry
            .send(Msg::Adopt(Box::new(adoption), reply))
            .await
            .map_err(|_| DialError::Stopped)?;
        answer.await.unwrap_or(Err(DialError::Stopped))
    }

    /// The proxy through which everything goes, and how it does.
    pub fn proxy(&self) -> Option<ProxyStatus> {
        self.shared.proxy.as_ref().map(Proxy::status)
    }

    /// By which kinds of path members may be reached.
    pub fn paths(&self) -> Paths {
        self.shared.paths
    }

    /// The only nodes that are dialled from now on, where we hide from members; else without effect.
    pub(crate) fn only_relays(&self, relays: HashSet<Relay>) {
        self.shared.set_relays(relays);
    }

    /// What stands between us and others, of IPv4 and IPv6, as far as it is known.
    pub fn nat(&self) -> [NatView; 2] {
        self.shared.nat(|nat| [nat.view(false), nat.view(true)])
    }

    /// Nodes of the DHT agree that they see us there; port 0: not on the port.
    pub fn dht_sees(&self, address: SocketAddr) {
        self.shared.nat(|nat| nat.dht(address));
    }

    /// A tracker sees us come from there.
    pub fn tracker_sees(&self, ip: IpAddr) {
        self.shared.nat(|nat| nat.tracker(ip));
    }

    /// The router maps our port to that address; `None`: no longer.
    pub fn mapped(&self, ipv6: bool, address: Option<SocketAddr>) {
        self.shared.nat(|nat| nat.mapped(ipv6, address));
    }

    /// The port to announce, whenever it changes; `None`: our own.
    pub fn outer_port(&self) -> watch::Receiver<Option<u16>> {
        self.shared.outer_port()
    }

    /// The open connections. None when the transport has stopped.
    pub async fn connections(&self) -> Vec<Connection> {
        self.registry
            .ask(Msg::Connections)
            .await
            .unwrap_or_default()
    }

    /// Bars a peer, and its address (with its port) where there is one, for a while: connections of either are closed,
    /// and new ones refused both ways. At most 1,024 are remembered. For a link handshake that failed thrice.
    pub async fn bar(&self, peer: PeerId, address: Option<SocketAddr>, time: Duration) {
        let bar = |reply| Msg::Bar {
            peer,
            address,
            time,
            reply,
        };
        // A transport that has stopped lets nobody in anyway.
        let _ = self.registry.ask(bar).await;
    }
}
