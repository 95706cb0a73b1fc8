//! A socket for each address that is used. All system calls of this module are here.
//!
//! Each is bound to the multicast group itself, so that it takes no datagram from another program on this machine that
//! uses multicast DNS, and receives datagrams of its own network only.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddrV4, UdpSocket},
};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::state::PORT;
use crate::transport::network::is_local;

/// The group of multicast DNS (RFC 6762, 3).
pub(super) const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
/// Addresses that are used at most.
const MAX_SOCKETS: usize = 16;

/// An address of this machine, and its network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord)]
pub(super) struct Network {
    pub(super) ip: Ipv4Addr,
    mask: u32,
}

impl Network {
    /// Whether an address is in the network.
    pub(super) fn has(&self, ip: Ipv4Addr) -> bool {
        ip.to_bits() & self.mask == self.ip.to_bits() & self.mask
    }
}

/// The networks to use, for a node that listens on those addresses. Only loopback, private and link-local ones are
/// used: the hosts beside a machine with a public address are not neighbours. If the node listens on all addresses,
/// loopback is used only if there is nothing else, since other nodes on this machine are in its other networks, too.
pub(super) fn networks(bind: &[IpAddr]) -> io::Result<Vec<Network>> {
    let all = if_addrs::get_if_addrs()?;
    let mut found: Vec<Network> = all
        .iter()
        // Tunnels to somewhere else are not local networks.
        .filter(|interface| {
            interface.is_oper_up() && !interface.is_p2p() || interface.is_loopback()
        })
        .filter_map(|interface| match &interface.addr {
            if_addrs::IfAddr::V4(v4) => Some(Network {
                ip: v4.ip,
                mask: v4.netmask.to_bits(),
            }),
            if_addrs::IfAddr::V6(_) => None,
        })
        .filter(|network| is_local(network.ip.into()))
        .collect();
    let on_all = bind.contains(&IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    if on_all {
        if found.iter().any(|network| !network.ip.is_loopback()) {
            found.retain(|network| !network.ip.is_loopback());
        }
    } else {
        // All of 127.0.0.0/8 is this machine, and listed as one address.
        let mut listed = Vec::new();
        for ip in bind.iter().filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(*ip),
            IpAddr::V6(_) => None,
        }) {
            let of = |network: &&Network| {
                network.ip == ip || ip.is_loopback() && network.ip.is_loopback() && network.has(ip)
            };
            listed.extend(
                found
                    .iter()
                    .find(of)
                    .map(|network| Network { ip, ..*network }),
            );
        }
        found = listed;
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(MAX_SOCKETS);
    Ok(found)
}

/// Joins the group in that network, and in no other.
pub(super) fn open(network: &Network) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    #[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos"))))]
    socket.set_reuse_port(true)?;
    // Windows cannot bind to a group.
    let ip = if cfg!(windows) {
        Ipv4Addr::UNSPECIFIED
    } else {
        GROUP
    };
    socket.bind(&SockAddr::from(SocketAddrV4::new(ip, PORT)))?;
    // Otherwise it would receive from the networks of all other programs' sockets.
    #[cfg(target_os = "linux")]
    socket.set_multicast_all_v4(false)?;
    socket.join_multicast_v4(&GROUP, &network.ip)?;
    socket.set_multicast_if_v4(&network.ip)?;
    // Other nodes on this machine must receive what we send.
    socket.set_multicast_loop_v4(true)?;
    // RFC 6762 (11) asks for 255. The group's datagrams are not forwarded, whatever it is.
    socket.set_multicast_ttl_v4(255)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_node_on_loopback_uses_loopback_only() {
        let lo: IpAddr = [127, 0, 0, 1].into();
        let found = networks(&[lo]).unwrap();
        assert!(
            found.len() == 1 && found[0].ip == Ipv4Addr::LOCALHOST,
            "{found:?}"
        );
        assert!(found[0].has([127, 9, 9, 9].into()));
        assert!(!found[0].has([10, 0, 0, 1].into()));
        // Not an address of this machine, and not IPv4.
        assert_eq!(networks(&["203.0.113.7".parse().unwrap()]).unwrap(), []);
        assert_eq!(networks(&["::1".parse().unwrap()]).unwrap(), []);
    }

    #[test]
    fn public_networks_are_not_used() {
        let found = networks(&[Ipv4Addr::UNSPECIFIED.into()]).unwrap();
        assert!(
            found.iter().all(|network| is_local(network.ip.into())),
            "{found:?}"
        );
    }
}
