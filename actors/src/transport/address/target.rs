//! Where a peer can be dialled: an address, or a circuit through a relay; and both as multiaddrs (`docs/PROTOCOL.md`,
//! addresses).

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};

use super::{
    multiaddr::{is_dialable, to_multiaddr},
    network::{is_believable, is_plausible},
};

/// The longest binary multiaddr of a circuit that is accepted.
const MAX_LEN: usize = 128;

/// A node that carries circuits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relay {
    /// Its address, for UDP and TCP alike.
    pub address: SocketAddr,
    /// Its PeerId.
    pub peer: PeerId,
}

/// Where a peer can be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// An address, over QUIC or TCP.
    Direct(SocketAddr),
    /// A circuit through a relay.
    Circuit {
        /// The relay.
        relay: Relay,
        /// The peer at the other end of the circuit.
        peer: PeerId,
    },
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Self {
        Self::Direct(address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct(address) => write!(f, "{address}"),
            Self::Circuit { relay, peer } => {
                let end = short(*peer);
                write!(f, "{} through {}", end, relay.address)
            }
        }
    }
}

/// The last characters of a PeerId; the first are the same for all.
fn short(peer: PeerId) -> String {
    let text = peer.to_base58();
    text.chars().skip(text.len().saturating_sub(6)).collect()
}

impl Target {
    /// The address; `None` for a circuit.
    pub fn direct(&self) -> Option<SocketAddr> {
        match self {
            Self::Direct(address) => Some(*address),
            Self::Circuit { .. } => None,
        }
    }

    /// Whether this is a circuit through a relay.
    pub fn is_circuit(&self) -> bool {
        matches!(self, Self::Circuit { .. })
    }

    /// The address to connect to first: the peer's, or the relay's.
    pub fn first(&self) -> SocketAddr {
        match self {
            Self::Direct(address) => *address,
            Self::Circuit { relay, .. } => relay.address,
        }
    }

    /// The target, with IPv4 addresses mapped into IPv6 as plain IPv4.
    pub fn canonical(self) -> Self {
        let canonical = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
        match self {
            Self::Direct(address) => Self::Direct(canonical(address)),
            Self::Circuit { relay, peer } => Self::Circuit {
                relay: Relay {
                    address: canonical(relay.address),
                    ..relay
                },
                peer,
            },
        }
    }

    /// Whether a peer or relay could have that address.
    pub fn is_plausible(&self) -> bool {
        is_plausible(self.first())
    }

    /// Whether to believe it from a source that is (`local`) or is not on a local network.
    pub fn is_believable(&self, local: bool) -> bool {
        is_believable(self.first(), local)
    }

    /// The binary multiaddr: `/ip4|ip6/…/udp/…/quic-v1`, followed for a circuit by `/p2p/RELAY/p2p-circuit/p2p/PEER`.
    pub fn to_multiaddr(&self) -> Vec<u8> {
        match self {
            Self::Direct(address) => to_multiaddr(*address),
            Self::Circuit { relay, peer } => relay
                .multiaddr()
                .with(Protocol::P2pCircuit)
                .with(Protocol::P2p(*peer))
                .to_vec(),
        }
    }

    /// Reads what [`Target::to_multiaddr`] writes, also with `/tcp/…` in place of `/udp/…/quic-v1`; `None` for anything
    /// else.
    pub fn from_multiaddr(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_LEN {
            return None;
        }
        let multiaddr = Multiaddr::try_from(bytes.to_vec()).ok()?;
        // Shortest varints only.
        if multiaddr.to_vec() != bytes {
            return None;
        }
        let mut parts = multiaddr.iter();
        let address = read_address(&mut parts)?;
        let Some(next) = parts.next() else {
            // A mapped address is another spelling.
            let canonical = address.ip().to_canonical() == address.ip();
            return canonical.then_some(Self::Direct(address));
        };
        let (Protocol::P2p(relay_peer), Protocol::P2pCircuit, Protocol::P2p(peer), None) =
            (next, parts.next()?, parts.next()?, parts.next())
        else {
            return None;
        };
        let relay = Relay {
            address,
            peer: relay_peer,
        };
        (relay_peer != peer).then_some(Self::Circuit { relay, peer })
    }
}

impl Relay {
    fn multiaddr(&self) -> Multiaddr {
        Multiaddr::empty()
            .with(self.address.ip().to_canonical().into())
            .with(Protocol::Udp(self.address.port()))
            .with(Protocol::QuicV1)
            .with(Protocol::P2p(self.peer))
    }
}

/// The multiaddr as text, as in channel files.
impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.multiaddr(), f)
    }
}

/// The text is not a relay's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a relay is written as /ip4/192.0.2.1/udp/443/quic-v1/p2p/12D3Koo…, or with /tcp/443 instead"
)]
pub struct RelayError;

impl FromStr for Relay {
    type Err = RelayError;

    fn from_str(text: &str) -> Result<Self, RelayError> {
        let read = || {
            let multiaddr: Multiaddr = text.parse().ok()?;
            let mut parts = multiaddr.iter();
            let address = read_address(&mut parts)?;
            match (parts.next()?, parts.next()) {
                (Protocol::P2p(peer), None) => Some(Self { address, peer }),
                _ => None,
            }
        };
        read().ok_or(RelayError)
    }
}

fn read_address<'a>(parts: &mut impl Iterator<Item = Protocol<'a>>) -> Option<SocketAddr> {
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => IpAddr::V4(ip),
        Protocol::Ip6(ip) => IpAddr::V6(ip),
        _ => return None,
    };
    let port = match parts.next()? {
        Protocol::Tcp(port) => port,
        Protocol::Udp(port) => match parts.next()? {
            Protocol::QuicV1 => port,
            _ => return None,
        },
        _ => return None,
    };
    let address = SocketAddr::new(ip, port);
    is_dialable(address).then_some(address)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        text.parse::<Multiaddr>().unwrap().to_vec()
    }

    #[test]
    fn targets_are_multiaddrs() {
        let (relay, peer) = (PeerId::random(), PeerId::random());
        for address in ["192.0.2.7:4001", "[2001:db8::1]:443"] {
            let address = address.parse().unwrap();
            let relay = Relay {
                address,
                peer: relay,
            };
            for target in [Target::Direct(address), Target::Circuit { relay, peer }] {
                let bytes = target.to_multiaddr();
                assert!(bytes.len() <= MAX_LEN);
                assert_eq!(Target::from_multiaddr(&bytes), Some(target));
            }
            assert_eq!(relay.to_string().parse(), Ok(relay));
        }
        let tcp = format!("/ip4/192.0.2.7/tcp/443/p2p/{relay}");
        let read: Relay = tcp.parse().unwrap();
        assert_eq!(read.address, "192.0.2.7:443".parse().unwrap());
        let tcp = format!("{tcp}/p2p-circuit/p2p/{peer}");
        let circuit = Target::Circuit { relay: read, peer };
        assert_eq!(Target::from_multiaddr(&bytes(&tcp)), Some(circuit));
    }

    #[test]
    fn others_are_refused() {
        let (relay, peer) = (PeerId::random(), PeerId::random());
        let base = format!("/ip4/192.0.2.7/udp/1/quic-v1/p2p/{relay}");
        for text in [
            base.clone(),
            format!("{base}/p2p-circuit"),
            format!("{base}/p2p-circuit/p2p/{relay}"),
            format!("{base}/p2p-circuit/p2p/{peer}/p2p-circuit/p2p/{peer}"),
            format!("/ip4/192.0.2.7/udp/1/p2p/{relay}/p2p-circuit/p2p/{peer}"),
            format!("/ip4/0.0.0.0/tcp/1/p2p/{relay}/p2p-circuit/p2p/{peer}"),
            format!("/dns4/x/tcp/1/p2p/{relay}/p2p-circuit/p2p/{peer}"),
            "/ip6/::ffff:192.0.2.7/udp/1/quic-v1".to_owned(),
            "/ip4/192.0.2.7".to_owned(),
        ] {
            assert_eq!(Target::from_multiaddr(&bytes(&text)), None, "{text}");
        }
        assert_eq!(Target::from_multiaddr(&[]), None);
        assert_eq!(Target::from_multiaddr(&[4; 200]), None);
        for text in ["", "192.0.2.7:443", "/ip4/192.0.2.7/tcp/443"] {
            assert!(text.parse::<Relay>().is_err());
        }
    }
}
