//! KRPC: the bencoded messages of the mainline DHT (BEP 5, with 32, 42 and 43).
//!
//! [`Message::parse`] bounds size, depth and number of values before anything is read, accepts what real nodes send
//! (keys in any order, unknown keys, transaction ids of any length up to 64 bytes) and keeps only what this node uses.
//! [`Message::encode`] writes canonical bencode: the same bytes for the same message.

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

/// The longest message that is read, in bytes. Messages are meant to fit into one datagram without fragments.
pub const MAX_MESSAGE: usize = 2_048;
/// The longest transaction id of a query that is answered, in bytes.
pub const MAX_TRANSACTION: usize = 64;
/// The longest write token that is kept, in bytes.
pub const MAX_TOKEN: usize = 64;
/// Nodes of a family that are read from one response; the specification has 8.
pub const MAX_NODES: usize = 16;
/// Peers that are read from one response.
pub const MAX_VALUES: usize = 100;

/// The error code for a malformed message, bad arguments or a bad token.
pub const PROTOCOL_ERROR: i64 = 203;
/// The error code for an unknown method.
pub const METHOD_UNKNOWN: i64 = 204;

/// A message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// The transaction id, chosen by the asker and returned in the answer.
    pub transaction: Vec<u8>,
    /// The sender's client and version (`v`).
    pub version: Option<Vec<u8>>,
    /// Whether the sender answers no queries and belongs in no table (BEP 43).
    pub read_only: bool,
    /// The address at which the sender sees the receiver (BEP 42).
    pub observed: Option<SocketAddr>,
    /// The query, answer or error.
    pub body: Body,
}

/// The three kinds of messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// A query.
    Query(Query),
    /// An answer.
    Response(Response),
    /// An error.
    Error {
        /// 201 to 204.
        code: i64,
        /// The message. Of a received one the first 100 bytes, with invalid UTF-8 replaced.
        text: String,
    },
}

/// A query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The id of the asker.
    pub id: Id,
    /// The families of nodes that are wanted in the answer (BEP 32).
    pub want: Want,
    /// The method, with its arguments.
    pub method: Method,
}

/// The families of nodes that an answer should contain; if neither is set, that of the socket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Want {
    /// IPv4 (`n4`).
    pub v4: bool,
    /// IPv6 (`n6`).
    pub v6: bool,
}

/// The method of a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// `ping`: asks for a sign of life.
    Ping,
    /// `find_node`: asks for the nodes nearest to an id.
    FindNode {
        /// The id.
        target: Id,
    },
    /// `get_peers`: asks for the peers of an infohash, and for the nodes nearest to it.
    GetPeers {
        /// The infohash.
        info_hash: Id,
        /// Whether the sender only fills its table (libtorrent's `bs`).
        bootstrap: bool,
    },
    /// `announce_peer`: announces a peer of an infohash.
    AnnouncePeer {
        /// The infohash.
        info_hash: Id,
        /// The port on which the sender's client listens, unless `implied_port` is set.
        port: u16,
        /// Whether the port from which this message came is announced; `None` leaves the key out.
        implied_port: Option<bool>,
        /// Whether the sender is a seed (BEP 33); `None` leaves the key out.
        seed: Option<bool>,
        /// The token from the answer to `get_peers`.
        token: Vec<u8>,
    },
    /// Any other method.
    Other {
        /// Its `target` or `info_hash`, if it has one: then it is answered like `find_node`.
        target: Option<Id>,
    },
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Response {
    /// The id of the node that answers.
    pub id: Id,
    /// IPv4 nodes; `None` leaves the key out.
    pub nodes: Option<Vec<Node>>,
    /// IPv6 nodes; `None` leaves the key out.
    pub nodes6: Option<Vec<Node>>,
    /// The port from which the query came (libtorrent's `p`).
    pub port: Option<u16>,
    /// The token with which the asker may announce.
    pub token: Option<Vec<u8>>,
    /// Peers.
    pub values: Vec<SocketAddr>,
}

impl Response {
    /// An answer with nothing but an id, as to a ping.
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
