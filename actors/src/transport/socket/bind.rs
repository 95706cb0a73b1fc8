//! Binding the one port for UDP and TCP, and sockets for TCP dials that leave from it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpSocket;

/// Requested from the kernel, which may grant less: a burst must survive a busy scheduler.
const SOCKET_BUFFER: usize = 1 << 20;
/// TCP connections that wait to be accepted, which happens at once.
const BACKLOG: i32 = 128;
/// Attempts to find a port that is free on all addresses when the system chooses.
const PORT_TRIES: u32 = 16;
/// "Too many open files", for the process and the system: the same numbers on all Unixes.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// The UDP and TCP sockets of one address, on one port.
pub(crate) type Sockets = (UdpSocket, TcpListener);

/// Binds one UDP socket and one TCP listener for each of `ips`, all on one port. With port 0, or if `port_is_wish` and
/// the port is taken, the system chooses it.
pub(crate) fn bind(ips: &[IpAddr], port: u16, port_is_wish: bool) -> io::Result<Vec<Sockets>> {
    if port != 0 {
        match bind_all(ips, port) {
            Err(e) if port_is_wish && e.kind() == io::ErrorKind::AddrInUse => {
                tracing::warn!(port, "the port is taken; using another one");
            }
            end => return end,
        }
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match bind_all(ips, 0) {
            // Free on the first address, taken on another.
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
            // A host without IPv6 (or IPv4) runs with what it has, unless it was given a specific address.
            Err(e) if ip.is_unspecified() && no_such_family(&e) => {
                tracing::info!(%ip, "this host lacks that address family");
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

/// Whether the host lacks that address family. Covers only the errors that a wildcard address can cause.
fn no_such_family(error: &io::Error) -> bool {
    // EAFNOSUPPORT, as `open` returns it, and what Linux answers when IPv6 is switched off.
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported | io::ErrorKind::AddrNotAvailable
    )
}

/// Whether no more files can be opened, by this process or on the whole system.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

pub(crate) fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let domain = Domain::for_address(address);
    // The kernel creates no socket of a family that it lacks; running out of descriptors is different.
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
    // The kernel may cap the size; a smaller buffer works too.
    let _ = udp.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = udp.set_send_buffer_size(SOCKET_BUFFER);
    udp.bind(&address.into())?;
    let udp: UdpSocket = udp.into();
    let tcp = listen(udp.local_addr()?)?;
    Ok((udp, tcp))
}

/// Opens a TCP listener.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let tcp = open(address, Type::STREAM, Protocol::TCP)?;
    // Connections of an earlier run that linger in the kernel do not block the port; a listener does.
    if cfg!(unix) {
        tcp.set_reuse_address(true)?;
    }
    tcp.bind(&address.into())?;
    tcp.listen(BACKLOG)?;
    // If this fails, dials leave from other ports, which works as well.
    let _ = share(&tcp);
    Ok(tcp.into())
}

/// The addresses bound by default: the wildcard of each family.
pub(crate) fn everywhere() -> Vec<IpAddr> {
    vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
}

/// Lets dials leave from this listener's port. Set after it began to listen, so that a second listener still finds the
/// port taken. Only Linux is known to handle it that way.
pub(crate) fn share(listener: &Socket) -> io::Result<()> {
    if cfg!(target_os = "linux") {
        reuse_port(listener)
    } else {
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(target_os = "linux"))]
fn reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A socket for a dial from our listening address.
pub(crate) fn socket_from(local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = open(local, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    reuse_port(&socket)?;
    socket.bind(&local.into())?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Whether another of our sockets is connected to that target from that port, or was until recently.
pub(crate) fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}
