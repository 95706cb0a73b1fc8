//! The handle to the transport, which also starts it.

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
    /// Binds the sockets and starts the actor in `scope`, with a new ephemeral PeerId unless the configuration brings a
    /// key. Must be called inside a tokio runtime. Fails if an address is not ours or the port is taken. When the scope
    /// stops, all connections are closed, and the sockets within half a second.
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

    /// The bound addresses; empty behind a proxy or in hiding.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.shared.local.clone()
    }

    /// The port of all sockets; 0 if none is bound.
    pub fn port(&self) -> u16 {
        self.shared.local.first().map_or(0, SocketAddr::port)
    }

    /// The UDP port that QUIC shares with trackers, the DHT and punches.
    pub fn udp(&self) -> Udp {
        self.shared.udp.clone()
    }

    /// Connects, or returns the connection that exists for that address (or the expected peer). Concurrent dials of one
    /// address for one peer are merged. QUIC goes first; TCP to the same port follows 250 ms to 1 s later unless a QUIC
    /// packet has come back by then. Takes at most 10 s (40 s through a proxy). Returns as soon as the TLS handshake is
    /// done on our side; if the peer refuses us after that, it closes, and [`TransportEvent::Closed`] reports it.
    /// Cancel-safe: once all callers have gone, the dial is abandoned.
    pub async fn dial(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
    ) -> Result<Connection, DialError> {
        self.dial_by(address, expected, None).await
    }

    /// As [`Transport::dial`], with the help of a peer `via`, which has a link with us and may have one with the
    /// expected peer: it forwards punch messages, so that both ends open their NATs. If that fails, it does so within 3
    /// s.
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
            // Not `ask`: it has a time-out of its own.
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
            // Everyone else gave up the dial that we had just joined: begin another.
        }
    }

    /// Performs the TLS and yamux handshake over a byte stream through a relay, and registers the connection like any
    /// other. Takes at most 10 s. Cancel-safe: the stream is dropped.
    pub async fn adopt(&self, adoption: Adoption) -> Result<Connection, DialError> {
        let (reply, answer) = oneshot::channel();
        self.registry
            .send(Msg::Adopt(Box::new(adoption), reply))
            .await
            .map_err(|_| DialError::Stopped)?;
        answer.await.unwrap_or(Err(DialError::Stopped))
    }

    /// The proxy that carries all traffic, with its status; `None` without a proxy.
    pub fn proxy(&self) -> Option<ProxyStatus> {
        self.shared.proxy.as_ref().map(Proxy::status)
    }

    /// The kinds of path over which members may be reached.
    pub fn paths(&self) -> Paths {
        self.shared.paths
    }

    /// Sets the only nodes that may be dialled while our address is hidden from members. Has no effect otherwise.
    pub(crate) fn only_relays(&self, relays: HashSet<Relay>) {
        self.shared.set_relays(relays);
    }

    /// What is known of the NAT in front of us, for IPv4 and IPv6 in that order.
    pub fn nat(&self) -> [NatView; 2] {
        self.shared.nat(|nat| [nat.view(false), nat.view(true)])
    }

    /// Records where nodes of the DHT agree that they see us; port 0 if they disagree on the port.
    pub fn dht_sees(&self, address: SocketAddr) {
        self.shared.nat(|nat| nat.dht(address));
    }

    /// Records the address from which a tracker sees us.
    pub fn tracker_sees(&self, ip: IpAddr) {
        self.shared.nat(|nat| nat.tracker(ip));
    }

    /// Records the outer address to which the router maps our port; `None` if it no longer does.
    pub fn mapped(&self, ipv6: bool, address: Option<SocketAddr>) {
        self.shared.nat(|nat| nat.mapped(ipv6, address));
    }

    /// The port to announce, as it changes; `None` means our own.
    pub fn outer_port(&self) -> watch::Receiver<Option<u16>> {
        self.shared.outer_port()
    }

    /// The open connections; empty when the transport has stopped.
    pub async fn connections(&self) -> Vec<Connection> {
        self.registry
            .ask(Msg::Connections)
            .await
            .unwrap_or_default()
    }

    /// Bars a peer, and its address (with the port) if given, for some time: connections of either are closed, and new
    /// ones are refused in both directions. At most 1,024 bars are kept. Meant for peers that failed a link handshake
    /// three times.
    pub async fn bar(&self, peer: PeerId, address: Option<SocketAddr>, time: Duration) {
        let bar = |reply| Msg::Bar {
            peer,
            address,
            time,
            reply,
        };
        // A transport that has stopped accepts nobody anyway.
        let _ = self.registry.ask(bar).await;
    }
}
