//! Encoding messages: canonical bencode, keys in order.

use super::{
    Body, Message, Method, Query, Response, Want,
    compact::{put_address, write_nodes},
};
use crate::dht::Family;

impl Message {
    /// The bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        // Most messages are shorter; answers with peers grow.
        let mut out = Vec::with_capacity(160);
        out.push(b'd');
        match &self.body {
            Body::Query(query) => put_arguments(&mut out, query),
            Body::Error { code, text } => {
                put_string(&mut out, b"e");
                out.push(b'l');
                put_number(&mut out, *code);
                put_string(&mut out, text.as_bytes());
                out.push(b'e');
            }
            Body::Response(_) => {}
        }
        if let Some(observed) = self.observed {
            let mut compact = Vec::with_capacity(18);
            put_address(&mut compact, observed);
            put_pair(&mut out, b"ip", &compact);
        }
        match &self.body {
            Body::Query(query) => put_pair(&mut out, b"q", name(&query.method)),
            Body::Response(response) => put_results(&mut out, response),
            Body::Error { .. } => {}
        }
        if self.read_only {
            put_integer(&mut out, b"ro", 1);
        }
        put_pair(&mut out, b"t", &self.transaction);
        if let Some(version) = &self.version {
            put_pair(&mut out, b"v", version);
        }
        let kind: &[u8] = match self.body {
            Body::Query(_) => b"q",
            Body::Response(_) => b"r",
            Body::Error { .. } => b"e",
        };
        put_pair(&mut out, b"y", kind);
        out.push(b'e');
        out
    }
}

/// The method's name. Unknown methods are never sent.
fn name(method: &Method) -> &'static [u8] {
    match method {
        Method::Ping => b"ping",
        Method::FindNode { .. } => b"find_node",
        Method::GetPeers { .. } => b"get_peers",
        Method::AnnouncePeer { .. } => b"announce_peer",
        Method::Other { .. } => b"other",
    }
}

fn put_arguments(out: &mut Vec<u8>, query: &Query) {
    put_string(out, b"a");
    out.push(b'd');
    if let Method::GetPeers {
        bootstrap: true, ..
    } = query.method
    {
        put_integer(out, b"bs", 1);
    }
    put_pair(out, b"id", &query.id.0);
    match &query.method {
        Method::Ping | Method::Other { target: None } => {}
        Method::FindNode { target }
        | Method::Other {
            target: Some(target),
        } => put_pair(out, b"target", &target.0),
        Method::GetPeers { info_hash, .. } => put_pair(out, b"info_hash", &info_hash.0),
        Method::AnnouncePeer {
            info_hash,
            port,
            implied_port,
            seed,
            token,
        } => {
            if let Some(implied) = implied_port {
                put_integer(out, b"implied_port", i64::from(*implied));
            }
            put_pair(out, b"info_hash", &info_hash.0);
            put_integer(out, b"port", i64::from(*port));
            if let Some(seed) = seed {
                put_integer(out, b"seed", i64::from(*seed));
            }
            put_pair(out, b"token", token);
        }
    }
    put_want(out, query.want);
    out.push(b'e');
}

fn put_want(out: &mut Vec<u8>, want: Want) {
    if want == Want::default() {
        return;
    }
    put_string(out, b"want");
    out.push(b'l');
    if want.v4 {
        put_string(out, b"n4");
    }
    if want.v6 {
        put_string(out, b"n6");
    }
    out.push(b'e');
}

fn put_results(out: &mut Vec<u8>, response: &Response) {
    put_string(out, b"r");
    out.push(b'd');
    put_pair(out, b"id", &response.id.0);
    if let Some(nodes) = &response.nodes {
        put_pair(out, b"nodes", &write_nodes(nodes, Family::V4));
    }
    if let Some(nodes) = &response.nodes6 {
        put_pair(out, b"nodes6", &write_nodes(nodes, Family::V6));
    }
    if let Some(port) = response.port {
        put_integer(out, b"p", i64::from(port));
    }
    if let Some(token) = &response.token {
        put_pair(out, b"token", token);
    }
    if !response.values.is_empty() {
        put_string(out, b"values");
        out.push(b'l');
        for peer in &response.values {
            let mut compact = Vec::with_capacity(18);
            put_address(&mut compact, *peer);
            put_string(out, &compact);
        }
        out.push(b'e');
    }
    out.push(b'e');
}

fn put_pair(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    put_string(out, key);
    put_string(out, value);
}

fn put_integer(out: &mut Vec<u8>, key: &[u8], value: i64) {
    put_string(out, key);
    put_number(out, value);
}

fn put_string(out: &mut Vec<u8>, contents: &[u8]) {
    out.extend_from_slice(contents.len().to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(contents);
}

fn put_number(out: &mut Vec<u8>, value: i64) {
    out.push(b'i');
    out.extend_from_slice(value.to_string().as_bytes());
    out.push(b'e');
}
