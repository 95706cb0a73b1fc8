//! QUIC's settings, connection ids, and the UDP sockets under it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    time::Duration,
};

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use quinn::{
    AsyncUdpSocket, Endpoint, EndpointConfig, IdleTimeout, Runtime, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};
use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};
use rand::RngExt;
use socket2::{Domain, Protocol, Socket, Type};
use zeroize::Zeroizing;

mod connect;

use super::{
    admission::MAX_INCOMING,
    crossed,
    tls::{MismatchCell, Tls},
};

pub(super) use connect::connect;

/// An idle connection says so this often: UDP mappings of most NATs live at least 30 s.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// A peer that is silent for this long is gone: two keep-alives may be lost.
const IDLE_MS: u32 = 60_000;
/// Streams that a peer may have open on a connection: control, and a link or file for each of many channels.
const MAX_STREAMS: u32 = 64;
/// What it may have open at first: quinn sets up each that is allowed, and most peers open two.
const FIRST_STREAMS: u32 = 14;
/// The stream of a peer, counted from 0, with which it is allowed [`MAX_STREAMS`].
const MORE_STREAMS_AT: u64 = 7;
/// What a peer may send on one stream before it is read: 80 Mbit/s at 100 ms.
const STREAM_WINDOW: u32 = 1 << 20;
/// What a peer may send on all streams of a connection before it is read: the memory that it can pin.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// What we keep for a peer that does not acknowledge.
const SEND_WINDOW: u64 = 4 << 20;
/// First packets that wait for our verdict, which is immediate: only a flood makes them queue.
const MAX_UNJUDGED: usize = MAX_INCOMING;
/// What is kept of a handshake before the verdict: its first flight is two or three packets.
const UNJUDGED_BYTES: u64 = 16 << 10;
/// The same for all of them.
const UNJUDGED_BYTES_ALL: u64 = 2 << 20;
/// Wanted of the kernel, which may give less: a burst must survive a busy scheduler.
const SOCKET_BUFFER: usize = 1 << 20;
/// TCP connections that wait to be accepted, which is done at once.
const BACKLOG: i32 = 128;
/// How often to look for a port that is free for all addresses, when the system chooses.
const PORT_TRIES: u32 = 16;
/// "Too many open files", of the process and of the system: the same numbers on all Unixes.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;
/// QUIC version 1 (RFC 9000). The drafts before it are not spoken.
const QUIC_V1: u32 = 1;

/// What both sides of every connection use.
fn transport_config() -> Arc<quinn::TransportConfig> {
    let mut config = quinn::TransportConfig::default();
    config
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS))))
        .max_concurrent_bidi_streams(VarInt::from_u32(FIRST_STREAMS))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW))
        .send_window(SEND_WINDOW);
    Arc::new(config)
}

/// Lets a peer that makes use of its streams have more of them. Called with each that it opens, in their order.
pub(super) fn more_streams(connection: &quinn::Connection, opened: quinn::StreamId) {
    if opened.index() == MORE_STREAMS_AT {
        connection.set_max_concurrent_bi_streams(VarInt::from_u32(MAX_STREAMS));
    }
}

/// For one dial.
pub(super) fn client_config(
    tls: &Tls,
    expected: Option<libp2p_identity::PeerId>,
    mismatch: MismatchCell,
) -> io::Result<quinn::ClientConfig> {
    let tls = tls.client(expected, mismatch).map_err(io::Error::other)?;
    let crypto = QuicClientConfig::try_from(tls).map_err(io::Error::other)?;
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(transport_config());
    Ok(config)
}

fn server_config(tls: &Tls) -> io::Result<quinn::ServerConfig> {
    let crypto = QuicServerConfig::try_from(tls.server().map_err(io::Error::other)?)
        .map_err(io::Error::other)?;
    let mut config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
    config
        .transport_config(transport_config())
        .migration(true)
        .max_incoming(MAX_UNJUDGED)
        .incoming_buffer_size(UNJUDGED_BYTES)
        .incoming_buffer_size_total(UNJUDGED_BYTES_ALL);
    Ok(config)
}

/// An endpoint on a bound socket. `reset_key` is the profile's; each local address has keys of its own, or a
/// packet sent to one socket would make it sign away a connection of another (RFC 9000, section 21.11).
pub(super) fn endpoint(
    tls: &Tls,
    reset_key: &[u8; 64],
    socket: Arc<dyn AsyncUdpSocket>,
    runtime: Arc<dyn Runtime>,
) -> io::Result<Endpoint> {
    let ip = socket.local_addr()?.ip();
    let cid_key = derive(reset_key, b"connection id", ip);
    let mut config = EndpointConfig::new(Arc::new(derive(reset_key, b"stateless reset", ip)));
    config
        .grease_quic_bit(false)
        .supported_versions(vec![QUIC_V1])
        .cid_generator(move || {
            Box::new(KeyedIds {
                key: cid_key.clone(),
            })
        });
    Endpoint::new_with_abstract_socket(config, Some(server_config(tls)?), socket, runtime)
}

fn derive(reset_key: &[u8; 64], label: &[u8], ip: IpAddr) -> hmac::Key {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, reset_key));
    context.update(b"bitchat/1 ");
    context.update(label);
    context.update(b"\0");
    match ip {
        IpAddr::V4(ip) => context.update(&ip.octets()),
        IpAddr::V6(ip) => context.update(&ip.octets()),
    }
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(context.sign().as_ref());
    hmac::Key::new(hmac::HMAC_SHA256, key.as_ref())
}

/// Bytes of a connection id that are random.
const ID_NONCE: usize = 4;
/// Length of a connection id; what is not random is a MAC of it.
const ID_LEN: usize = 8;
/// Set in the first byte of every connection id. It is the second byte of a short packet, where KRPC has an ASCII
/// digit, so that the two are told apart on a shared port.
const ID_MARK: u8 = 0x80;

/// Connection ids that a restarted node knows for its own, so that it answers them, and only them, with a
/// stateless reset.
struct KeyedIds {
    key: hmac::Key,
}

impl KeyedIds {
    fn complete(&self, nonce: [u8; ID_NONCE]) -> [u8; ID_LEN] {
        let mut id = [0; ID_LEN];
        id[..ID_NONCE].copy_from_slice(&nonce);
        let mac = hmac::sign(&self.key, &nonce);
        id[ID_NONCE..].copy_from_slice(&mac.as_ref()[..ID_LEN - ID_NONCE]);
        id
    }
}

impl ConnectionIdGenerator for KeyedIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut nonce: [u8; ID_NONCE] = rand::rng().random();
        nonce[0] |= ID_MARK;
        ConnectionId::new(&self.complete(nonce))
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        let nonce = id.first_chunk::<ID_NONCE>().ok_or(InvalidCid)?;
        verify_slices_are_equal(&self.complete(*nonce), id).map_err(|_| InvalidCid)
    }

    fn cid_len(&self) -> usize {
        ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// One address: UDP and TCP on one port.
pub(super) type Sockets = (UdpSocket, TcpListener);

/// Binds one UDP socket and one TCP listener for each of `ips`, all on one port. With `port_is_wish`, or port 0, the system may choose it.
pub(super) fn bind(ips: &[IpAddr], port: u16, port_is_wish: bool) -> io::Result<Vec<Sockets>> {
    if port != 0 {
        match bind_all(ips, port) {
            Err(e) if port_is_wish && e.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(port, "the port is taken, another one is used");
            }
            end => return end,
        }
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_all(ips, 0) {
            // Free for the first address, taken for another.
            Err(e) if e.kind() == io::ErrorKind::AddrInUse && tries < PORT_TRIES => {}
            end => return end,
        }
    }
}

fn bind_all(ips: &[IpAddr], mut port: u16) -> io::Result<Vec<Sockets>> {
    let mut sockets = Vec::with_capacity(ips.len());
    let mut missing = None;
    for ip in ips {
        match bind_one(SocketAddr::new(*ip, port)) {
            Ok(both) => {
                port = both.0.local_addr()?.port();
                sockets.push(both);
            }
            // A host without IPv6 (or IPv4) runs with what it has, unless it was asked for an address by name.
            Err(e) if ip.is_unspecified() && no_such_family(&e) => {
                tracing::info!(%ip, "this host lacks that kind of address");
                missing = Some(e);
            }
            Err(e) => return Err(e),
        }
    }
    match missing {
        _ if !sockets.is_empty() => Ok(sockets),
        Some(e) => Err(e),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "no address to listen on",
        )),
    }
}

/// Whether the host has no such kind of address at all. Only what a wildcard can run into is meant.
fn no_such_family(error: &io::Error) -> bool {
    // EAFNOSUPPORT, as `open` says it, and what Linux answers when IPv6 is switched off.
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable
    )
}

/// Whether no more files can be opened, by this process or the whole system.
pub(super) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

pub(super) fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    // The kernel makes no socket of a family that it does not have; out of descriptors is another matter.
    let socket = Socket::new(domain, kind, Some(protocol)).map_err(|e| match e.raw_os_error() {
        Some(EMFILE | ENFILE) => e,
        _ => io::Error::new(io::ErrorKind::Unsupported, e),
    })?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn bind_one(address: SocketAddr) -> io::Result<Sockets> {
    let udp = open(address, Type::DGRAM, Protocol::UDP)?;
    // The kernel caps what it does not want to give; a smaller buffer works too.
    let _ = udp.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = udp.set_send_buffer_size(SOCKET_BUFFER);
    udp.bind(&address.into())?;
    let udp: UdpSocket = udp.into();
    let tcp = listen(udp.local_addr()?)?;
    Ok((udp, tcp))
}

/// Listens by TCP.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let tcp = open(address, Type::STREAM, Protocol::TCP)?;
    // Connections of an earlier run that linger in the kernel do not hold the port; a listener does.
    if cfg!(unix) {
        tcp.set_reuse_address(true)?;
    }
    tcp.bind(&address.into())?;
    tcp.listen(BACKLOG)?;
    // Without that, dials leave from other ports, and work as well.
    let _ = crossed::share(&tcp);
    Ok(tcp.into())
}

/// What a node binds when nothing else is said: everything, once an address family.
pub(super) fn everywhere() -> Vec<IpAddr> {
    vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
}
