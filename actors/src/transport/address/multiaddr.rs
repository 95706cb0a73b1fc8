//! Socket addresses as binary multiaddrs, `/ip4|ip6/…/udp/…/quic-v1`: what control messages and peer
//! exchange carry (`docs/PROTOCOL.md`, addresses).

use std::net::{IpAddr, SocketAddr};

use multiaddr::{Multiaddr, Protocol};

use super::paths::PathKind;

/// The longest binary multiaddr of this form: `/ip6` 17 bytes, `/udp` 4 (code 273 takes two), `/quic-v1` 2.
const MAX_LEN: usize = 24;

/// The binary multiaddr of a QUIC address. An IPv4 address mapped into IPv6 becomes plain IPv4.
pub fn to_multiaddr(address: SocketAddr) -> Vec<u8> {
    Multiaddr::empty()
        .with(address.ip().to_canonical().into())
        .with(Protocol::Udp(address.port()))
        .with(Protocol::QuicV1)
        .to_vec()
}

/// Reads exactly what [`to_multiaddr`] writes; `None` for anything before, between or after it, for longer varints, and
/// for an address that is not one host's ([`is_dialable`]).
pub fn from_multiaddr(bytes: &[u8]) -> Option<SocketAddr> {
    let (address, path) = from_observed(bytes)?;
    (path == PathKind::Quic).then_some(address)
}

/// The binary multiaddr of an observed address: for QUIC as above, for TCP `/ip4|ip6/…/tcp/…`.
pub(crate) fn observed(address: SocketAddr, path: PathKind) -> Vec<u8> {
    match path {
        PathKind::Quic => to_multiaddr(address),
        _ => Multiaddr::empty()
            .with(address.ip().to_canonical().into())
            .with(Protocol::Tcp(address.port()))
            .to_vec(),
    }
}

/// Reads exactly what [`observed`] writes; `None` for anything else.
pub(crate) fn from_observed(bytes: &[u8]) -> Option<(SocketAddr, PathKind)> {
    if bytes.len() > MAX_LEN {
        return None;
    }
    let multiaddr = Multiaddr::try_from(bytes.to_vec()).ok()?;
    let mut parts = multiaddr.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let (port, path) = match parts.next()? {
        Protocol::Udp(port) => (port, PathKind::Quic),
        Protocol::Tcp(port) => (port, PathKind::Tcp),
        _ => return None,
    };
    let address = SocketAddr::new(ip, port);
    // The round trip rejects every other spelling, mapped IPv4 included, and missing or trailing parts.
    (is_dialable(address) && observed(address, path) == bytes).then_some((address, path))
}

/// The address, with an IPv4 address mapped into IPv6 as plain IPv4.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether an address names one host and a port: not unspecified, multicast or broadcast, and not port 0.
pub fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests;
