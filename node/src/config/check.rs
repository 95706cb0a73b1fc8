//! Checks of values beyond their types.

use std::net::SocketAddr;

use super::{Config, bad, paths};
use crate::error::Failure;

/// The longest name of a user, in bytes.
const MAX_NAME: usize = 64;

/// Checks a user's name: 1 to 64 bytes, no control characters.
pub fn check_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(bad(format!(
            "a name has 1 to {MAX_NAME} bytes and no control characters; this one has {} bytes",
            name.len()
        )));
    }
    Ok(())
}

/// Checks that the local API listens on loopback only.
pub fn check_api(api: SocketAddr) -> Result<(), Failure> {
    if api.ip().is_loopback() {
        return Ok(());
    }
    Err(bad(format!(
        "the local API can only listen on loopback, and {} is not a loopback address: use 127.0.0.1:PORT or [::1]:PORT",
        api.ip()
    )))
}

/// Checks that each DHT node is `HOST:PORT`.
pub fn check_nodes(nodes: &[String]) -> Result<(), Failure> {
    match nodes.iter().find(|node| host_port(node).is_none()) {
        Some(node) => Err(bad(format!("dht_bootstrap: {node:?} is not HOST:PORT"))),
        None => Ok(()),
    }
}

/// Checks that some path to members is allowed, and behind a proxy one other than QUIC.
pub fn check_paths(config: &Config) -> Result<(), Failure> {
    let allowed = paths(&config.paths);
    if !allowed.quic && !allowed.tcp && !allowed.relay {
        return Err(bad(
            "paths: name at least one of quic, tcp and relay, or no member can be reached"
                .to_owned(),
        ));
    }
    if config.proxy.is_some() && !allowed.tcp && !allowed.relay {
        return Err(bad(
            "paths: QUIC cannot go through a proxy: allow tcp or relay as well".to_owned(),
        ));
    }
    Ok(())
}

/// Splits `HOST:PORT`; an IPv6 address loses its brackets. `None` if it is anything else.
pub fn host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = port.parse().ok().filter(|p| *p != 0)?;
    (!host.is_empty() && host.len() <= 255).then(|| (host.to_owned(), port))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports() {
        assert_eq!(host_port("a.b:1").unwrap(), ("a.b".to_owned(), 1));
        assert_eq!(host_port("[::1]:6881").unwrap(), ("::1".to_owned(), 6881));
        for bad in ["a", ":1", "a:", "a:0", "a:65536", ""] {
            assert_eq!(host_port(bad), None, "{bad}");
        }
    }
}
