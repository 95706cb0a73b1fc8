//! Bit Chat's node as a library: a serverless messenger to embed in a program.
//!
//! A [`Node`] has an identity and a database, and joins channels. A channel's [`Chat`] sends messages, and [follows](Follow)
//! what its members send; what was acknowledged is on the disk.
//!
//! ```
//! use bitchat_actors::{EventKind, Node, Position, node::ChannelRequest, wire::identity::IdentityKey};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let home = home.path();
//! // A program keeps the key's seed: it is the person, or the bot.
//! let identity = IdentityKey::generate(&mut rand::rng());
//! let node = Node::builder(home.join("echo.db"), identity)
//!     .name("Echo")
//!     .bind([[127, 0, 0, 1].into()])
//!     .start()
//!     .await?;
//! // Its file lets others join: `node.join(ChannelFile::parse(&bytes)?)`.
//! let file = node.create_channel(ChannelRequest::open("echoes")).await?;
//! let chat = node.chat(file.id())?;
//! let mut events = chat.follow(Position::Now).await?;
//! # chat.send("Hello").await?;
//! # let mut answered = false;
//! while let Some(event) = events.next().await? {
//! #   if answered { break }
//!     if let EventKind::Text(text) = event.kind {
//!         // With the event's id as the idempotency key, no message is answered twice.
//!         chat.reply(event.id, format!("echo: {text}")).key(event.id).await?;
//! #       answered = true;
//!     }
//! }
//! node.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! [`chat`] has all of a conversation, [`node`] what concerns a node and its channels, [`settings`] the values of a
//! [`Builder`], and [`status`] what a node reports of itself. Keys, channel files and ids are those of [`wire`]. The folder
//! `examples` has an echo bot, a log and a bridge between two channels.
//!
//! Nothing here is process-wide: no crypto provider, signal handler, standard output or subscriber is installed, so a
//! program may run many nodes. Inside, each folder is an actor or a family of them (`docs/ARCHITECTURE.md`).

pub use bitchat_wire as wire;

mod channel;
pub mod chat;
mod dht;
mod discovery;
mod disguise;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod kit;
mod lan;
mod link;
mod migrations;
pub mod node;
mod portmap;
mod public_relays;
mod relay;
mod store;
mod tracker;
mod transport;

// Of the tests across processes, on which this crate cannot depend.
#[cfg(test)]
#[path = "../../tests/src/skip.rs"]
#[allow(dead_code, unreachable_pub, clippy::print_stdout)]
mod skip;

pub use channel::ChannelError;
pub use chat::{Chat, ChatError, EventKind, EventView as Event, Follow, PageQuery, Position};
pub use node::{Builder, Node, NodeError as Error, StartError};
pub use store::StoreError;

/// The values of a node's and a relay's settings.
pub mod settings {
    pub use crate::{
        disguise::{Disguise, UnknownDisguise},
        relay::{RelayLimits, RelayMode},
        transport::{Paths, Proxy, ProxyError, Relay},
    };
}

/// What a node reports of itself, its channels and its search for members.
pub mod status {
    pub use crate::{
        channel::PathView,
        dht::{DhtState, DhtStatus, FamilyStatus, LookupResult, Traffic, WatchStatus},
        discovery::{DhtChannelStatus, DiscoveryStatus, SourceKind, SourceState, SourceStatus},
        kit::{Death, Metrics},
        portmap::{Mapping, PortmapStatus, Protocol},
        tracker::{TrackerState, TrackerStatus},
        transport::{NatKind, NatView, PathKind, ProxyStatus},
    };
}

/// The actors below the node, for this project's own program, benches and tests of single actors. Not for other programs:
/// anything in here may change with any version.
#[doc(hidden)]
pub mod internals {
    pub use crate::node::indexes::INDEXES;

    /// One conversation's logs, members and links.
    pub mod channel {
        pub use crate::channel::*;
    }
    /// The mainline DHT.
    pub mod dht {
        pub use crate::dht::*;
    }
    /// The search for members.
    pub mod discovery {
        pub use crate::discovery::*;
    }
    /// The BitTorrent clients that a node imitates.
    pub mod disguise {
        pub use crate::disguise::*;
    }
    /// Mailboxes and supervision.
    pub mod kit {
        pub use crate::kit::*;
    }
    /// The search in the local network.
    pub mod lan {
        pub use crate::lan::*;
    }
    /// Links.
    pub mod link {
        pub use crate::link::*;
    }
    /// Relays.
    pub mod relay {
        pub use crate::relay::*;
    }
    /// The database.
    pub mod store {
        pub use crate::store::*;
    }
    /// Trackers.
    pub mod tracker {
        pub use crate::tracker::*;
    }
    /// Connections.
    pub mod transport {
        pub use crate::transport::*;
    }
}
