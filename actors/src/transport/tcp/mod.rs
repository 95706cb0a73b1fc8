//! TCP on the same port number: TLS 1.3 and yamux where UDP does not get through (`docs/PROTOCOL.md`, TCP).

mod crossed;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::link::TlsSide;
use libp2p_identity::PeerId;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use crate::transport::{
    api::DialError,
    connection::{Connection, Duplex, Meter, Metered, Way},
    proxy::{Proxy, ProxyError},
    shared::Shared,
    socket::bind::{is_taken, socket_from},
    tls::{Mismatch, MismatchCell},
};
use crossed::{Crossed, Crossing};

/// TLS and yamux as the server over a byte stream.
pub(crate) async fn upgrade_as_server(
    io: impl Duplex + 'static,
    way: Way,
    shared: &Arc<Shared>,
) -> Option<Connection> {
    let (io, meter) = Metered::new(io);
    serve(io, meter, way, shared).await
}

async fn serve<T: Duplex + 'static>(
    io: Metered<T>,
    meter: Arc<Meter>,
    way: Way,
    shared: &Arc<Shared>,
) -> Option<Connection> {
    let begin = Instant::now();
    let config = shared.tls.server_tcp().ok()?;
    let tls = TlsAcceptor::from(Arc::new(config)).accept(io).await.ok()?;
    let (tls, took) = (TlsStream::from(tls), begin.elapsed());
    let local = shared.local_end();
    let (connection, task) = Connection::tcp(tls, meter, TlsSide::Server, way, took, local).ok()?;
    shared.spawn(task);
    Some(connection)
}

/// Dials by TCP and shakes hands: from the port on which we listen, so that a NAT shows the one mapping that a peer can
/// be told of; from another one where a socket of ours leads there already.
pub(crate) async fn connect(
    address: SocketAddr,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    match connect_from_our_port(address, expected, shared).await {
        Err(Knock::Taken) => {}
        Err(Knock::Refused) => return Err(DialError::Refused("nobody listens".to_owned())),
        Err(Knock::Failed(error)) => return Err(error),
        Ok(connection) => return Ok(connection),
    }
    let begin = Instant::now();
    let from = shared.local_for(address.ip()).map(|local| local.ip());
    let tcp = open(from, address).await;
    let tcp = tcp.map_err(|error| match Knock::from(error) {
        Knock::Failed(error) => error,
        _ => DialError::Refused("nobody listens".to_owned()),
    })?;
    upgrade(tcp, Way::Direct(address), begin.elapsed(), expected, shared).await
}

/// Why a dial from our port came to nothing.
#[derive(Debug)]
pub(crate) enum Knock {
    /// No packet was sent: another socket of ours leads there, or the port cannot be shared.
    Taken,
    /// Somebody there, or on the way, does not want it.
    Refused,
    Failed(DialError),
}

impl From<io::Error> for Knock {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            _ if is_taken(&error) => Self::Taken,
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable => Self::Refused,
            _ => Self::Failed(DialError::TimedOut),
        }
    }
}

/// Dials from the port on which we listen. The other end may dial from there at the same moment: then both come to one
/// connection.
pub(crate) async fn connect_from_our_port(
    address: SocketAddr,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, Knock> {
    let begin = Instant::now();
    let local = shared.local_for(address.ip()).ok_or(Knock::Taken)?;
    let socket = socket_from(local).map_err(|_| Knock::Taken)?;
    shared.asked_tcp.asks(address);
    socket
        .set_nodelay(true)
        .map_err(|_| Knock::Failed(DialError::Stopped))?;
    let tcp = socket.connect(address).await?;
    let rtt = begin.elapsed();
    let connection = upgrade_crossing(tcp, Way::Direct(address), rtt, expected, shared)
        .await
        .map_err(Knock::Failed)?;
    connection.set_from_our_port();
    Ok(connection)
}

/// TLS and yamux over a byte stream that was dialled, perhaps from both ends.
pub(crate) async fn upgrade_crossing(
    io: impl Duplex + 'static,
    way: Way,
    rtt: Duration,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    let (io, meter) = Metered::new(Crossing::new(io));
    let failed = match shake(io, expected, shared).await {
        Ok(tls) => return client(tls, meter, way, rtt, shared),
        Err(failed) => failed,
    };
    match (failed.crossed, failed.io) {
        (Some(Crossed::Server), Some(io)) => {
            let connection = serve(io, meter, way, shared).await;
            let connection =
                connection.ok_or_else(|| DialError::Refused("its TLS is not ours".to_owned()))?;
            if expected.is_some_and(|expected| expected != connection.peer()) {
                connection.close();
                return Err(DialError::OtherPeer);
            }
            Ok(connection)
        }
        (Some(Crossed::Ourselves), _) => Err(DialError::Ourselves),
        _ => Err(failed.why),
    }
}

/// Dials through the proxy and shakes hands.
pub(crate) async fn connect_through(
    proxy: &Proxy,
    address: SocketAddr,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    let begin = Instant::now();
    let tcp = proxy.connect_to(address).await.map_err(|e| match e {
        ProxyError::TimedOut => DialError::TimedOut,
        e => DialError::Refused(e.to_string()),
    })?;
    upgrade(tcp, Way::Proxy(address), begin.elapsed(), expected, shared).await
}

async fn open(from: Option<IpAddr>, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(ip) = from.filter(|ip| !ip.is_unspecified()) {
        socket.bind(SocketAddr::new(ip, 0))?;
    }
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// TLS and yamux as the client over a byte stream.
pub(crate) async fn upgrade(
    io: impl Duplex + 'static,
    way: Way,
    rtt: Duration,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    let (io, meter) = Metered::new(io);
    let tls = shake(io, expected, shared).await.map_err(|end| end.why)?;
    client(tls, meter, way, rtt, shared)
}

fn client<T: Duplex + 'static>(
    tls: Shaken<T>,
    meter: Arc<Meter>,
    way: Way,
    rtt: Duration,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    let tls = TlsStream::from(tls);
    let local = shared.local_end();
    let (connection, task) =
        Connection::tcp(tls, meter, TlsSide::Client, way, rtt, local).map_err(refused)?;
    shared.spawn(task);
    Ok(connection)
}

type Shaken<T> = tokio_rustls::client::TlsStream<Metered<T>>;

/// A handshake of ours as the client that failed.
struct Failed<T> {
    why: DialError,
    crossed: Option<Crossed>,
    io: Option<Metered<T>>,
}

fn refused(error: impl std::fmt::Display) -> DialError {
    DialError::Refused(error.to_string())
}

async fn shake<T: Duplex + 'static>(
    io: Metered<T>,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Shaken<T>, Failed<T>> {
    let mismatch = MismatchCell::default();
    let config = shared.tls.client_tcp(expected, Arc::clone(&mismatch));
    let config = config.map_err(|error| Failed {
        why: refused(error),
        crossed: None,
        io: None,
    })?;
    // An address for a name: none is sent to the server.
    let name = IpAddr::V4(Ipv4Addr::UNSPECIFIED).into();
    let dial = TlsConnector::from(Arc::new(config)).connect(name, io);
    dial.into_fallible().await.map_err(|(error, io)| Failed {
        why: match mismatch.get() {
            Some(Mismatch::Ourselves) => DialError::Ourselves,
            Some(Mismatch::OtherPeer) => DialError::OtherPeer,
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                DialError::Refused("closed by the peer".to_owned())
            }
            None => DialError::Refused("its TLS is not ours".to_owned()),
        },
        crossed: Crossed::of(&error),
        io: Some(io),
    })
}
