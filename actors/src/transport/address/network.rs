//! Local networks, and which sources may name addresses on them.
//!
//! An address on a loopback, private or link-local network means something different to everyone who receives it, so it
//! is believed only if it comes from a source on such a network. Otherwise a public tracker or a distant member could
//! make a node dial its neighbours.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Whether an address lies on a loopback, private, shared (RFC 6598), link-local or unspecified network. IPv6 addresses
/// that contain an IPv4 address (mapped, NAT64, 6to4) count as that address.
pub fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_local_v4(ip),
        IpAddr::V6(ip) => carried_v4(ip).map_or_else(|| is_local_v6(ip), is_local_v4),
    }
}

/// Whether a peer could have this address: a single host's, with a port. Documentation networks (RFC 5737, RFC 3849)
/// are accepted, since a dial that leads nowhere harms nobody.
pub fn is_plausible(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let host = match ip {
        IpAddr::V4(v4) => v4.octets()[0] != 0 && v4.octets()[0] < 224,
        IpAddr::V6(v6) => !v6.is_multicast(),
    };
    address.port() != 0 && host && !ip.is_unspecified()
}

/// Whether to believe an address from a source that is (`local`) or is not on a local network.
pub fn is_believable(address: SocketAddr, local: bool) -> bool {
    is_plausible(address) && (local || !is_local(address.ip()))
}

/// The network that one subscriber controls: an IPv4 address, or an IPv6 /64.
pub fn subscriber(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None if v6.is_loopback() => address,
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

fn is_local_v4(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    a == 0
        || ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || (a == 100 && b & 0xc0 == 64)
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    let first = ip.segments()[0];
    // fc00::/7 (RFC 4193), fe80::/10, and fec0::/10, once meant for sites.
    ip.is_loopback() || ip.is_unspecified() || first & 0xfe00 == 0xfc00 || first & 0xff80 == 0xfe80
}

fn carried_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(v4(high, low))
        }
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tells_local_networks_from_public_ones() {
        for local in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:0a00:0001::1",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for public in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "2a00::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ] {
            assert!(!is_local(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn believes_local_addresses_of_local_sources_only() {
        let local = "127.0.0.1:7000".parse().unwrap();
        assert!(is_believable(local, true));
        assert!(!is_believable(local, false));
        assert!(is_believable("9.9.9.9:1".parse().unwrap(), false));
        for never in [
            "9.9.9.9:0",
            "0.0.0.0:1",
            "224.0.0.1:1",
            "255.255.255.255:1",
            "[ff02::1]:1",
            "[::]:1",
        ] {
            assert!(!is_believable(never.parse().unwrap(), true), "{never}");
        }
    }
}
