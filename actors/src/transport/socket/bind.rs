//! The sockets of the one port: UDP and TCP, and TCP dials that leave from it.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpSocket;

/// Wanted of the kernel, which may give less: a burst must survive a busy scheduler.
const SOCKET_BUFFER: usize = 1 << 20;
/// TCP connections that wait to be accepted, which is done at once.
const BACKLOG: i32 = 128;
/// How often to look for a port that is free for all addresses, when the system chooses.
const PORT_TRIES: u32 = 16;
/// "Too many open files", of the process and of the system: the same numbers on all Unixes.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// One address: UDP and TCP on one port.
pub(crate) type Sockets = (UdpSocket, TcpListener);

/// Binds one UDP socket and one TCP listener for each of `ips`, all on one port. With `port_is_wish`, or port 0, the system may choose it.
pub(crate) fn bind(ips: &[IpAddr], port: u16, port_is_wish: bool) -> io::Result<Vec<Sockets>> {
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
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

pub(crate) fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
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
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let tcp = open(address, Type::STREAM, Protocol::TCP)?;
    // Connections of an earlier run that linger in the kernel do not hold the port; a listener does.
    if cfg!(unix) {
        tcp.set_reuse_address(true)?;
    }
    tcp.bind(&address.into())?;
    tcp.listen(BACKLOG)?;
    // Without that, dials leave from other ports, and work as well.
    let _ = share(&tcp);
    Ok(tcp.into())
}

/// What a node binds when nothing else is said: everything, once an address family.
pub(crate) fn everywhere() -> Vec<IpAddr> {
    vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
}

/// Lets dials leave from this listener's port. It is said of one that listens already, so that a second listener still
/// finds the port taken. Only Linux is known to take it that way.
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

/// A socket that dials from there, where we listen.
pub(crate) fn socket_from(local: SocketAddr) -> io::Result<TcpSocket> {
    let socket = open(local, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    reuse_port(&socket)?;
    socket.bind(&local.into())?;
    Ok(TcpSocket::from_std_stream(socket.into()))
}

/// Whether another socket of ours leads there from that port, or did until lately.
pub(crate) fn is_taken(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable
    )
}
