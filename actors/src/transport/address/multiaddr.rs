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

/// Reads exactly what [`to_multiaddr`] writes: nothing before, between or after, shortest varints, and an
/// address that one host can be reached at ([`is_dialable`]).
pub fn from_multiaddr(bytes: &[u8]) -> Option<SocketAddr> {
    let (address, path) = from_observed(bytes)?;
    (path == PathKind::Quic).then_some(address)
}

/// The binary multiaddr of the address that a peer is seen at: of QUIC as above, of TCP `/ip4|ip6/…/tcp/…`.
pub(crate) fn observed(address: SocketAddr, path: PathKind) -> Vec<u8> {
    match path {
        PathKind::Quic => to_multiaddr(address),
        _ => Multiaddr::empty()
            .with(address.ip().to_canonical().into())
            .with(Protocol::Tcp(address.port()))
            .to_vec(),
    }
}

/// Reads exactly what [`observed`] writes.
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
    // The round trip refuses every second spelling, mapped IPv4 included, and whatever is missing or comes behind.
    (is_dialable(address) && observed(address, path) == bytes).then_some((address, path))
}

/// An IPv4 address mapped into IPv6 as what it is.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether an address names one host and a port: not unspecified, multicast, broadcast, or port 0.
pub fn is_dialable(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    address.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        text.parse::<Multiaddr>().unwrap().to_vec()
    }

    #[test]
    fn the_bytes_are_those_of_the_multiaddr_text() {
        let v4 = "192.0.2.7:4001".parse().unwrap();
        assert_eq!(to_multiaddr(v4), bytes("/ip4/192.0.2.7/udp/4001/quic-v1"));
        let v6 = "[2001:db8::1]:65535".parse().unwrap();
        assert_eq!(
            to_multiaddr(v6),
            bytes("/ip6/2001:db8::1/udp/65535/quic-v1")
        );
        let mapped = "[::ffff:192.0.2.7]:4001".parse().unwrap();
        assert_eq!(to_multiaddr(mapped), to_multiaddr(v4));
    }

    #[test]
    fn observed_addresses_tell_their_path() {
        for text in ["192.0.2.7:4001", "[2001:db8::1]:9"] {
            for path in [PathKind::Quic, PathKind::Tcp] {
                let address = text.parse().unwrap();
                let bytes = observed(address, path);
                assert_eq!(from_observed(&bytes), Some((address, path)));
            }
        }
        assert_eq!(
            observed("192.0.2.7:4001".parse().unwrap(), PathKind::Tcp),
            bytes("/ip4/192.0.2.7/tcp/4001")
        );
        for text in [
            "/ip4/192.0.2.7/tcp/4001/ws",
            "/ip4/0.0.0.0/tcp/1",
            "/tcp/4001",
        ] {
            assert_eq!(from_observed(&bytes(text)), None);
        }
        assert_eq!(from_observed(&[]), None);
    }

    #[test]
    fn other_multiaddrs_are_refused() {
        for text in [
            "/ip4/192.0.2.7",
            "/ip4/192.0.2.7/udp/4001",
            "/ip4/192.0.2.7/udp/4001/quic",
            "/ip4/192.0.2.7/tcp/4001",
            "/ip4/192.0.2.7/udp/4001/quic-v1/p2p-circuit",
            "/ip4/192.0.2.7/udp/0/quic-v1",
            "/ip4/0.0.0.0/udp/4001/quic-v1",
            "/ip4/255.255.255.255/udp/4001/quic-v1",
            "/ip4/224.0.0.1/udp/4001/quic-v1",
            "/ip6/::/udp/4001/quic-v1",
            "/ip6/ff02::1/udp/4001/quic-v1",
            "/ip6/::ffff:192.0.2.7/udp/4001/quic-v1",
            "/dns4/example.org/udp/4001/quic-v1",
        ] {
            assert_eq!(from_multiaddr(&bytes(text)), None, "{text}");
        }
        assert_eq!(from_multiaddr(&[]), None);
        assert_eq!(from_multiaddr(&[4; 4_096]), None);
    }

    proptest! {
        #[test]
        fn every_dialable_address_survives(ip: IpAddr, port: u16, scope: u32) {
            let address = SocketAddr::new(ip.to_canonical(), port);
            let read = from_multiaddr(&to_multiaddr(address));
            prop_assert_eq!(read, is_dialable(address).then_some(address));
            let _ = scope;
        }

        #[test]
        fn no_bytes_panic_and_what_is_read_is_written_back(junk in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(address) = from_multiaddr(&junk) {
                prop_assert_eq!(to_multiaddr(address), junk);
            }
        }

        #[test]
        fn a_flipped_byte_never_reads_as_a_second_spelling(ip: IpAddr, port: u16, at in 0_usize..32, by in 1_u8..) {
            let mut damaged = to_multiaddr(SocketAddr::new(ip, port));
            let at = at % damaged.len();
            damaged[at] ^= by;
            if let Some(address) = from_multiaddr(&damaged) {
                prop_assert_eq!(to_multiaddr(address), damaged);
            }
        }
    }
}
