//! By which kinds of path members may be reached (`docs/SECURITY.md`, hiding one's address).

/// How a connection reaches its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathKind {
    /// Directly, by QUIC.
    Quic,
    /// Directly, by TCP, where UDP does not get through.
    Tcp,
    /// By TCP through our own proxy.
    Proxied,
    /// Through a relay, which carries what it cannot read.
    Relayed,
}

/// What is allowed. A proxy is a way of its own: with one, [`Paths::tcp`] means TCP through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Directly, by QUIC.
    pub quic: bool,
    /// Directly, by TCP.
    pub tcp: bool,
    /// Through relays.
    pub relay: bool,
}

impl Paths {
    /// Whatever works.
    pub const ALL: Self = Self {
        quic: true,
        tcp: true,
        relay: true,
    };
    /// Through relays alone: no member learns where we are.
    pub const RELAYED: Self = Self {
        quic: false,
        tcp: false,
        relay: true,
    };

    /// Whether members may know our address at all.
    pub fn is_hidden(self) -> bool {
        !self.quic && !self.tcp
    }

    /// Whether such a path is allowed.
    pub fn allows(self, path: PathKind) -> bool {
        match path {
            PathKind::Quic => self.quic,
            PathKind::Tcp | PathKind::Proxied => self.tcp,
            PathKind::Relayed => self.relay,
        }
    }
}

impl Default for Paths {
    fn default() -> Self {
        Self::ALL
    }
}
