//! Settings with a fixed set of values: allowed paths, and whom to relay for.

use bitchat_actors::settings::{Paths, RelayMode};
use serde::{Deserialize, Serialize};

/// A kind of path between members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PathName {
    /// Directly, over QUIC (UDP).
    Quic,
    /// Directly or through the proxy, over TCP.
    Tcp,
    /// Through a relay, which cannot read the traffic.
    Relay,
}

/// Converts the setting `paths` for the transport.
pub fn paths(names: &[PathName]) -> Paths {
    Paths {
        quic: names.contains(&PathName::Quic),
        tcp: names.contains(&PathName::Tcp),
        relay: names.contains(&PathName::Relay),
    }
}

/// Whom the node relays traffic for when they cannot reach each other directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RelayFor {
    /// Nobody.
    Off,
    /// Members of this node's channels.
    #[default]
    Members,
    /// Everybody.
    Public,
}

impl From<RelayFor> for RelayMode {
    fn from(relay: RelayFor) -> Self {
        match relay {
            RelayFor::Off => Self::Off,
            RelayFor::Members => Self::Members,
            RelayFor::Public => Self::Public,
        }
    }
}
