//! What the transport is started with, and what it tells its owner.

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

/// A fitting capacity for the channel of [`TransportEvent`]s: a burst of streams from a mesh, and little memory.
pub const EVENTS: usize = 64;

/// How the transport listens.
pub struct TransportConfig {
    /// Addresses to listen on, all on one port; the first of a family is dialled from. Empty: `0.0.0.0` and `[::]`, and
    /// one of them suffices on a host that lacks the other.
    pub bind: Vec<IpAddr>,
    /// The port of all of them; 0 lets the system choose.
    pub port: u16,
    /// Whether another port will do when `port` is taken: one that was remembered is a wish, one that the user
    /// asked for is not, and starting fails.
    pub port_is_wish: bool,
    /// Kept across restarts, so that peers notice a crash at once: what signs stateless resets and marks connection
    /// ids is derived from it.
    pub reset_key: Zeroizing<[u8; 64]>,
    /// What is announced to trackers and the DHT, so that BitTorrent clients which come for it by TCP are answered as
    /// they would be elsewhere. `None`: they are hung up on.
    pub torrents: Option<Torrents>,
    /// Go through this proxy alone: no socket is bound then, and nothing is listened to.
    pub proxy: Option<Proxy>,
    /// By which kinds of path members may be reached. Where they are to be hidden from ([`Paths::is_hidden`]), no socket is bound either,
    /// and only relays are dialled, by TCP: those of [`Transport::only_relays`].
    pub paths: Paths,
    /// Where to listen by TCP besides; each must be free.
    pub extra: Vec<SocketAddr>,
    /// The key of a PeerId that others have written down; `None`: a new one for this run.
    pub key: Option<Keypair>,
    /// How many connections others may have open here.
    pub incoming: IncomingLimits,
}

impl TransportConfig {
    /// Listens on the port at these addresses, and goes directly.
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

/// A byte stream to a peer through a relay, on which TLS is to begin.
pub struct Adoption {
    /// What carries it.
    pub io: Box<dyn Duplex>,
    /// Which end of TLS we are.
    pub side: TlsSide,
    /// Only that peer is accepted at the other end.
    pub expected: Option<PeerId>,
    /// The relay.
    pub relay: Relay,
}

/// Why a dial failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody answered in time.
    #[error("no answer")]
    TimedOut,
    /// Somebody answered, but not as a Bit Chat node (or not with acceptable TLS).
    #[error("refused: {0}")]
    Refused(String),
    /// The address leads to ourselves.
    #[error("that is ourselves")]
    Ourselves,
    /// Another peer than expected answered.
    #[error("another peer answered")]
    OtherPeer,
    /// We listen on no address of that family.
    #[error("no socket for that kind of address")]
    NoSocket,
    /// The address or the peer is barred for a while.
    #[error("barred for a while")]
    Barred,
    /// NATs or firewalls between us let nothing through, by any way that was tried.
    #[error("no direct way there")]
    NeedsRelay,
    /// The user allows no such path.
    #[error("not by the paths that are allowed")]
    Forbidden,
    /// Too many connections or dials at once.
    #[error("too many connections")]
    Busy,
    /// The transport stops.
    #[error("the transport has stopped")]
    Stopped,
}

/// What the transport tells its owner. Of one connection: `Connected`, then any of the others, then `Closed`, once,
/// whatever ended it. While the channel is full, connections wait, and with them their peers.
pub enum TransportEvent {
    /// A peer connected to us, or a dial of ours succeeded (whoever dialled may know it a moment earlier).
    Connected(Connection),
    /// A peer opened a stream other than control; its header was read.
    Stream {
        /// On which connection.
        connection: Connection,
        /// What kind.
        kind: StreamKind,
        /// The stream.
        stream: Stream,
    },
    /// A peer told us from which address it sees us.
    Observed {
        /// Who says so.
        by: PeerId,
        /// From where it says so.
        from: SocketAddr,
        /// What it sees.
        address: SocketAddr,
    },
    /// Another connection to the same peer takes over: links on this one are to move there, and this one is closed when
    /// none is left on it, after 30 s at the latest.
    Draining {
        /// Which ends.
        connection: Connection,
        /// Which stays.
        survivor: Connection,
        /// Whether we picked it, as the higher PeerId: then it is for us to make the new links. The other side waits.
        chosen_here: bool,
    },
    /// This machine is on another network than before, or back on one. All paths are probed.
    Moved,
    /// A connection ended.
    Closed {
        /// Which.
        id: ConnectionId,
        /// Whose.
        peer: PeerId,
        /// In plain words.
        reason: String,
    },
}
