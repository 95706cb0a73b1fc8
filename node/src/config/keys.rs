//! The keys of the settings: what kind of value each has, what each is for, and the nearest to a misspelt one.

use super::bad;
use crate::error::Failure;

/// The kind of a setting's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Flag,
    List,
}

/// Every key with its kind and its purpose.
pub(super) const KEYS: &[(&str, Kind, &str)] = &[
    ("name", Kind::Text, "the name that others see"),
    (
        "port",
        Kind::Number,
        "the UDP port; when unset, the last one if free, otherwise any",
    ),
    (
        "bind",
        Kind::List,
        "addresses to listen on; when empty, all",
    ),
    (
        "api",
        Kind::Text,
        "the address of the local API (loopback only)",
    ),
    ("log", Kind::Text, "log filter, as in RUST_LOG"),
    ("log_format", Kind::Text, "log format: human or json"),
    (
        "trackers",
        Kind::List,
        "trackers of channels that are created without --tracker",
    ),
    ("portmap", Kind::Flag, "ask the router to forward the port"),
    ("lan", Kind::Flag, "look for members in the local network"),
    ("dht", Kind::Flag, "look for members in the DHT"),
    (
        "dht_bootstrap",
        Kind::List,
        "bootstrap nodes of the DHT, HOST:PORT",
    ),
    (
        "disguise",
        Kind::Text,
        "the BitTorrent client that trackers see: transmission-4.1, transmission-3.00, qbittorrent-4.5.2 or qbittorrent-5.2",
    ),
    (
        "proxy",
        Kind::Text,
        "the proxy that all traffic must go through",
    ),
    (
        "paths",
        Kind::List,
        "allowed paths to members: quic, tcp, relay; relay alone hides your address from them",
    ),
    (
        "relay",
        Kind::Text,
        "whom to relay traffic for: off (nobody), members or public (everybody)",
    ),
    (
        "public_relays",
        Kind::Flag,
        "look for public relays when there are no others",
    ),
    (
        "read_marks",
        Kind::Flag,
        "send read marks to members (off by default)",
    ),
];

/// Returns every key with its purpose.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|(key, _, about)| (*key, *about))
}

/// Returns the kind of a key's value. An unknown key is an error that names the nearest known one.
pub(super) fn known(key: &str) -> Result<Kind, Failure> {
    if let Some((_, kind, _)) = KEYS.iter().find(|(k, _, _)| *k == key) {
        return Ok(*kind);
    }
    let nearest = KEYS
        .iter()
        .map(|(k, _, _)| (distance(k, key), *k))
        .min()
        .filter(|(d, k)| *d <= k.len().div_ceil(2));
    let advice = match nearest {
        Some((_, k)) => format!("did you mean {k:?}?"),
        None => "`bitchat config get` lists them all".to_owned(),
    };
    // A key is the user's own text, but may be long.
    let shown: String = key.chars().take(64).collect();
    Err(bad(format!("there is no setting {shown:?}: {advice}")))
}

/// Sets a key to a value given as text.
pub(super) fn put(table: &mut toml::Table, key: &str, value: &str) -> Result<(), Failure> {
    let kind = known(key)?;
    let value = match kind {
        Kind::Text => toml::Value::String(value.to_owned()),
        Kind::Number => toml::Value::Integer(
            value
                .trim()
                .parse()
                .map_err(|_| bad(format!("{key} must be a number, and {value:?} is not")))?,
        ),
        Kind::Flag => toml::Value::Boolean(match value.trim() {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            _ => return Err(bad(format!("{key} must be true or false, not {value:?}"))),
        }),
        Kind::List => toml::Value::Array(
            value
                .trim()
                .trim_start_matches('[')
                .trim_end_matches(']')
                .split(',')
                .map(|item| item.trim().trim_matches('"'))
                .filter(|item| !item.is_empty())
                .map(|item| toml::Value::String(item.to_owned()))
                .collect(),
        ),
    };
    table.insert(key.to_owned(), value);
    Ok(())
}

/// The Levenshtein distance of two strings; input beyond 64 characters is ignored in `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
