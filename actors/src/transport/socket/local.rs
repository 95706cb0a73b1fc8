//! The local address that a route uses.

use std::net::{IpAddr, SocketAddr, UdpSocket};

/// The address from which packets to `target` would leave, by the system's present routes; `None` without a route.
/// Nothing is sent.
pub(crate) fn source_for(target: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if target.is_ipv4() {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn loopback_is_reached_from_loopback() {
        let target = "127.0.0.1:9".parse().unwrap();
        assert_eq!(source_for(target), Some("127.0.0.1".parse().unwrap()));
    }
}
