//! Kinds of path, and over which of them members may be reached (`docs/SECURITY.md`, hiding one's address).

/// How a connection reaches its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathKind {
    /// Directly, over QUIC.
    Quic,
    /// Directly, over TCP, where UDP does not get through.
    Tcp,
    /// Over TCP through our own proxy.
    Proxied,
    /// Through a relay, which cannot read what it carries.
    Relayed,
}

/// The kinds of path that are allowed. Behind a proxy, [`Paths::tcp`] means TCP through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Direct QUIC.
    pub quic: bool,
    /// Direct TCP.
    pub tcp: bool,
    /// Circuits through relays.
    pub relay: bool,
}

impl Paths {
    /// All kinds.
    pub const ALL: Self = Self {
        quic: true,
        tcp: true,
        relay: true,
    };
    /// Relays alone: no member learns our address.
    pub const RELAYED: Self = Self {
        quic: false,
        tcp: false,
        relay: true,
    };

    /// Whether our address is hidden from members.
    pub fn is_hidden(self) -> bool {
        !self.quic && !self.tcp
    }

    /// Whether a kind of path is allowed.
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
