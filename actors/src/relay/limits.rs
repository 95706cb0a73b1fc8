//! For whom a relay works, and how much.

use std::time::Duration;

/// For whom a node carries circuits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayMode {
    /// For nobody.
    Off,
    /// For members of its channels: only they get reservations. A peer that holds one can be reached by anybody who knows
    /// its PeerId.
    #[default]
    Members,
    /// For everybody: a public relay.
    Public,
}

/// How much a relay serves. Each limit bounds memory or traffic that strangers cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Reservations in all.
    pub reservations: usize,
    /// Reservations per IPv4 address or IPv6 /64. Many clients may be behind one NAT or proxy.
    pub reservations_an_address: usize,
    /// Circuits in all.
    pub circuits: usize,
    /// Circuits per peer, those to it and those from it combined.
    pub circuits_a_peer: usize,
    /// Circuits begun per IPv4 address or IPv6 /64.
    pub circuits_an_address: usize,
    /// Bytes per circuit, both directions combined; 0 means unlimited.
    pub circuit_bytes: u64,
    /// How long a circuit may last; zero means unlimited.
    pub circuit_time: Duration,
    /// Bandwidth limit per circuit in bytes/s, both directions combined; 0 means unlimited.
    pub bytes_a_second: u64,
}

impl RelayLimits {
    /// For members of the node's own channels: enough for files and a day's conversation.
    pub const MEMBERS: Self = Self {
        reservations: 128,
        reservations_an_address: 32,
        circuits: 128,
        circuits_a_peer: 32,
        circuits_an_address: 64,
        circuit_bytes: 64 << 30,
        circuit_time: Duration::from_secs(24 * 3_600),
        bytes_a_second: 16 << 20,
    };

    /// For strangers: enough for conversation and pictures.
    pub const PUBLIC: Self = Self {
        reservations: 512,
        reservations_an_address: 32,
        circuits: 512,
        circuits_a_peer: 32,
        circuits_an_address: 32,
        circuit_bytes: 1 << 30,
        circuit_time: Duration::from_secs(6 * 3_600),
        bytes_a_second: 2 << 20,
    };

    /// The usual limits of a mode.
    pub fn of(mode: RelayMode) -> Self {
        match mode {
            RelayMode::Off | RelayMode::Members => Self::MEMBERS,
            RelayMode::Public => Self::PUBLIC,
        }
    }
}
