//! The types in which the handle [`Node`](super::Node) takes requests and answers them.

use std::{collections::HashMap, net::SocketAddr};

use bitchat_wire::{
    channel::{ChannelFileError, ChannelId, Policy, RendezvousHash, Rotation},
    identity::IdentityId,
};
use libp2p_identity::PeerId;

pub use crate::channel::ChannelEvent as NodeEvent;
use crate::{
    channel::ChannelError,
    chat::{ChatError, Mesh},
    dht::DhtStatus,
    discovery::{DiscoveryStatus, SourceStatus},
    disguise::Disguise,
    portmap::PortmapStatus,
    store::StoreError,
    transport::{NatView, PathKind, Paths, ProxyStatus, Relay},
};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port cannot be used.
    #[error("cannot listen on port {port}: {error}{}", hint(error))]
    Listen {
        /// Which.
        port: u16,
        /// Why.
        error: std::io::Error,
    },
}

/// What to do about an address that cannot be listened on.
fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        // Of TCP, a connection that some program has made from there suffices, for a minute after its end too.
        std::io::ErrorKind::AddrInUse => {
            ": another program listens there, or has a connection from there; end it, wait a minute, or use another port"
        }
        std::io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        std::io::ErrorKind::PermissionDenied => ": ports below 1024 are the administrator's",
        _ => "",
    }
}

/// Why the node did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No channel of that name or id.
    #[error(
        "no channel is called {0:?}, and no channel's id begins so; `bitchat channel list` shows them"
    )]
    NoChannel(String),
    /// Several channels fit.
    #[error("{0:?} fits several channels: use more of the id")]
    Ambiguous(String),
    /// The channel file is at fault.
    #[error(transparent)]
    File(#[from] ChannelFileError),
    /// A tracker that the channel has.
    #[error("the channel has that tracker already")]
    KnownTracker,
    /// A tracker that the channel has not.
    #[error("the channel has no tracker {0:?}; `bitchat channel info` shows those that it has")]
    NoTracker(String),
    /// Joining an invite-only channel needs an admission, which this version cannot ask for.
    #[error(
        "{0:?} is invite-only: this version can create such a channel, but not yet ask to be let in"
    )]
    InviteOnly(String),
    /// The channel refused.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The chat refused.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The DHT is off.
    #[error("the DHT is off (`--no-dht`, the setting dht, or a proxy)")]
    NoDht,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

/// A new channel, as a user asks for it.
#[derive(Clone, Debug)]
pub struct ChannelRequest {
    /// Its name.
    pub name: String,
    /// Who may link.
    pub policy: Policy,
    /// How often its rendezvous hash changes.
    pub rotation: Rotation,
    /// Tracker URLs; each a tier of its own.
    pub trackers: Vec<String>,
    /// DHT bootstrap nodes.
    pub nodes: Vec<(String, u16)>,
    /// Relays at which members meet.
    pub relays: Vec<Relay>,
}

/// A channel in a list.
#[derive(Clone, Debug)]
pub struct ChannelSummary {
    /// Its id.
    pub cid: ChannelId,
    /// Its name.
    pub name: String,
    /// Who may link.
    pub policy: Policy,
    /// Whether we made it.
    pub owned: bool,
    /// How much of the mesh is there.
    pub mesh: Mesh,
    /// Known members, oneself included.
    pub members: usize,
    /// Linked ones, oneself included.
    pub online: usize,
}

/// All about a channel.
#[derive(Clone, Debug)]
pub struct ChannelDetails {
    /// As in the list.
    pub summary: ChannelSummary,
    /// SHA-1 of the file's info.
    pub infohash: [u8; 20],
    /// The hashes of the present and the next period; the same one if it never changes.
    pub rendezvous: [RendezvousHash; 2],
    /// How often it changes.
    pub rotation: Rotation,
    /// The owner.
    pub owner: IdentityId,
    /// Unix seconds.
    pub created: u64,
    /// The state of the sources of addresses.
    pub discovery: DiscoveryStatus,
    /// The store refuses to keep what arrives (the disk is full, say); in plain words.
    pub trouble: Option<String>,
}

/// The node in a few figures.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// Who we are.
    pub id: IdentityId,
    /// Our name.
    pub name: String,
    /// This run's PeerId.
    pub peer_id: PeerId,
    /// Where we listen.
    pub listening: Vec<SocketAddr>,
    /// The proxy through which everything goes; `None`: there is none.
    pub proxy: Option<ProxyStatus>,
    /// By which kinds of path members may be reached.
    pub allowed: Paths,
    /// Open connections.
    pub connections: usize,
    /// The way of each.
    pub paths: Vec<PathKind>,
    /// What stands between us and others, of IPv4 and IPv6.
    pub nat: [NatView; 2],
    /// Whether the router lets others in.
    pub portmap: PortmapStatus,
    /// Our address as others see it, by how many of them.
    pub observed: Vec<(SocketAddr, usize)>,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Whose BitTorrent client trackers and the DHT see.
    pub disguise: Disguise,
    /// The DHT; `None`: it is off.
    pub dht: Option<DhtStatus>,
    /// The channels.
    pub channels: Vec<ChannelSummary>,
    /// How the members of each are looked for.
    pub sources: HashMap<ChannelId, Vec<SourceStatus>>,
    /// Actors that kept dying, newest last.
    pub deaths: Vec<String>,
}
