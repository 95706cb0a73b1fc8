//! The transport's configuration, its errors, and the events it sends to its owner.

use std::net::{IpAddr, SocketAddr};

use bitchat_wire::{link::TlsSide, stream::StreamKind};
use libp2p_identity::{Keypair, PeerId};
use zeroize::Zeroizing;

use super::{
    address::{Paths, Relay},
    admission::IncomingLimits,
    connection::{Connection, ConnectionId, Duplex, Stream},
    proxy::Proxy,
};
use crate::disguise::Torrents;

/// A suitable capacity for the channel of [`TransportEvent`]s: room for a burst of streams from a mesh, at little
/// memory.
pub const EVENTS: usize = 64;

/// Configuration of a transport.
pub struct TransportConfig {
    /// Addresses to listen on, all on one port; dials leave from the first of each family. Empty means `0.0.0.0` and
    /// `[::]`, of which one suffices on a host that lacks the other.
    pub bind: Vec<IpAddr>,
    /// The port of all addresses; 0 lets the system choose.
    pub port: u16,
    /// Whether another port will do if `port` is taken. True for a port remembered from an earlier run; false for one
    /// that the user asked for, in which case starting fails.
    pub port_is_wish: bool,
    /// A key kept across restarts, so that peers notice a crash at once: the keys of stateless resets and connection
    /// ids are derived from it.
    pub reset_key: Zeroizing<[u8; 64]>,
    /// The torrents that we announce to trackers and the DHT, so that BitTorrent clients which connect over TCP get the
    /// answer they would get from any client. `None` closes their connections.
    pub torrents: Option<Torrents>,
    /// The only way out, if set: no socket is bound then, and nothing listens.
    pub proxy: Option<Proxy>,
    /// The kinds of path over which members may be reached. If our address is hidden from them ([`Paths::is_hidden`]),
    /// no socket is bound either, and only the relays of
    /// `Transport::only_relays` are dialled, over TCP.
    pub paths: Paths,
    /// Further addresses to listen on for TCP; starting fails if one is taken.
    pub extra: Vec<SocketAddr>,
    /// The key of a PeerId that other people have written down; `None` generates a new one for this run.
    pub key: Option<Keypair>,
    /// Limits on connections that other nodes open to us.
    pub incoming: IncomingLimits,
}

impl TransportConfig {
    /// A configuration that listens on `port` at these addresses and dials directly.
    pub fn new(bind: Vec<IpAddr>, port: u16, reset_key: Zeroizing<[u8; 64]>) -> Self {
        Self {
            bind,
            port,
            port_is_wish: false,
            reset_key,
            torrents: None,
            proxy: None,
            paths: Paths::ALL,
            extra: Vec::new(),
            key: None,
            incoming: IncomingLimits::default(),
        }
    }
}

/// A byte stream to a peer through a relay, over which a TLS handshake is to run.
pub struct Adoption {
    /// The byte stream.
    pub io: Box<dyn Duplex>,
    /// Our side of the TLS session.
    pub side: TlsSide,
    /// The only peer that is accepted; `None` accepts any.
    pub expected: Option<PeerId>,
    /// The relay that carries the stream.
    pub relay: Relay,
}

/// Why a dial failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// No answer came in time.
    #[error("no answer")]
    TimedOut,
    /// The other end is not a Bit Chat node, or its TLS is not acceptable.
    #[error("refused: {0}")]
    Refused(String),
    /// The address is our own.
    #[error("that is ourselves")]
    Ourselves,
    /// A peer other than the expected one answered.
    #[error("another peer answered")]
    OtherPeer,
    /// We have no socket for addresses of that family.
    #[error("no socket for that address family")]
    NoSocket,
    /// The address or the peer is barred for a while.
    #[error("barred for a while")]
    Barred,
    /// Every direct path was tried, and none gets through the NATs or firewalls in between.
    #[error("no direct path to the peer")]
    NeedsRelay,
    /// The user's settings allow no such path.
    #[error("the settings allow no such path")]
    Forbidden,
    /// Too many connections, or too many dials in progress.
    #[error("too many connections")]
    Busy,
    /// The transport has stopped.
    #[error("the transport has stopped")]
    Stopped,
}

/// An event from the transport to its owner. Each connection yields `Connected`, then any of the others, then exactly
/// one `Closed`, however it ends. While the channel is full, connections wait, and so do their peers.
pub enum TransportEvent {
    /// A peer connected to us, or a dial of ours succeeded. The caller of the dial may get the connection slightly
    /// earlier.
    Connected(Connection),
    /// A peer opened a stream other than a control stream; its header has been read.
    Stream {
        /// The connection that the stream belongs to.
        connection: Connection,
        /// The stream's kind, from its header.
        kind: StreamKind,
        /// The stream, past its header.
        stream: Stream,
    },
    /// A peer reported the address from which it sees us.
    Observed {
        /// The peer that reports.
        by: PeerId,
        /// The peer's own address.
        from: SocketAddr,
        /// Our address as it sees it.
        address: SocketAddr,
    },
    /// Another connection to the same peer takes over: links on this one are to move there. This one is closed once no
    /// link is left on it, at most 30 s later.
    Draining {
        /// The connection that ends.
        connection: Connection,
        /// The connection that stays.
        survivor: Connection,
        /// Whether we picked the survivor, as the higher PeerId. If so, it is we who make the new links; otherwise we
        /// wait for the peer's.
        chosen_here: bool,
    },
    /// This machine has changed networks, or is back on one. All paths are probed.
    Moved,
    /// A connection ended.
    Closed {
        /// The connection.
        id: ConnectionId,
        /// Its peer.
        peer: PeerId,
        /// Why it ended, as text for people.
        reason: String,
    },
}
