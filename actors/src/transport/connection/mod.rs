//! Authenticated connections: the handle, and the streams below it.

mod flow;
mod mux;
mod session;
mod stream;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bitchat_wire::{
    link::{Binding, TlsSide},
    stream::StreamKind,
};
use libp2p_identity::PeerId;
use tokio::{io::AsyncWriteExt, sync::watch};
use zeroize::Zeroizing;

use crate::transport::{
    address::{PathKind, Relay, Target},
    metrics::Traffic,
    tls,
};
use flow::Flow;
use mux::Mux;
use session::Session;

pub use mux::Duplex;
pub(crate) use mux::{Meter, Metered};
pub(crate) use session::{Carrier, describe};
pub(crate) use stream::CODE;
pub use stream::{RecvHalf, SendHalf, Stream};

/// The number of a connection, unique within this run.
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
    /// Whether we have the higher PeerId, which picks the survivor of several connections.
    chooses: bool,
    /// The connection that takes over this one's links; `None` while they stay.
    drain: watch::Sender<Option<Connection>>,
    session: Session,
}

/// Our end of a new connection.
pub(crate) struct LocalEnd {
    /// The connection's number.
    pub(crate) id: ConnectionId,
    pub(crate) peer: PeerId,
    /// The counters for its streams' bytes.
    pub(crate) traffic: Arc<Traffic>,
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
        let session = Session::Quic(quic);
        Ok(Self::new(peer, side, &exporter, session, local))
    }

    /// Wraps a TLS session over any byte stream, once its handshake is done. The caller must run the returned task,
    /// which moves the bytes.
    pub(crate) fn tcp<T: Duplex + 'static>(
        tls: tokio_rustls::TlsStream<Metered<T>>,
        meter: Arc<Meter>,
        side: TlsSide,
        carrier: Carrier,
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
        let session = Session::tcp(mux, meter, carrier, rtt);
        Ok((Self::new(peer, side, &exporter, session, local), task))
    }

    fn new(
        peer: PeerId,
        side: TlsSide,
        exporter: &[u8; 32],
        session: Session,
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
            session,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The connection's number.
    pub fn id(&self) -> ConnectionId {
        self.inner.id
    }

    /// The PeerId of the other end.
    pub fn peer(&self) -> PeerId {
        self.inner.peer
    }

    /// Our side of the TLS session.
    pub fn side(&self) -> TlsSide {
        self.inner.side
    }

    /// The other end's present address: a QUIC connection follows a peer that changes networks. If the peer opened a
    /// TCP connection, its port here cannot be dialled. For a circuit this is the relay's address, and reveals nothing
    /// about the peer.
    pub fn remote(&self) -> SocketAddr {
        self.inner.session.remote()
    }

    /// The other end's own address; `None` for a circuit.
    pub fn direct(&self) -> Option<SocketAddr> {
        (self.path() != PathKind::Relayed).then(|| self.remote())
    }

    /// The relay that carries it; `None` for other paths.
    pub fn relay(&self) -> Option<Relay> {
        self.inner.session.relay()
    }

    /// The other end, to tell connections apart. The peer cannot always be dialled there.
    pub fn target(&self) -> Target {
        match self.relay() {
            Some(relay) => Target::Circuit {
                relay,
                peer: self.peer(),
            },
            None => Target::Direct(self.remote()),
        }
    }

    /// Where the peer can be dialled, as far as this connection shows: the address at which we reached it or from which
    /// it answered us; for a TCP connection that the peer opened unasked, its host and the port that it reports to
    /// listen on; for a circuit, the same circuit. `None` while that port is unknown.
    pub fn dialable(&self) -> Option<Target> {
        match self.inner.session.over_tcp() {
            Some(tcp)
                if self.side() == TlsSide::Server && !tcp.solicited.load(Ordering::Relaxed) =>
            {
                let port = tcp.listens_on.load(Ordering::Relaxed);
                let direct = self.direct().filter(|_| port != 0)?;
                Some(Target::Direct(SocketAddr::new(direct.ip(), port)))
            }
            _ => Some(self.target()),
        }
    }

    /// Records the port that the peer reports to listen on. TCP only.
    pub(crate) fn listens_on(&self, port: u16) {
        if let Some(tcp) = self.inner.session.over_tcp() {
            tcp.listens_on.store(port, Ordering::Relaxed);
        }
    }

    /// Records that we dialled from our listening port, so that the peer sees that port. TCP only.
    pub(crate) fn set_from_our_port(&self) {
        if let Some(tcp) = self.inner.session.over_tcp() {
            tcp.from_our_port.store(true, Ordering::Relaxed);
            tcp.solicited.store(true, Ordering::Relaxed);
        }
    }

    /// Records that the peer comes from an address that we dialled. TCP only.
    pub(crate) fn set_solicited(&self) {
        if let Some(tcp) = self.inner.session.over_tcp() {
            tcp.solicited.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn is_from_our_port(&self) -> bool {
        let tcp = self.inner.session.over_tcp();
        tcp.is_some_and(|tcp| tcp.from_our_port.load(Ordering::Relaxed))
    }

    /// Whether this is a TCP connection from an address to which we had sent nothing: then strangers get through to us.
    pub(crate) fn is_unasked(&self) -> bool {
        let tcp = self.inner.session.over_tcp();
        tcp.is_some_and(|tcp| !tcp.solicited.load(Ordering::Relaxed))
    }

    /// The kind of path to the peer.
    pub fn path(&self) -> PathKind {
        self.inner.session.path()
    }

    /// The current round-trip time.
    pub fn rtt(&self) -> Duration {
        self.inner.session.rtt()
    }

    /// Whether another connection to the peer takes over: new links belong there, and those on this one are to move.
    pub fn is_draining(&self) -> bool {
        self.inner.drain.borrow().is_some()
    }

    /// Whether data written a second or more ago is still unanswered. A second path is tried then.
    pub fn is_stalled(&self) -> bool {
        self.inner.flow.is_stalled()
    }

    /// The connection that takes over, if it is we who move the links there.
    pub(crate) fn moves_to(&self) -> Option<Self> {
        let ours = self.chooses();
        self.inner.drain.borrow().clone().filter(|_| ours)
    }

    /// Sets the connection to which the links are to move; `None` lets them stay.
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

    /// Records that a link with a member runs here, until the returned guard is dropped. Requests on behalf of other
    /// peers are accepted only from members.
    pub(crate) fn begin_link(&self) -> impl Send + Sync + use<> {
        self.inner.flow.link()
    }

    /// Whether a link with a member runs here.
    pub(crate) fn has_links(&self) -> bool {
        self.inner.flow.has_links()
    }

    pub(crate) fn flow(&self) -> &Arc<Flow> {
        &self.inner.flow
    }

    /// Whether we, as the higher PeerId, pick the survivor of several connections.
    pub(crate) fn chooses(&self) -> bool {
        self.inner.chooses
    }

    /// A number that changes when the peer answers what we write: for QUIC the acknowledgements received, for TCP the
    /// bytes.
    pub(crate) fn answers(&self) -> u64 {
        self.inner.session.answers()
    }

    /// A number that changes with each packet that the peer must answer, and with each probe while it does not. QUIC
    /// only; always 0 for TCP.
    pub(crate) fn questions(&self) -> u64 {
        self.inner.session.questions()
    }

    /// Records the round-trip time of a probe. QUIC has its own measurement.
    pub(crate) fn measured(&self, rtt: Duration) {
        self.inner.session.measured(rtt);
    }

    /// `B` of the link handshake: the TLS exporter with both PeerIds. Equal at both ends, and different for every other
    /// connection.
    pub fn binding(&self) -> Binding {
        self.inner.binding
    }

    /// Opens a stream and writes its header. Waits while the peer allows no more open streams (64 at our end), and over
    /// TCP while we have 40 open. Cancel-safe: a stream that was not returned is reset.
    pub async fn open(&self, kind: StreamKind) -> io::Result<Stream> {
        let mut stream = self.inner.session.open(&self.inner.flow).await?;
        stream.send.write_all(&kind.header()).await?;
        Ok(stream)
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.inner.session.is_closed()
    }

    /// Closes the connection at once, with code 0 and no reason. Unacknowledged data is lost.
    pub fn close(&self) {
        self.inner.session.close();
    }

    /// The next stream opened by the peer, whose header is not yet read. Cancel-safe.
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        self.inner.session.accept(&self.inner.flow).await
    }

    /// Waits for the connection's end and describes its reason, without text from the peer.
    pub(crate) async fn closed(&self) -> String {
        self.inner.session.closed().await
    }
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
