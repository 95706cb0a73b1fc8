//! Entry points for the fuzz targets alone (the feature `fuzz`). Each takes arbitrary bytes, and panics when an invariant
//! is broken.

use crate::{lan as local, tracker, transport};

pub use crate::channel::sim::fuzz_sync as sync;

/// Parses the response of an HTTP tracker.
pub fn tracker_reply(data: &[u8]) {
    tracker::fuzz::reply(data);
}

/// Feeds datagrams of UDP trackers, each after a byte with its length, to a node that is announcing.
pub fn tracker_udp(data: &[u8]) {
    tracker::fuzz::udp(data);
}

/// Parses a datagram of the local network.
pub fn lan(data: &[u8]) {
    local::fuzz_message(data);
}

/// Feeds a proxy's responses, after a byte with the kind of proxy.
pub fn proxy(data: &[u8]) {
    transport::fuzz_proxy(data);
}
