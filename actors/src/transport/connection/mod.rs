//! An authenticated connection: the handle that others hold.

mod flow;
mod mux;
mod stream;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering},
    },
    time::Duration,
};

use bitchat_wire::{
    link::{Binding, TlsSide},
    stream::StreamKind,
};
use libp2p_identity::PeerId;
use quinn::ConnectionError;
use tokio::{io::AsyncWriteExt, sync::watch};
use zeroize::Zeroizing;

use crate::transport::{
    address::{PathKind, Relay, Target},
    metrics::Traffic,
    socket::endpoint,
    tls,
};
use flow::Flow;
use mux::Mux;

pub use mux::Duplex;
pub(crate) use mux::{Meter, Metered};
pub(crate) use stream::CODE;
pub use stream::{RecvHalf, SendHalf, Stream};

/// A connection's number within this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A handle to an authenticated connection. Cheap to clone; the transport's registry keeps the connection open.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    id: ConnectionId,
    peer: PeerId,
    side: TlsSide,
    binding: Binding,
    flow: Arc<Flow>,
    /// Whether we are the higher PeerId, which picks the survivor of doubles.
    chooses: bool,
    /// Where its links are to go.
    drain: watch::Sender<Option<Connection>>,
    carrier: Carrier,
}

/// This end of a new connection.
pub(crate) struct LocalEnd {
    /// The connection's number.
    pub(crate) id: ConnectionId,
    pub(crate) peer: PeerId,
    /// Where its streams' bytes are counted.
    pub(crate) traffic: Arc<Traffic>,
}

/// What carries the streams; one variant a path.
enum Carrier {
    Quic(quinn::Connection),
    Tcp(Box<Tcp>),
}

/// Which way a byte stream goes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    /// Directly from or to that address.
    Direct(SocketAddr),
    /// To that address by way of our proxy.
    Proxy(SocketAddr),
    /// Through a relay.
    Circuit(Relay),
}

/// yamux over TLS.
struct Tcp {
    mux: Mux,
    meter: Arc<Meter>,
    way: Way,
    /// Where the peer listens, as it says; 0 while it has not said.
    listens_on: AtomicU16,
    /// As last measured, in microseconds.
    rtt_us: AtomicU64,
    /// We dialled it from the port on which we listen.
    from_our_port: AtomicBool,
    /// The peer has come from where we had sent something to.
    asked: AtomicBool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({}, {:?})", self.inner.id.0, self.path())
    }
}

impl Connection {
    /// Wraps a QUIC connection whose handshake is done.
    pub(crate) fn quic(
        quic: quinn::Connection,
        side: TlsSide,
        local: LocalEnd,
    ) -> Result<Self, rustls::Error> {
        let peer = peer_of(&quic)?;
        let mut exporter = Zeroizing::new([0; 32]);
        quic.export_keying_material(exporter.as_mut(), Binding::EXPORTER_LABEL, b"")
            .map_err(|_| rustls::Error::General("no exporter".to_owned()))?;
        let carrier = Carrier::Quic(quic);
        Ok(Self::new(peer, side, &exporter, carrier, local))
    }

    /// Wraps a TLS session over whatever byte stream, whose handshake is done. With it comes the task that moves its
    /// bytes, which must run.
    pub(crate) fn tcp<T: Duplex + 'static>(
        tls: tokio_rustls::TlsStream<Metered<T>>,
        meter: Arc<Meter>,
        side: TlsSide,
        way: Way,
        rtt: Duration,
        local: LocalEnd,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), rustls::Error> {
        let peer = tls::peer_of(tls.get_ref().1.peer_certificates().unwrap_or_default())?;
        let label = Binding::EXPORTER_LABEL;
        let out = Zeroizing::new([0; 32]);
        let exporter = match &tls {
            tokio_rustls::TlsStream::Client(tls) => {
                tls.get_ref()
                    .1
                    .export_keying_material(out, label, Some(b""))
            }
            tokio_rustls::TlsStream::Server(tls) => {
                tls.get_ref()
                    .1
                    .export_keying_material(out, label, Some(b""))
            }
        }?;
        let (mux, task) = Mux::new(tls, side == TlsSide::Client);
        let carrier = Carrier::Tcp(Box::new(Tcp {
            mux,
            meter,
            way,
            listens_on: AtomicU16::new(0),
            rtt_us: AtomicU64::new(micros(rtt)),
            from_our_port: AtomicBool::new(false),
            asked: AtomicBool::new(false),
        }));
        Ok((Self::new(peer, side, &exporter, carrier, local), task))
    }

    fn new(
        peer: PeerId,
        side: TlsSide,
        exporter: &[u8; 32],
        carrier: Carrier,
        local: LocalEnd,
    ) -> Self {
        let ours = local.peer;
        let (client, server) = match side {
            TlsSide::Client => (ours, peer),
            TlsSide::Server => (peer, ours),
        };
        let inner = Inner {
            id: local.id,
            peer,
            side,
            binding: Binding::new(exporter, &client.to_bytes(), &server.to_bytes()),
            flow: Flow::new(local.traffic),
            chooses: ours.to_bytes() > peer.to_bytes(),
            drain: watch::Sender::new(None),
            carrier,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Its number.
    pub fn id(&self) -> ConnectionId {
        self.inner.id
    }

    /// Who is at the other end.
    pub fn peer(&self) -> PeerId {
        self.inner.peer
    }

    /// Which end of the TLS session we are.
    pub fn side(&self) -> TlsSide {
        self.inner.side
    }

    /// Where the other end is now: a peer that moves to another network takes its connection along, if it is QUIC. Of a
    /// TCP connection that the peer opened, the port is not one that can be dialled. Of a circuit this is where the relay
    /// is, and says nothing about the peer.
    pub fn remote(&self) -> SocketAddr {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.remote_address(),
            Carrier::Tcp(tcp) => match tcp.way {
                Way::Direct(remote) | Way::Proxy(remote) => remote,
                Way::Circuit(relay) => relay.address,
            },
        }
    }

    /// Where the other end itself is; `None` for a circuit.
    pub fn direct(&self) -> Option<SocketAddr> {
        (self.path() != PathKind::Relayed).then(|| self.remote())
    }

    /// The relay that it goes through.
    pub fn relay(&self) -> Option<Relay> {
        match &self.inner.carrier {
            Carrier::Tcp(tcp) => match tcp.way {
                Way::Circuit(relay) => Some(relay),
                Way::Direct(_) | Way::Proxy(_) => None,
            },
            Carrier::Quic(_) => None,
        }
    }

    /// Where it leads, for telling connections apart: not always where the peer can be dialled.
    pub fn target(&self) -> Target {
        match self.relay() {
            Some(relay) => Target::Circuit {
                relay,
                peer: self.peer(),
            },
            None => Target::Direct(self.remote()),
        }
    }

    /// Where the peer can be dialled, as far as this connection shows it: where we have reached it, or it has sent
    /// from; of a TCP connection that it opened by itself, at that host and the port on which it says that it listens; of a
    /// circuit that we opened, through its relay.
    pub fn dialable(&self) -> Option<Target> {
        match &self.inner.carrier {
            Carrier::Tcp(tcp)
                if self.side() == TlsSide::Server && !tcp.asked.load(Ordering::Relaxed) =>
            {
                let port = tcp.listens_on.load(Ordering::Relaxed);
                let direct = self.direct().filter(|_| port != 0)?;
                Some(Target::Direct(SocketAddr::new(direct.ip(), port)))
            }
            _ => Some(self.target()),
        }
    }

    /// The peer has said on which port it listens.
    pub(crate) fn listens_on(&self, port: u16) {
        if let Carrier::Tcp(tcp) = &self.inner.carrier {
            tcp.listens_on.store(port, Ordering::Relaxed);
        }
    }

    /// Of TCP, we have dialled it from the port on which we listen: so the peer sees that port.
    pub(crate) fn set_from_our_port(&self) {
        if let Carrier::Tcp(tcp) = &self.inner.carrier {
            tcp.from_our_port.store(true, Ordering::Relaxed);
            tcp.asked.store(true, Ordering::Relaxed);
        }
    }

    /// Of TCP, the peer comes from where we have dialled.
    pub(crate) fn set_asked(&self) {
        if let Carrier::Tcp(tcp) = &self.inner.carrier {
            tcp.asked.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_from_our_port(&self) -> bool {
        match &self.inner.carrier {
            Carrier::Tcp(tcp) => tcp.from_our_port.load(Ordering::Relaxed),
            Carrier::Quic(_) => false,
        }
    }

    /// Of TCP, whether the peer comes from where we had sent nothing to: a stranger gets through to us.
    pub(crate) fn is_unasked(&self) -> bool {
        match &self.inner.carrier {
            Carrier::Tcp(tcp) => !tcp.asked.load(Ordering::Relaxed),
            Carrier::Quic(_) => false,
        }
    }

    /// How it goes there.
    pub fn path(&self) -> PathKind {
        match &self.inner.carrier {
            Carrier::Quic(_) => PathKind::Quic,
            Carrier::Tcp(tcp) => match tcp.way {
                Way::Direct(_) => PathKind::Tcp,
                Way::Proxy(_) => PathKind::Proxied,
                Way::Circuit(_) => PathKind::Relayed,
            },
        }
    }

    /// The present round-trip time.
    pub fn rtt(&self) -> Duration {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.rtt(),
            Carrier::Tcp(tcp) => Duration::from_micros(tcp.rtt_us.load(Ordering::Relaxed)),
        }
    }

    /// Whether another connection to the peer takes over: new links belong there, and those here are to move.
    pub fn is_draining(&self) -> bool {
        self.inner.drain.borrow().is_some()
    }

    /// Whether what was written a second ago or more has not been answered yet. A second path is tried then.
    pub fn is_stalled(&self) -> bool {
        self.inner.flow.is_stalled()
    }

    /// The connection that takes over, where it is ours to move the links there.
    pub(crate) fn moves_to(&self) -> Option<Self> {
        let ours = self.chooses();
        self.inner.drain.borrow().clone().filter(|_| ours)
    }

    /// Where its links are to go; `None`: they may stay.
    pub(crate) fn drain_to(&self, survivor: Option<&Self>) {
        self.inner.drain.send_if_modified(|present| {
            let same = present.as_ref().map(Self::id) == survivor.map(Self::id);
            if !same {
                *present = survivor.cloned();
            }
            !same
        });
    }

    pub(crate) fn draining(&self) -> watch::Receiver<Option<Self>> {
        self.inner.drain.subscribe()
    }

    /// Says that a link with a member runs here, for as long as what is returned lives: who proves to be one is heard in
    /// matters of others.
    pub(crate) fn begin_link(&self) -> impl Send + Sync + use<> {
        self.inner.flow.link()
    }

    /// Whether one does.
    pub(crate) fn has_links(&self) -> bool {
        self.inner.flow.has_links()
    }

    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.inner.flow
    }

    /// Whether we, as the higher PeerId, pick the survivor of doubles.
    pub(crate) fn chooses(&self) -> bool {
        self.inner.chooses
    }

    /// A number that changes when the peer answers what we write: of QUIC the acknowledgements that came, of TCP the
    /// bytes.
    pub(crate) fn answered(&self) -> u64 {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.stats().frame_rx.acks,
            Carrier::Tcp(tcp) => tcp.meter.received(),
        }
    }

    /// A number that changes when something is sent that the peer must answer, and with each probe while it does not.
    /// Of QUIC only.
    pub(crate) fn asked(&self) -> u64 {
        match &self.inner.carrier {
            Carrier::Quic(quic) => {
                let sent = quic.stats().frame_tx;
                // The last of these is what quinn probes with.
                [sent.stream, sent.ping, sent.immediate_ack]
                    .into_iter()
                    .fold(0, u64::wrapping_add)
            }
            Carrier::Tcp(_) => 0,
        }
    }

    /// The time to the peer and back, as a probe has shown it. QUIC measures by itself.
    pub(crate) fn measured(&self, rtt: Duration) {
        if let Carrier::Tcp(tcp) = &self.inner.carrier {
            tcp.rtt_us.store(micros(rtt), Ordering::Relaxed);
        }
    }

    /// `B` of the link handshake: the TLS exporter with the two PeerIds. Both ends have the same, and no other
    /// connection has it.
    pub fn binding(&self) -> Binding {
        self.inner.binding
    }

    /// Opens a stream and writes its header. Waits while the peer has as many open streams as it allows (64 here), and
    /// over TCP while we have 40 open.
    /// Cancel-safe: a stream that was not returned is reset.
    pub async fn open(&self, kind: StreamKind) -> io::Result<Stream> {
        let mut stream = match &self.inner.carrier {
            Carrier::Quic(quic) => {
                let (send, recv) = quic.open_bi().await?;
                Stream::quic(send, recv, self.inner.flow.stream())
            }
            Carrier::Tcp(tcp) => Stream::mux(tcp.mux.open().await?, self.inner.flow.stream()),
        };
        stream.send.write_all(&kind.header()).await?;
        Ok(stream)
    }

    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.close_reason().is_some(),
            Carrier::Tcp(tcp) => tcp.mux.is_closed(),
        }
    }

    /// Closes it at once, with code 0 and no text. What was written but not yet acknowledged is lost.
    pub fn close(&self) {
        match &self.inner.carrier {
            Carrier::Quic(quic) => quic.close(CODE, b""),
            Carrier::Tcp(tcp) => tcp.mux.close(),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match &self.inner.carrier {
            Carrier::Quic(quic) => {
                let (send, recv) = quic.accept_bi().await?;
                endpoint::more_streams(quic, recv.id());
                Ok(Stream::quic(send, recv, self.inner.flow.stream()))
            }
            Carrier::Tcp(tcp) => Ok(Stream::mux(
                tcp.mux.accept().await?,
                self.inner.flow.stream(),
            )),
        }
    }

    /// Waits for the end, and says in plain words why it came. The peer's own words are not repeated.
    pub(crate) async fn closed(&self) -> String {
        match &self.inner.carrier {
            Carrier::Quic(quic) => in_words(&quic.closed().await),
            Carrier::Tcp(tcp) => tcp.mux.closed().await.to_owned(),
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn peer_of(quic: &quinn::Connection) -> Result<PeerId, rustls::Error> {
    let certificates = quic
        .peer_identity()
        .and_then(|any| {
            any.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
                .ok()
        })
        .unwrap_or_default();
    tls::peer_of(&certificates)
}

/// Why a QUIC connection ended or did not come about, without any text of the peer's.
pub(crate) fn in_words(error: &ConnectionError) -> String {
    match error {
        ConnectionError::ApplicationClosed(_) => "closed by the peer".to_owned(),
        ConnectionError::ConnectionClosed(close) => {
            format!("refused by the peer ({})", close.error_code)
        }
        ConnectionError::TransportError(error) => format!("protocol error ({})", error.code),
        ConnectionError::Reset => "the peer has restarted".to_owned(),
        ConnectionError::TimedOut => "the peer is silent".to_owned(),
        ConnectionError::LocallyClosed => "closed".to_owned(),
        ConnectionError::VersionMismatch => "the peer speaks no QUIC version 1".to_owned(),
        ConnectionError::CidsExhausted => "out of connection ids".to_owned(),
    }
}
