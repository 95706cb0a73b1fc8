//! The unsigned part of a channel file: trackers, DHT nodes and relays.
//!
//! Anyone who forwards a file can change them, so they are limited to what is safe to try. Reading
//! drops invalid ones, since one bad line must not make a channel unreachable; writing refuses them,
//! since then someone is there to correct them.

use serde_bencode::value::Value;

use super::{ChannelFileError, MAX_NODES, MAX_RELAY, MAX_RELAYS, MAX_TRACKERS, MAX_URL};

/// Maximum length of a node's host, in bytes: the longest name in DNS.
const MAX_HOST: usize = 253;

/// Whether `url` is a usable tracker URL: http, https or udp (which needs a port), in visible ASCII.
pub(super) fn is_tracker(url: &str) -> bool {
    if url.len() > MAX_URL || !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false;
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return false;
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    let (name, port) = match host.rsplit_once(':') {
        // the colons of an IPv6 address without a port
        Some((_, tail)) if tail.ends_with(']') => (host, None),
        Some((name, port)) => (name, Some(port)),
        None => (host, None),
    };
    if name.is_empty() || port.is_some_and(|port| !matches!(port.parse::<u16>(), Ok(1..))) {
        return false;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => true,
        "udp" => port.is_some(),
        _ => false,
    }
}

/// Whether host and port can be those of a node: a name or address in visible ASCII, and a port other than 0.
pub(super) fn is_node(host: &str, port: u16) -> bool {
    port > 0
        && (1..=MAX_HOST).contains(&host.len())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

/// Whether `relay` can be a multiaddr as text.
pub(super) fn is_relay(relay: &str) -> bool {
    (2..=MAX_RELAY).contains(&relay.len())
        && relay.starts_with('/')
        && relay.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The usable tiers of `announce-list`; without it, `announce` as the only tier (BEP 12).
pub(super) fn read_trackers(
    announce: Option<&[u8]>,
    list: Option<&[u8]>,
) -> Result<Vec<Vec<String>>, ChannelFileError> {
    let mut tiers = Vec::new();
    let mut left = MAX_TRACKERS;
    for tier in items(list, "announce-list")? {
        let Value::List(urls) = tier else {
            return Err(ChannelFileError::BadValue("announce-list"));
        };
        push_tier(&mut tiers, &mut left, urls);
    }
    let only = announce.map(|raw| value(raw, "announce")).transpose()?;
    match only {
        None => {}
        Some(only @ Value::Bytes(_)) if tiers.is_empty() => {
            push_tier(&mut tiers, &mut left, vec![only])
        }
        Some(Value::Bytes(_)) => {}
        Some(_) => return Err(ChannelFileError::BadValue("announce")),
    }
    Ok(tiers)
}

fn push_tier(tiers: &mut Vec<Vec<String>>, left: &mut usize, urls: Vec<Value>) {
    let urls: Vec<String> = urls
        .into_iter()
        .filter_map(text)
        .filter(|url| is_tracker(url))
        .take(*left)
        .collect();
    *left -= urls.len();
    if !urls.is_empty() {
        tiers.push(urls);
    }
}

/// The usable `[host, port]` pairs of `nodes` (BEP 5).
pub(super) fn read_nodes(raw: Option<&[u8]>) -> Result<Vec<(String, u16)>, ChannelFileError> {
    let mut nodes = Vec::new();
    for node in items(raw, "nodes")? {
        let Value::List(pair) = node else {
            return Err(ChannelFileError::BadValue("nodes"));
        };
        let Ok([Value::Bytes(host), Value::Int(port)]) = <[Value; 2]>::try_from(pair) else {
            return Err(ChannelFileError::BadValue("nodes"));
        };
        if let (Ok(host), Ok(port)) = (String::from_utf8(host), u16::try_from(port))
            && is_node(&host, port)
            && nodes.len() < MAX_NODES
        {
            nodes.push((host, port));
        }
    }
    Ok(nodes)
}

/// The usable entries of `relays`.
pub(super) fn read_relays(raw: Option<&[u8]>) -> Result<Vec<String>, ChannelFileError> {
    let relays = items(raw, "relays")?;
    Ok(relays
        .into_iter()
        .filter_map(text)
        .filter(|relay| is_relay(relay))
        .take(MAX_RELAYS)
        .collect())
}

/// Drops empty tiers, and rejects tracker URLs that a reader would ignore.
pub(super) fn check_trackers(
    mut tiers: Vec<Vec<String>>,
) -> Result<Vec<Vec<String>>, ChannelFileError> {
    tiers.retain(|tier| !tier.is_empty());
    if let Some(bad) = tiers.iter().flatten().find(|url| !is_tracker(url)) {
        return Err(ChannelFileError::BadTracker(
            bad.chars().take(100).collect(),
        ));
    }
    at_most(tiers.iter().flatten().count(), MAX_TRACKERS, "trackers")?;
    Ok(tiers)
}

/// Rejects nodes that a reader would ignore.
pub(super) fn check_nodes(nodes: &[(String, u16)]) -> Result<(), ChannelFileError> {
    if let Some((host, port)) = nodes.iter().find(|(host, port)| !is_node(host, *port)) {
        return Err(ChannelFileError::BadNode(format!(
            "{}:{port}",
            host.chars().take(100).collect::<String>()
        )));
    }
    at_most(nodes.len(), MAX_NODES, "DHT nodes")
}

/// Rejects relays that a reader would ignore.
pub(super) fn check_relays(relays: &[String]) -> Result<(), ChannelFileError> {
    if let Some(bad) = relays.iter().find(|relay| !is_relay(relay)) {
        return Err(ChannelFileError::BadRelay(bad.chars().take(100).collect()));
    }
    at_most(relays.len(), MAX_RELAYS, "relays")
}

fn at_most(count: usize, max: usize, what: &'static str) -> Result<(), ChannelFileError> {
    if count > max {
        Err(ChannelFileError::TooManyHints { what, max })
    } else {
        Ok(())
    }
}

/// The items of a list; empty if the key is missing.
fn items(raw: Option<&[u8]>, key: &'static str) -> Result<Vec<Value>, ChannelFileError> {
    match raw.map(|raw| value(raw, key)).transpose()? {
        None => Ok(Vec::new()),
        Some(Value::List(items)) => Ok(items),
        Some(_) => Err(ChannelFileError::BadValue(key)),
    }
}

/// Parses bytes that were scanned before: the scan bounded depth and number of their values.
fn value(raw: &[u8], key: &'static str) -> Result<Value, ChannelFileError> {
    serde_bencode::from_bytes(raw).map_err(|_| ChannelFileError::BadValue(key))
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Bytes(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "tests/hints.rs"]
mod tests;
