//! The node as programs use it: `Node::builder(..).start()`, then methods on the handle.

use std::{net::IpAddr, net::SocketAddr, path::PathBuf};

use bitchat_wire::{
    channel::{ChannelFile, ChannelFileError, ChannelId, Policy, RendezvousHash},
    event::EventId,
    identity::{IdentityId, IdentityKey},
};
use libp2p_identity::PeerId;
use tokio::sync::broadcast;

pub use crate::channel::ChannelEvent as NodeEvent;
use crate::{
    channel::{ChannelError, EventView, MemberView, Mesh},
    discovery::DiscoveryStatus,
    kit::{Death, Metrics},
    store::{PageQuery, StoreError},
};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The port cannot be used.
    #[error("cannot listen on port {port}: {error}")]
    Listen {
        /// Which.
        port: u16,
        /// Why.
        error: std::io::Error,
    },
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
    /// Joining an invite-only channel needs an admission, which this version cannot ask for.
    #[error(
        "{0:?} is invite-only: this version can create such a channel, but not yet ask to be let in"
    )]
    InviteOnly(String),
    /// The channel refused.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
}

/// What a node is made of. Defaults need no setting.
pub struct NodeBuilder {
    /// The database; made when missing.
    pub database: PathBuf,
    /// Who we are.
    pub identity: IdentityKey,
    /// The name that we sign in each channel; at most 64 bytes.
    pub name: String,
    /// Addresses to listen on; empty: all of IPv4 and IPv6.
    pub bind: Vec<IpAddr>,
    /// The UDP port; `None`: the one of the last run if free, else any.
    pub port: Option<u16>,
    /// The announced client's name and version, shown to members for diagnosis.
    pub agent: String,
}

/// A new channel, as a user asks for it.
#[derive(Clone, Debug)]
pub struct ChannelRequest {
    /// Its name.
    pub name: String,
    /// Who may link.
    pub policy: Policy,
    /// Tracker URLs; each a tier of its own.
    pub trackers: Vec<String>,
    /// DHT bootstrap nodes.
    pub nodes: Vec<(String, u16)>,
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
    /// The hashes of the present and the next period.
    pub rendezvous: [RendezvousHash; 2],
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
    /// Open connections.
    pub connections: usize,
    /// Our address as others see it, by how many of them.
    pub observed: Vec<(SocketAddr, usize)>,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// The channels.
    pub channels: Vec<ChannelSummary>,
    /// Actors that kept dying, newest last.
    pub deaths: Vec<String>,
}

/// A running node. Cheap to clone; [`Node::stop`] ends it for all clones.
#[derive(Clone)]
pub struct Node {
    _p: (),
}

#[expect(unused_variables, reason = "skeleton")]
impl NodeBuilder {
    /// Embedded defaults for a database and an identity.
    pub fn new(database: PathBuf, identity: IdentityKey) -> Self {
        todo!()
    }
    /// Starts the node.
    pub async fn start(self) -> Result<Node, StartError> {
        todo!()
    }
}

#[expect(unused_variables, reason = "skeleton")]
impl Node {
    /// Who we are.
    pub fn id(&self) -> IdentityId {
        todo!()
    }
    /// The UDP port.
    pub fn port(&self) -> u16 {
        todo!()
    }
    /// The metrics of this node.
    pub fn metrics(&self) -> &Metrics {
        todo!()
    }
    /// The node in a few figures.
    pub async fn status(&self) -> NodeStatus {
        todo!()
    }
    /// Finds a channel by its name or a prefix of its id.
    pub async fn find(&self, name_or_prefix: &str) -> Result<ChannelId, NodeError> {
        todo!()
    }
    /// Makes a channel and joins it.
    pub async fn create_channel(&self, request: ChannelRequest) -> Result<ChannelFile, NodeError> {
        todo!()
    }
    /// Joins a channel; joining again changes nothing but takes over the file's hints.
    pub async fn join(&self, file: ChannelFile) -> Result<ChannelId, NodeError> {
        todo!()
    }
    /// Tells the members, forgets the channel and all that was said in it.
    pub async fn leave(&self, cid: ChannelId) -> Result<(), NodeError> {
        todo!()
    }
    /// The channels, by name.
    pub async fn channels(&self) -> Result<Vec<ChannelSummary>, NodeError> {
        todo!()
    }
    /// All about one.
    pub async fn channel(&self, cid: ChannelId) -> Result<ChannelDetails, NodeError> {
        todo!()
    }
    /// Its file, to be given to others.
    pub async fn file(&self, cid: ChannelId) -> Result<ChannelFile, NodeError> {
        todo!()
    }
    /// Tries an address told by hand, and keeps trying it as discovery does.
    pub async fn connect(&self, cid: ChannelId, address: SocketAddr) -> Result<(), NodeError> {
        todo!()
    }
    /// Says a line. Returns once it is on our disk. With a `key`, saying it again returns the first one's id.
    pub async fn send(
        &self,
        cid: ChannelId,
        text: String,
        key: Option<String>,
    ) -> Result<EventId, NodeError> {
        todo!()
    }
    /// A page of the log, oldest first.
    pub async fn log(&self, cid: ChannelId, query: PageQuery) -> Result<Vec<EventView>, NodeError> {
        todo!()
    }
    /// What arrived after `position`, in the order of arrival, at most `limit`; of one channel or of all.
    pub async fn since(
        &self,
        cid: Option<ChannelId>,
        position: u64,
        limit: usize,
    ) -> Result<Vec<EventView>, NodeError> {
        todo!()
    }
    /// The newest position.
    pub async fn last_position(&self) -> Result<u64, NodeError> {
        todo!()
    }
    /// The members, oneself first.
    pub async fn members(&self, cid: ChannelId) -> Result<Vec<MemberView>, NodeError> {
        todo!()
    }
    /// What happens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<NodeEvent> {
        todo!()
    }
    /// Reports of actors that keep dying, from now on.
    pub fn deaths(&self) -> Vec<Death> {
        todo!()
    }
    /// Stops in order: channels say goodbye, trackers are told, connections close, the store last. Under 3 s.
    pub async fn stop(&self) {
        todo!()
    }
}
