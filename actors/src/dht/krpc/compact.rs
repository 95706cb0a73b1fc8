//! Compact addresses and nodes: 6 and 26 bytes for IPv4 (BEP 5), 18 and 38 for IPv6 (BEP 32).

use std::net::{IpAddr, SocketAddr};

use crate::dht::{Family, ID_LEN, Id};

/// A node: its id and address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Node {
    /// Its id.
    pub id: Id,
    /// Its address.
    pub address: SocketAddr,
}

/// Bytes of a compact address: IP and port, both in network order.
pub(crate) const fn address_len(family: Family) -> usize {
    match family {
        Family::V4 => 6,
        Family::V6 => 18,
    }
}

/// Parses one compact address of either family; `None` for any other length.
pub fn read_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

/// Appends a compact address.
pub fn put_address(out: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&address.port().to_be_bytes());
}

/// Parses up to `most` compact nodes of a family; an incomplete rest is ignored.
pub fn read_nodes(bytes: &[u8], family: Family, most: usize) -> Vec<Node> {
    bytes
        .chunks_exact(ID_LEN + address_len(family))
        .take(most)
        .filter_map(|node| {
            let (id, address) = node.split_at(ID_LEN);
            Some(Node {
                id: Id::read(id)?,
                address: read_address(address)?,
            })
        })
        .collect()
}

/// The compact form of the nodes of one family; others are left out.
pub fn write_nodes(nodes: &[Node], family: Family) -> Vec<u8> {
    let mut out = Vec::with_capacity(nodes.len() * (ID_LEN + address_len(family)));
    for node in nodes {
        if Family::of(node.address) == family {
            out.extend_from_slice(&node.id.0);
            put_address(&mut out, node.address);
        }
    }
    out
}
