//! What others ask of the transport, and what it tells them.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bitchat_wire::{
    link::{Binding, TlsSide},
    stream::StreamKind,
};
use libp2p_identity::PeerId;
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::kit::Scope;

/// A connection's number within this run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// How a connection reaches its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PathKind {
    /// Directly, by QUIC.
    Quic,
}

/// How the transport listens.
pub struct TransportConfig {
    /// Addresses to listen on: at most one an address family is wanted; `0.0.0.0` and `[::]` by default.
    pub bind: Vec<IpAddr>,
    /// The port of all of them; 0 lets the system choose. When `keep_port` is false a taken port is an error,
    /// else the system chooses another.
    pub port: u16,
    /// Whether another port will do when `port` is taken.
    pub keep_port: bool,
    /// Kept across restarts, so that peers notice a crash at once: signs stateless resets.
    pub reset_key: Zeroizing<[u8; 64]>,
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
    /// The transport stops.
    #[error("the transport has stopped")]
    Stopped,
}

/// What the transport tells its owner.
pub enum TransportEvent {
    /// A peer connected to us, or a dial of ours succeeded.
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

/// A handle to the transport. Cheap to clone.
#[derive(Clone)]
pub struct Transport {
    _p: (),
}

#[expect(unused_variables, reason = "skeleton")]
impl Transport {
    /// Binds the sockets and starts the actor in `scope`, with a new ephemeral PeerId.
    pub async fn start(
        config: TransportConfig,
        scope: &Scope,
        events: mpsc::Sender<TransportEvent>,
    ) -> std::io::Result<Self> {
        todo!()
    }
    /// Our PeerId of this run.
    pub fn peer_id(&self) -> PeerId {
        todo!()
    }
    /// The bound addresses.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        todo!()
    }
    /// The port of all sockets.
    pub fn port(&self) -> u16 {
        todo!()
    }
    /// Connects, or returns the connection that is there already for that address (or peer). Waits at most 10 s.
    /// Cancel-safe: a cancelled dial is given up.
    pub async fn dial(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
    ) -> Result<Connection, DialError> {
        todo!()
    }
    /// The open connections.
    pub async fn connections(&self) -> Vec<Connection> {
        todo!()
    }
    /// Bars a peer, and its address if direct, for a while (a failed handshake thrice): its connections are closed.
    pub async fn bar(&self, peer: PeerId, address: SocketAddr, time: Duration) {
        todo!()
    }
}

/// A handle to an authenticated connection. Cheap to clone; the transport's registry keeps the connection open.
#[derive(Clone)]
pub struct Connection {
    _p: (),
}

#[expect(unused_variables, reason = "skeleton")]
impl Connection {
    /// Its number.
    pub fn id(&self) -> ConnectionId {
        todo!()
    }
    /// Who is at the other end.
    pub fn peer(&self) -> PeerId {
        todo!()
    }
    /// Which end of the TLS session we are.
    pub fn side(&self) -> TlsSide {
        todo!()
    }
    /// Where the other end is.
    pub fn remote(&self) -> SocketAddr {
        todo!()
    }
    /// How it goes there.
    pub fn path(&self) -> PathKind {
        todo!()
    }
    /// The present round-trip time.
    pub fn rtt(&self) -> Duration {
        todo!()
    }
    /// `B` of the link handshake: the TLS exporter with the two PeerIds.
    pub fn binding(&self) -> Binding {
        todo!()
    }
    /// Opens a stream and writes its header.
    pub async fn open(&self, kind: StreamKind) -> std::io::Result<Stream> {
        todo!()
    }
    /// Whether it has ended.
    pub fn is_closed(&self) -> bool {
        todo!()
    }
    /// Closes it at once, with code 0 and no text.
    pub fn close(&self) {
        todo!()
    }
}

/// A bidirectional stream: its two halves go to a reader and a writer task.
pub struct Stream {
    /// What we write to. Dropping resets it; shut down finishes it.
    pub send: SendHalf,
    /// What we read from.
    pub recv: RecvHalf,
}

/// The writing half: `AsyncWrite`, plus a reset.
pub struct SendHalf {
    _p: (),
}

/// The reading half: `AsyncRead`.
pub struct RecvHalf {
    _p: (),
}

impl SendHalf {
    /// Abandons the stream in both senses: the peer reads an error, code 0.
    pub fn reset(&mut self) {
        todo!()
    }
}
