//! Addresses of peers: multiaddrs, targets, the networks they lie on, and the paths that lead there.

pub(crate) mod multiaddr;
pub mod network;
mod paths;
mod target;

pub use self::multiaddr::{from_multiaddr, is_dialable, to_multiaddr};
pub use paths::{PathKind, Paths};
pub use target::{Relay, Target};
