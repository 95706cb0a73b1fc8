//! Doors to what only fuzz targets may see (the feature `fuzz`). Each takes any bytes, and panics when
//! something that must hold does not.

use crate::{lan as local, tracker, transport};

pub use crate::channel::sim::fuzz_sync as sync;

/// An HTTP tracker's answer.
pub fn tracker_reply(data: &[u8]) {
    tracker::fuzz::reply(data);
}

/// Datagrams of UDP trackers, each behind a byte with its length, to a node that is announcing.
pub fn tracker_udp(data: &[u8]) {
    tracker::fuzz::udp(data);
}

/// A datagram of the local network.
pub fn lan(data: &[u8]) {
    local::fuzz_message(data);
}

/// What a proxy answers, behind a byte that says of which kind it is.
pub fn proxy(data: &[u8]) {
    transport::fuzz_proxy(data);
}
