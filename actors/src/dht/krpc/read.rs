//! Parsing messages.

use std::net::SocketAddr;

use bitchat_wire::bencode::{BencodeError, Limits, byte_string, raw_value, scan};

use super::{
    Body, MAX_MESSAGE, MAX_NODES, MAX_TOKEN, MAX_TRANSACTION, MAX_VALUES, Message, Method, Query,
    Response, Want,
    compact::{read_address, read_nodes},
};
use crate::dht::{Family, Id};

/// Real messages nest three levels deep; a stored value of BEP 44, which is not read, a few more.
const LIMITS: Limits = Limits {
    depth: 16,
    values: 512,
    canonical: false,
};
/// Bytes kept of an error's text.
const MAX_TEXT: usize = 100;
/// Bytes kept of a client's version.
const MAX_VERSION: usize = 16;

/// Why a message was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Longer than [`MAX_MESSAGE`].
    #[error("a message of {0} bytes is too long")]
    TooLong(usize),
    /// Not bencode, or beyond the limits.
    #[error("bad bencode: {0}")]
    Bencode(#[from] BencodeError),
    /// Not a message of the DHT: it is dropped.
    #[error("no {0}")]
    Missing(&'static str),
    /// A query that lacks an argument: it is answered with an error.
    #[error("a query without a good {what}")]
    BadQuery {
        /// Its transaction id.
        transaction: Vec<u8>,
        /// The argument that is missing or bad.
        what: &'static str,
    },
}

impl Message {
    /// Parses a datagram.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(ParseError::TooLong(bytes.len()));
        }
        if bytes.first() != Some(&b'd') {
            return Err(ParseError::Missing("dictionary"));
        }
        let len = scan(bytes, LIMITS)?;
        let bytes = &bytes[..len];
        let transaction = string(bytes, b"t").ok_or(ParseError::Missing("transaction id"))?;
        if transaction.len() > MAX_TRANSACTION {
            return Err(ParseError::Missing("transaction id of a sane length"));
        }
        let body = match string(bytes, b"y") {
            Some(b"q") => Body::Query(query(bytes).map_err(|what| ParseError::BadQuery {
                transaction: transaction.to_vec(),
                what,
            })?),
            Some(b"r") => Body::Response(response(bytes)?),
            Some(b"e") => error(bytes)?,
            _ => return Err(ParseError::Missing("kind of message")),
        };
        Ok(Self {
            transaction: transaction.to_vec(),
            version: string(bytes, b"v")
                .filter(|version| version.len() <= MAX_VERSION)
                .map(<[u8]>::to_vec),
            read_only: integer(bytes, b"ro") == Some(1),
            observed: string(bytes, b"ip").and_then(read_address),
            body,
        })
    }
}

fn query(bytes: &[u8]) -> Result<Query, &'static str> {
    let method = string(bytes, b"q").ok_or("method")?;
    let arguments = raw_value(bytes, b"a").ok_or("arguments")?;
    let id = id(arguments, b"id").ok_or("id")?;
    let method = match method {
        b"ping" => Method::Ping,
        b"find_node" => Method::FindNode {
            target: self::id(arguments, b"target").ok_or("target")?,
        },
        b"get_peers" => Method::GetPeers {
            info_hash: self::id(arguments, b"info_hash").ok_or("info_hash")?,
            bootstrap: flag(arguments, b"bs") == Some(true),
        },
        b"announce_peer" => Method::AnnouncePeer {
            info_hash: self::id(arguments, b"info_hash").ok_or("info_hash")?,
            // The port may be missing if `implied_port` is set.
            port: port(arguments, b"port").unwrap_or(0),
            implied_port: flag(arguments, b"implied_port"),
            seed: flag(arguments, b"seed"),
            token: string(arguments, b"token")
                .filter(|token| token.len() <= MAX_TOKEN)
                .ok_or("token")?
                .to_vec(),
        },
        _ => Method::Other {
            target: self::id(arguments, b"target").or_else(|| self::id(arguments, b"info_hash")),
        },
    };
    let mut want = Want::default();
    for family in raw_value(arguments, b"want").into_iter().flat_map(strings) {
        want.v4 |= family == b"n4";
        want.v6 |= family == b"n6";
    }
    Ok(Query { id, want, method })
}

fn response(bytes: &[u8]) -> Result<Response, ParseError> {
    let results = raw_value(bytes, b"r").ok_or(ParseError::Missing("results"))?;
    let nodes = |key, family| {
        string(results, key).map(|compact: &[u8]| read_nodes(compact, family, MAX_NODES))
    };
    Ok(Response {
        id: id(results, b"id").ok_or(ParseError::Missing("id in the results"))?,
        nodes: nodes(b"nodes", Family::V4),
        nodes6: nodes(b"nodes6", Family::V6),
        port: port(results, b"p"),
        token: string(results, b"token")
            .filter(|token| token.len() <= MAX_TOKEN)
            .map(<[u8]>::to_vec),
        values: raw_value(results, b"values")
            .into_iter()
            .flat_map(strings)
            .filter_map(read_address)
            .take(MAX_VALUES)
            .collect::<Vec<SocketAddr>>(),
    })
}

fn error(bytes: &[u8]) -> Result<Body, ParseError> {
    let list = raw_value(bytes, b"e").ok_or(ParseError::Missing("error"))?;
    // Usually `li203e14:Protocol Errore`; other contents are errors as well.
    let rest = list.strip_prefix(b"l").unwrap_or_default();
    let code = rest
        .iter()
        .position(|byte| *byte == b'e')
        .and_then(|end| number(&rest[..=end]));
    let text = code
        .and_then(|(_, len)| text(&rest[len..]))
        .unwrap_or_default();
    let mut text = String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]).into_owned();
    // The replacement for bad bytes is longer than they were.
    while text.len() > MAX_TEXT {
        text.pop();
    }
    Ok(Body::Error {
        code: code.map_or(0, |(code, _)| code),
        text,
    })
}

/// The string at the start of the rest of a list.
fn text(rest: &[u8]) -> Option<&[u8]> {
    first_string(rest).map(|(text, _)| text)
}

fn string<'a>(dictionary: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    raw_value(dictionary, key).and_then(byte_string)
}

fn id(dictionary: &[u8], key: &[u8]) -> Option<Id> {
    string(dictionary, key).and_then(Id::read)
}

fn integer(dictionary: &[u8], key: &[u8]) -> Option<i64> {
    let raw = raw_value(dictionary, key)?;
    number(raw).and_then(|(value, len)| (len == raw.len()).then_some(value))
}

fn flag(dictionary: &[u8], key: &[u8]) -> Option<bool> {
    integer(dictionary, key).map(|value| value != 0)
}

fn port(dictionary: &[u8], key: &[u8]) -> Option<u16> {
    integer(dictionary, key).and_then(|port| u16::try_from(port).ok())
}

/// The number at the start of the bytes, and its length with `i` and `e`; `None` too if it does not fit.
fn number(raw: &[u8]) -> Option<(i64, usize)> {
    let digits = raw.strip_prefix(b"i")?;
    let end = digits.iter().position(|byte| *byte == b'e')?;
    let value = std::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
    Some((value, end + 2))
}

/// The strings at the start of a raw list, up to the first value of another kind.
fn strings(raw: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = raw.strip_prefix(b"l").unwrap_or_default();
    std::iter::from_fn(move || {
        let (value, behind) = first_string(rest)?;
        rest = behind;
        Some(value)
    })
}

/// The string at the start of the bytes, and the bytes after it.
fn first_string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = bytes.iter().take(20).position(|byte| *byte == b':')?;
    let len: usize = std::str::from_utf8(&bytes[..colon]).ok()?.parse().ok()?;
    let rest = &bytes[colon + 1..];
    rest.split_at_checked(len)
}

/// Whether a datagram looks like a query, which is all that strangers may send. Cheap, and sometimes wrong.
pub(crate) fn looks_like_query(bytes: &[u8]) -> bool {
    // Canonical messages end in `1:y1:qe`; in others the key is anywhere.
    bytes.ends_with(b"1:y1:qe") || bytes.windows(6).any(|part| part == b"1:y1:q")
}
