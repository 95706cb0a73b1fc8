//! KRPC: the bencoded messages of the mainline DHT (BEP 5, with 32, 42 and 43).
//!
//! [`Message::parse`] bounds size, depth and number of values before it looks at anything, allows what real
//! nodes send (keys in any order, unknown keys, transaction ids of any length up to 64 bytes) and keeps only what
//! this node uses. [`Message::encode`] writes canonical bencode, byte for byte the same for the same message.

pub mod compact;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::net::SocketAddr;

pub use compact::Node;
pub use read::ParseError;
pub(crate) use read::looks_like_query;

use super::Id;

/// The longest message that is read. What others send is meant to fit in one datagram without fragments.
pub const MAX_MESSAGE: usize = 2_048;
/// The longest transaction id of others that is answered.
pub const MAX_TRANSACTION: usize = 64;
/// The longest write token that is kept.
pub const MAX_TOKEN: usize = 64;
/// Nodes of a family that are read from one response; the specification says 8.
pub const MAX_NODES: usize = 16;
/// Peers that are read from one response.
pub const MAX_VALUES: usize = 100;

/// Code of an error: a malformed message, bad arguments, a bad token.
pub const PROTOCOL_ERROR: i64 = 203;
/// Code of an error: the method is not known.
pub const METHOD_UNKNOWN: i64 = 204;

/// One message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Chosen by who asks, and given back in the answer.
    pub transaction: Vec<u8>,
    /// The sender's client and version (`v`).
    pub version: Option<Vec<u8>>,
    /// The sender answers no queries and belongs in no table (BEP 43).
    pub read_only: bool,
    /// Where the sender sees the receiver (BEP 42).
    pub observed: Option<SocketAddr>,
    /// The rest.
    pub body: Body,
}

/// The three kinds of messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A question.
    Query(Query),
    /// An answer.
    Response(Response),
    /// A refusal.
    Error {
        /// 201 to 204.
        code: i64,
        /// In words. Of others' words the first 100 bytes, what is no UTF-8 replaced.
        text: String,
    },
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// Who asks.
    pub id: Id,
    /// Which families of nodes are wanted in the answer (BEP 32).
    pub want: Want,
    /// What is asked.
    pub method: Method,
}

/// Families of nodes that an answer should hold; neither: the one of the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Want {
    /// `n4`.
    pub v4: bool,
    /// `n6`.
    pub v6: bool,
}

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// Are you there?
    Ping,
    /// Who is near this id?
    FindNode {
        /// The id.
        target: Id,
    },
    /// Who has this, and who is near it?
    GetPeers {
        /// The infohash.
        info_hash: Id,
        /// The sender only fills its table (libtorrent's `bs`).
        bootstrap: bool,
    },
    /// I have this.
    AnnouncePeer {
        /// The infohash.
        info_hash: Id,
        /// Where the sender's client listens; what counts if `implied_port` is not set.
        port: u16,
        /// The port from which this message came counts. `None`: the key is left out.
        implied_port: Option<bool>,
        /// Whether the sender is a seed (BEP 33). `None`: the key is left out.
        seed: Option<bool>,
        /// From the answer to `get_peers`.
        token: Vec<u8>,
    },
    /// Anything else.
    Other {
        /// What it names as `target` or `info_hash`, if it does: answered as `find_node`.
        target: Option<Id>,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// Who answers.
    pub id: Id,
    /// IPv4 nodes; `None`: the key is left out.
    pub nodes: Option<Vec<Node>>,
    /// IPv6 nodes.
    pub nodes6: Option<Vec<Node>>,
    /// The port from which the question came (libtorrent's `p`).
    pub port: Option<u16>,
    /// Lets who asked announce.
    pub token: Option<Vec<u8>>,
    /// Peers.
    pub values: Vec<SocketAddr>,
}

impl Response {
    /// A bare answer, as to a ping.
    pub fn new(id: Id) -> Self {
        Self {
            id,
            nodes: None,
            nodes6: None,
            port: None,
            token: None,
            values: Vec::new(),
        }
    }
}
