//! What is kept for the next run: nodes, and our external address.
//!
//! Our ids are not kept: a new run gets new ones, valid for the address that was voted last, so that runs in different
//! places cannot be recognised as those of one node.

use std::net::{IpAddr, SocketAddr};

use bitchat_wire::bencode::{Limits, byte_string, raw_value, scan};
use futures_util::future::BoxFuture;

use super::{
    Family,
    krpc::compact::{Node, put_address, read_address, read_nodes, write_nodes},
};
use crate::store::Store;

/// Nodes of a family that are kept.
pub(super) const MOST_KEPT: usize = 200;
/// The key under which the store keeps it.
const NAME: &str = "dht";

/// What is kept for the next run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Saved {
    /// The address at which others last saw us, by family.
    pub external: [Option<IpAddr>; 2],
    /// Nodes that answered, the most useful first.
    pub nodes: Vec<Node>,
}

impl Saved {
    /// Encodes it as canonical bencode: `{"ip": compact, "ip6": compact, "nodes": compact, "nodes6": compact}`.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'd'];
        let mut put = |key: &str, value: &[u8]| {
            out.extend_from_slice(format!("{}:{key}{}:", key.len(), value.len()).as_bytes());
            out.extend_from_slice(value);
        };
        for (key, ip) in [("ip", self.external[0]), ("ip6", self.external[1])] {
            if let Some(ip) = ip {
                let mut compact = Vec::new();
                put_address(&mut compact, SocketAddr::new(ip, 0));
                put(key, &compact);
            }
        }
        put("nodes", &write_nodes(&self.nodes, Family::V4));
        put("nodes6", &write_nodes(&self.nodes, Family::V6));
        out.push(b'e');
        out
    }

    /// Decodes it; damaged parts are left empty.
    pub fn decode(bytes: &[u8]) -> Self {
        let limits = Limits {
            depth: 1,
            values: 32,
            canonical: true,
        };
        if scan(bytes, limits).is_err() {
            return Self::default();
        }
        let value = |key: &str| raw_value(bytes, key.as_bytes()).and_then(byte_string);
        let external = |key, family| {
            let address = value(key).and_then(read_address)?;
            (Family::of(address) == family).then_some(address.ip())
        };
        let nodes = |key, family| {
            let compact = value(key).unwrap_or_default();
            read_nodes(compact, family, MOST_KEPT)
        };
        let mut all = nodes("nodes", Family::V4);
        all.extend(nodes("nodes6", Family::V6));
        Self {
            external: [external("ip", Family::V4), external("ip6", Family::V6)],
            nodes: all,
        }
    }
}

/// Storage for what is kept between runs.
pub trait Keeper: Send + Sync + 'static {
    /// Loads what was saved last; empty if there is nothing or it cannot be read.
    fn load(&self) -> BoxFuture<'_, Saved>;
    /// Replaces what was saved. Failures are reported by the implementation.
    fn save(&self, saved: Saved) -> BoxFuture<'_, ()>;
}

impl Keeper for Store {
    fn load(&self) -> BoxFuture<'_, Saved> {
        Box::pin(async {
            match self.value(NAME).await {
                Ok(Some(bytes)) => Saved::decode(&bytes),
                Ok(None) => Saved::default(),
                Err(error) => {
                    tracing::warn!(%error, "cannot read the DHT nodes of the last run");
                    Saved::default()
                }
            }
        })
    }

    fn save(&self, saved: Saved) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.set_value(NAME, &saved.encode()).await {
                tracing::warn!(%error, "cannot save DHT nodes for the next run");
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::dht::Id;

    #[test]
    fn what_is_saved_is_loaded_and_damaged_parts_are_left_empty() {
        let node = |address: &str| Node {
            id: Id([7; 20]),
            address: address.parse().unwrap(),
        };
        let saved = Saved {
            external: [Some("9.9.9.9".parse().unwrap()), None],
            nodes: vec![node("8.8.8.8:1"), node("7.7.7.7:2"), node("[2a00::1]:3")],
        };
        let bytes = saved.encode();
        assert_eq!(Saved::decode(&bytes), saved);
        assert_eq!(Saved::decode(&Saved::default().encode()), Saved::default());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x55;
            let _ = Saved::decode(&damaged);
            assert_eq!(Saved::decode(&bytes[..at]), Saved::default());
        }
    }
}
