//! Facts about an address: its family, and the host and network that it belongs to.
//!
//! One host may own a whole IPv6 /64, so that limits count a /64 as one host; and rented servers come from one /24
//! (IPv4) or /48 (IPv6), so that limits against many identities of one owner count those.

use std::net::{IpAddr, SocketAddr};

pub(super) use crate::transport::network::{is_believable, is_local};

/// An address family. IPv4 and IPv6 are two networks, with tables and ids of their own (BEP 32, BEP 45).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both families.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of an address.
    pub fn of(address: SocketAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    /// The other family.
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// 0 for IPv4, 1 for IPv6.
    pub(super) fn index(self) -> usize {
        usize::from(self == Self::V6)
    }
}

/// The address in its own family: an IPv4 address mapped into IPv6 becomes plain IPv4.
pub(super) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// The unit that counts as one host: an IPv4 address, or an IPv6 /64. On local networks many nodes share one address,
/// so there the port counts, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Host(u64, u16);

/// The unit that counts as one network: an IPv4 /24, or an IPv6 /48. Local networks have none: no distant node is in
/// them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Network(u64);

/// The host that an address belongs to.
pub(super) fn host(address: SocketAddr) -> Host {
    let port = if is_local(address.ip()) {
        address.port()
    } else {
        0
    };
    Host(high_bits(address.ip()), port)
}

/// The network that an address belongs to; `None` for a local one.
pub(super) fn network(ip: IpAddr) -> Option<Network> {
    let bits = high_bits(ip);
    let network = match ip {
        IpAddr::V4(_) => bits >> 8,
        IpAddr::V6(_) => bits >> 16,
    };
    (!is_local(ip)).then_some(Network(network))
}

/// An IPv4 address, or the first 64 bits of an IPv6 address.
fn high_bits(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => u64::try_from(u128::from(ip) >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn hosts_and_networks() {
        assert_eq!(host(at("9.8.7.6:1")), host(at("9.8.7.6:2")));
        assert_ne!(host(at("127.0.0.1:1")), host(at("127.0.0.1:2")));
        assert_eq!(host(at("[2a00::1]:1")), host(at("[2a00::2]:1")));
        assert_ne!(host(at("[2a00:0:0:1::1]:1")), host(at("[2a00::1]:1")));
        assert_eq!(
            network(at("9.8.7.6:1").ip()),
            network(at("9.8.7.200:1").ip())
        );
        assert_ne!(network(at("9.8.7.6:1").ip()), network(at("9.8.6.6:1").ip()));
        assert_eq!(
            network(at("[2a00:0:0:1::1]:1").ip()),
            network(at("[2a00::1]:1").ip())
        );
        assert_eq!(network(at("10.0.0.1:1").ip()), None);
    }
}
