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
    connection::{Carrier, Connection, Duplex, Meter, Metered},
    proxy::{Proxy, ProxyError},
    shared::Shared,
    socket::bind::{is_taken, socket_from},
    tls::{Mismatch, MismatchCell},
};
use crossed::{Crossed, Crossing};

/// Performs the TLS handshake as the server over a byte stream; `None` if it fails.
pub(crate) async fn upgrade_as_server(
    io: impl Duplex + 'static,
    carrier: Carrier,
    shared: &Arc<Shared>,
) -> Option<Connection> {
    let (io, meter) = Metered::new(io);
    serve(io, meter, carrier, shared).await
}

async fn serve<T: Duplex + 'static>(
    io: Metered<T>,
    meter: Arc<Meter>,
    carrier: Carrier,
    shared: &Arc<Shared>,
) -> Option<Connection> {
    let begin = Instant::now();
    let config = shared.tls.server_tcp().ok()?;
    let tls = TlsAcceptor::from(Arc::new(config)).accept(io).await.ok()?;
    let (tls, took) = (TlsStream::from(tls), begin.elapsed());
    let local = shared.local_end();
    let (connection, task) =
        Connection::tcp(tls, meter, TlsSide::Server, carrier, took, local).ok()?;
    shared.spawn(task);
    Some(connection)
}

/// Dials over TCP and performs the handshake. The dial leaves from our listening port, so that a NAT uses one mapping
/// that other peers can be told of, or from another port if a socket of ours is already connected to that target.
pub(crate) async fn connect(
    address: SocketAddr,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    match connect_from_our_port(address, expected, shared).await {
        Err(PortDialError::Taken) => {}
        Err(PortDialError::Refused) => {
            return Err(DialError::Refused("nothing listens there".to_owned()));
        }
        Err(PortDialError::Failed(error)) => return Err(error),
        Ok(connection) => return Ok(connection),
    }
    let begin = Instant::now();
    let from = shared.local_for(address.ip()).map(|local| local.ip());
    let tcp = open(from, address).await;
    let tcp = tcp.map_err(|error| match PortDialError::from(error) {
        PortDialError::Failed(error) => error,
        _ => DialError::Refused("nothing listens there".to_owned()),
    })?;
    upgrade(
        tcp,
        Carrier::Direct(address),
        begin.elapsed(),
        expected,
        shared,
    )
    .await
}

/// Why a dial from our listening port failed.
#[derive(Debug)]
pub(crate) enum PortDialError {
    /// No packet was sent: another socket of ours is connected to the target, or the port cannot be shared.
    Taken,
    /// The target, or something on the path, refused it.
    Refused,
    Failed(DialError),
}

impl From<io::Error> for PortDialError {
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

/// Dials from our listening port. If the other end dials from there at the same moment, both get the same connection.
pub(crate) async fn connect_from_our_port(
    address: SocketAddr,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, PortDialError> {
    let begin = Instant::now();
    let local = shared.local_for(address.ip()).ok_or(PortDialError::Taken)?;
    let socket = socket_from(local).map_err(|_| PortDialError::Taken)?;
    shared.contacted_tcp.contacts(address);
    socket
        .set_nodelay(true)
        .map_err(|_| PortDialError::Failed(DialError::Stopped))?;
    let tcp = socket.connect(address).await?;
    let rtt = begin.elapsed();
    let connection = upgrade_crossing(tcp, Carrier::Direct(address), rtt, expected, shared)
        .await
        .map_err(PortDialError::Failed)?;
    connection.set_from_our_port();
    Ok(connection)
}

/// Performs the handshake over a byte stream that was dialled, perhaps from both ends.
pub(crate) async fn upgrade_crossing(
    io: impl Duplex + 'static,
    carrier: Carrier,
    rtt: Duration,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    let (io, meter) = Metered::new(Crossing::new(io));
    let failed = match shake(io, expected, shared).await {
        Ok(tls) => return client(tls, meter, carrier, rtt, shared),
        Err(failed) => failed,
    };
    match (failed.crossed, failed.io) {
        (Some(Crossed::Server), Some(io)) => {
            let connection = serve(io, meter, carrier, shared).await;
            let connection = connection.ok_or_else(|| {
                DialError::Refused("its TLS is not that of a Bit Chat node".to_owned())
            })?;
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

/// Dials through the proxy and performs the handshake.
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
    upgrade(
        tcp,
        Carrier::Proxy(address),
        begin.elapsed(),
        expected,
        shared,
    )
    .await
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

/// Performs the TLS handshake as the client over a byte stream.
pub(crate) async fn upgrade(
    io: impl Duplex + 'static,
    carrier: Carrier,
    rtt: Duration,
    expected: Option<PeerId>,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    let (io, meter) = Metered::new(io);
    let tls = shake(io, expected, shared).await.map_err(|end| end.why)?;
    client(tls, meter, carrier, rtt, shared)
}

fn client<T: Duplex + 'static>(
    tls: Shaken<T>,
    meter: Arc<Meter>,
    carrier: Carrier,
    rtt: Duration,
    shared: &Arc<Shared>,
) -> Result<Connection, DialError> {
    let tls = TlsStream::from(tls);
    let local = shared.local_end();
    let (connection, task) =
        Connection::tcp(tls, meter, TlsSide::Client, carrier, rtt, local).map_err(refused)?;
    shared.spawn(task);
    Ok(connection)
}

type Shaken<T> = tokio_rustls::client::TlsStream<Metered<T>>;

/// A failed handshake as the client.
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
    // The name is an address, so none is sent to the server.
    let name = IpAddr::V4(Ipv4Addr::UNSPECIFIED).into();
    let dial = TlsConnector::from(Arc::new(config)).connect(name, io);
    dial.into_fallible().await.map_err(|(error, io)| Failed {
        why: match mismatch.get() {
            Some(Mismatch::Ourselves) => DialError::Ourselves,
            Some(Mismatch::OtherPeer) => DialError::OtherPeer,
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                DialError::Refused("closed by the peer".to_owned())
            }
            None => DialError::Refused("its TLS is not that of a Bit Chat node".to_owned()),
        },
        crossed: Crossed::of(&error),
        io: Some(io),
    })
}
