//! What a relay gives, and to whom.

use std::time::Duration;

/// For whom a node carries circuits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RelayMode {
    /// For nobody.
    Off,
    /// For members of its channels: only they get reservations. Who is reserved for can be reached by whoever knows
    /// its PeerId.
    #[default]
    Members,
    /// For everybody.
    Public,
}

/// How much of it. Every bound is a bound on memory or traffic that strangers cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayLimits {
    /// Reservations in all.
    pub reservations: usize,
    /// Reservations of one address (IPv4) or /64 (IPv6): many may sit behind one NAT or proxy.
    pub reservations_an_address: usize,
    /// Circuits in all.
    pub circuits: usize,
    /// Circuits of one peer, those to it and those from it together.
    pub circuits_a_peer: usize,
    /// Circuits that one address begins.
    pub circuits_an_address: usize,
    /// Bytes that one circuit may carry, both directions together; 0: as many as it likes.
    pub circuit_bytes: u64,
    /// How long a circuit may last; zero: as long as it likes.
    pub circuit_time: Duration,
    /// Bytes a second of one circuit, both directions together; 0: as many as get through.
    pub bytes_a_second: u64,
}

impl RelayLimits {
    /// For the members of one's own channels, who may send each other files and talk for a day.
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

    /// For strangers: enough to talk and to send pictures.
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

    /// The usual ones of a mode.
    pub fn of(mode: RelayMode) -> Self {
        match mode {
            RelayMode::Off | RelayMode::Members => Self::MEMBERS,
            RelayMode::Public => Self::PUBLIC,
        }
    }
}
