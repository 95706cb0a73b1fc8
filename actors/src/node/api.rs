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
        /// The port that was tried.
        port: u16,
        /// The system's error.
        error: std::io::Error,
    },
}

/// What to do about an address that cannot be listened on.
fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        // A TCP connection made from that port suffices, up to a minute after its end.
        std::io::ErrorKind::AddrInUse => {
            ": another program listens on it, or has a connection from it; end that program, wait a minute, or use another port"
        }
        std::io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
        std::io::ErrorKind::PermissionDenied => {
            ": ports below 1024 are reserved for the administrator"
        }
        _ => "",
    }
}

/// Why a request to the node failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// No channel has that name or id.
    #[error(
        "no channel has the name {0:?} or an id that begins with it; `bitchat channel list` shows all channels"
    )]
    NoChannel(String),
    /// Several channels match.
    #[error("{0:?} matches several channels: give more of the id")]
    Ambiguous(String),
    /// The channel file is invalid.
    #[error(transparent)]
    File(#[from] ChannelFileError),
    /// The channel has that tracker already.
    #[error("the channel has that tracker already")]
    KnownTracker,
    /// The channel does not have that tracker.
    #[error("the channel has no tracker {0:?}; `bitchat channel info` shows its trackers")]
    NoTracker(String),
    /// Joining an invite-only channel needs an admission, which this version cannot ask for.
    #[error(
        "{0:?} is invite-only: this version can create such a channel, but not yet ask for admission"
    )]
    InviteOnly(String),
    /// The channel failed.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The chat failed.
    #[error(transparent)]
    Chat(#[from] ChatError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The DHT is off.
    #[error("the DHT is off (`--no-dht`, the setting dht, or a proxy)")]
    NoDht,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// The settings of a new channel.
#[derive(Clone, Debug)]
pub struct ChannelRequest {
    /// The channel's name.
    pub name: String,
    /// Who may join.
    pub policy: Policy,
    /// How often the rendezvous hash changes.
    pub rotation: Rotation,
    /// Tracker URLs, each in a tier of its own.
    pub trackers: Vec<String>,
    /// DHT nodes to bootstrap from, as host and port.
    pub nodes: Vec<(String, u16)>,
    /// Relays at which members meet.
    pub relays: Vec<Relay>,
}

impl ChannelRequest {
    /// An open channel whose rendezvous hash changes daily, without trackers, DHT nodes or relays of its own.
    pub fn open(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            policy: Policy::Open,
            rotation: Rotation::Daily,
            trackers: Vec::new(),
            nodes: Vec::new(),
            relays: Vec::new(),
        }
    }
}

/// A channel in a list.
#[derive(Clone, Debug)]
pub struct ChannelSummary {
    /// The channel's id.
    pub cid: ChannelId,
    /// The channel's name.
    pub name: String,
    /// Who may join.
    pub policy: Policy,
    /// Whether this node's identity owns it.
    pub owned: bool,
    /// How complete the mesh is.
    pub mesh: Mesh,
    /// The number of known members, this node's identity included.
    pub members: usize,
    /// The number of linked members, this node's identity included.
    pub online: usize,
}

/// The details of a channel.
#[derive(Clone, Debug)]
pub struct ChannelDetails {
    /// The same as in the list of channels.
    pub summary: ChannelSummary,
    /// SHA-1 of the file's info.
    pub infohash: [u8; 20],
    /// The rendezvous hashes of the current and the next period; equal if they never change.
    pub rendezvous: [RendezvousHash; 2],
    /// How often the rendezvous hash changes.
    pub rotation: Rotation,
    /// The owner's identity.
    pub owner: IdentityId,
    /// When it was created, in Unix seconds.
    pub created: u64,
    /// The state of the search for members.
    pub discovery: DiscoveryStatus,
    /// Why incoming events cannot be stored (a full disk, say), in plain language; `None` if they can.
    pub trouble: Option<String>,
}

/// The status of a node.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The node's identity.
    pub id: IdentityId,
    /// The name shown to members.
    pub name: String,
    /// This run's PeerId.
    pub peer_id: PeerId,
    /// The addresses that it listens on.
    pub listening: Vec<SocketAddr>,
    /// The proxy that everything goes through, if there is one.
    pub proxy: Option<ProxyStatus>,
    /// The kinds of path over which members may be reached.
    pub allowed: Paths,
    /// The number of open connections.
    pub connections: usize,
    /// The kind of path of each connection.
    pub paths: Vec<PathKind>,
    /// The NAT or firewall between the node and others, for IPv4 and IPv6.
    pub nat: [NatView; 2],
    /// Whether the router forwards the port.
    pub portmap: PortmapStatus,
    /// The node's addresses as peers see them, with the number of peers, the most reported first.
    pub observed: Vec<(SocketAddr, usize)>,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The BitTorrent client that trackers and the DHT take the node for.
    pub disguise: Disguise,
    /// The state of the DHT; `None` if it is off.
    pub dht: Option<DhtStatus>,
    /// The channels, sorted by name.
    pub channels: Vec<ChannelSummary>,
    /// The sources that each channel's members are looked for in.
    pub sources: HashMap<ChannelId, Vec<SourceStatus>>,
    /// Actors that kept failing, newest last.
    pub deaths: Vec<String>,
}
