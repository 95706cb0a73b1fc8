//! Settings: a flag goes over the environment (`BITCHAT_PORT`), the environment over the home's
//! `config.toml`, and that over the defaults below. A missing file is no error; an unknown key is.

use std::net::{IpAddr, SocketAddr};

use bitchat_actors::{disguise::Disguise, relay::RelayMode, transport::Paths};
use serde::{Deserialize, Serialize};

use crate::{error::Failure, telemetry::Format};

/// The longest name of a person, in bytes.
pub const MAX_NAME: usize = 64;

/// All settings, as they are in `config.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name others see; at most 64 bytes.
    pub name: String,
    /// The UDP port; unset: that of the last run if it is free, else any.
    pub port: Option<u16>,
    /// Addresses to listen on; empty: all.
    pub bind: Vec<IpAddr>,
    /// Where the local API listens; loopback only. Port 0: any.
    pub api: SocketAddr,
    /// What is logged, as in `RUST_LOG`.
    pub log: String,
    /// How it is logged.
    pub log_format: Format,
    /// Trackers of channels created without `--tracker`.
    pub trackers: Vec<String>,
    /// Ask the router to forward the port.
    pub portmap: bool,
    /// Look for members in the local network.
    pub lan: bool,
    /// Look for members in the DHT.
    pub dht: bool,
    /// Nodes to enter the DHT by, `HOST:PORT`.
    pub dht_bootstrap: Vec<String>,
    /// Whose BitTorrent client trackers and the DHT see; unset: that of the last run, at first Transmission 4.1.
    pub disguise: Option<Disguise>,
    /// The proxy that everything must go through.
    pub proxy: Option<String>,
    /// How members may be reached; without `quic` and `tcp`, nobody of them learns our address.
    pub paths: Vec<PathName>,
    /// For whom to carry circuits.
    pub relay: RelayFor,
    /// Look for relays that strangers offer to everybody, when there are no others.
    pub public_relays: bool,
    /// Tell members how far one has read.
    pub read_marks: bool,
}

/// A kind of path between members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PathName {
    /// Directly, by QUIC over UDP.
    Quic,
    /// Directly, or through the proxy, by TCP.
    Tcp,
    /// Through a relay, which cannot read it.
    Relay,
}

/// What these allow.
pub fn paths(names: &[PathName]) -> Paths {
    Paths {
        quic: names.contains(&PathName::Quic),
        tcp: names.contains(&PathName::Tcp),
        relay: names.contains(&PathName::Relay),
    }
}

/// For whom a node carries what they cannot send each other directly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum RelayFor {
    /// For nobody.
    Off,
    /// For members of one's own channels.
    #[default]
    Members,
    /// For everybody.
    Public,
}

impl From<RelayFor> for RelayMode {
    fn from(relay: RelayFor) -> Self {
        match relay {
            RelayFor::Off => Self::Off,
            RelayFor::Members => Self::Members,
            RelayFor::Public => Self::Public,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: default_name(),
            port: None,
            bind: Vec::new(),
            api: SocketAddr::from(([127, 0, 0, 1], 0)),
            log: "warn,bitchat=info".to_owned(),
            log_format: Format::Human,
            trackers: Vec::new(),
            portmap: true,
            lan: true,
            dht: true,
            dht_bootstrap: Vec::new(),
            disguise: None,
            proxy: None,
            paths: vec![PathName::Quic, PathName::Tcp, PathName::Relay],
            relay: RelayFor::default(),
            public_relays: true,
            read_marks: false,
        }
    }
}

/// What a value is, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    Flag,
    List,
}

/// Every key: its kind, and what it is for.
const KEYS: &[(&str, Kind, &str)] = &[
    ("name", Kind::Text, "the name others see"),
    (
        "port",
        Kind::Number,
        "the UDP port; unset: the last one, else any",
    ),
    ("bind", Kind::List, "addresses to listen on; empty: all"),
    (
        "api",
        Kind::Text,
        "where the local API listens (loopback only)",
    ),
    ("log", Kind::Text, "what is logged, as in RUST_LOG"),
    ("log_format", Kind::Text, "human or json"),
    (
        "trackers",
        Kind::List,
        "trackers of channels created without --tracker",
    ),
    ("portmap", Kind::Flag, "ask the router to forward the port"),
    ("lan", Kind::Flag, "look for members in the local network"),
    ("dht", Kind::Flag, "look for members in the DHT"),
    (
        "dht_bootstrap",
        Kind::List,
        "nodes to enter the DHT by, HOST:PORT",
    ),
    (
        "disguise",
        Kind::Text,
        "whose client trackers see: transmission-4.1, transmission-3.00, qbittorrent-4.5.2 or qbittorrent-5.2",
    ),
    (
        "proxy",
        Kind::Text,
        "the proxy that everything must go through",
    ),
    (
        "paths",
        Kind::List,
        "how members may be reached: quic, tcp, relay; relay alone hides your address from them",
    ),
    (
        "relay",
        Kind::Text,
        "for whom to carry what they cannot send directly: off, members or public",
    ),
    (
        "public_relays",
        Kind::Flag,
        "look for relays that strangers offer to everybody, when there are no others",
    ),
    (
        "read_marks",
        Kind::Flag,
        "tell members how far you have read (off unless set)",
    ),
];

/// Every key with what it is for.
pub fn keys() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().map(|(key, _, about)| (*key, *about))
}

impl Config {
    /// Reads the text of a `config.toml`, then what the environment sets.
    pub fn load(text: &str, env: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let mut table = parse(text)?;
        for (key, _, _) in KEYS {
            let variable = format!("BITCHAT_{}", key.to_uppercase());
            if let Some(value) = env(&variable) {
                put(&mut table, key, &value)
                    .map_err(|e| bad(format!("{variable}={value:?}: {}", e.message)))?;
            }
        }
        from_table(table)
    }

    /// The setting of that key, as JSON.
    pub fn get(&self, key: &str) -> Result<serde_json::Value, Failure> {
        known(key)?;
        let mut all =
            serde_json::to_value(self).map_err(|e| Failure::new("internal", e.to_string()))?;
        Ok(all[key].take())
    }
}

/// The text of a `config.toml` with one setting changed (`None`: back to the default). Checked as a whole.
pub fn changed(text: &str, key: &str, value: Option<&str>) -> Result<String, Failure> {
    let mut table = parse(text)?;
    known(key)?;
    match value {
        Some(value) => put(&mut table, key, value)?,
        None => {
            table.remove(key);
        }
    }
    from_table(table.clone())?;
    toml::to_string(&table).map_err(|e| Failure::new("internal", e.to_string()))
}

/// A name fit for others to see.
pub fn check_name(name: &str) -> Result<(), Failure> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(bad(format!(
            "a name has 1 to {MAX_NAME} bytes and no control characters, this one has {} bytes",
            name.len()
        )));
    }
    Ok(())
}

/// The local API is for this machine alone.
pub fn check_api(api: SocketAddr) -> Result<(), Failure> {
    if api.ip().is_loopback() {
        return Ok(());
    }
    Err(bad(format!(
        "the local API listens on this machine alone, and {} is no loopback address: use 127.0.0.1:PORT or [::1]:PORT",
        api.ip()
    )))
}

/// Nodes of the DHT are `HOST:PORT`.
pub fn check_nodes(nodes: &[String]) -> Result<(), Failure> {
    match nodes
        .iter()
        .find(|node| crate::api::host_port(node).is_none())
    {
        Some(node) => Err(bad(format!("dht_bootstrap: {node:?} is not HOST:PORT"))),
        None => Ok(()),
    }
}

/// There must be some way to reach members, and behind a proxy another than QUIC.
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
            "paths: QUIC does not go through a proxy: allow tcp or relay as well".to_owned(),
        ));
    }
    Ok(())
}

/// The user's name on this machine, if it will do.
pub fn default_name() -> String {
    std::env::var("USER")
        .ok()
        .filter(|name| check_name(name).is_ok())
        .unwrap_or_else(|| "me".to_owned())
}

fn bad(message: String) -> Failure {
    Failure::new("bad_config", message)
}

fn parse(text: &str) -> Result<toml::Table, Failure> {
    let table: toml::Table = text
        .parse()
        .map_err(|e: toml::de::Error| bad(format!("config.toml is not TOML: {}", e.message())))?;
    for key in table.keys() {
        known(key)?;
    }
    Ok(table)
}

fn from_table(table: toml::Table) -> Result<Config, Failure> {
    // One key at a time, so that the error names the key.
    for (key, value) in &table {
        let one = toml::Table::from_iter([(key.clone(), value.clone())]);
        if let Err(e) = one.try_into::<Config>() {
            return Err(bad(format!("{key} = {value}: {}", e.message())));
        }
    }
    let config: Config = table
        .try_into()
        .map_err(|e: toml::de::Error| bad(e.message().to_owned()))?;
    check_name(&config.name)?;
    check_api(config.api)?;
    check_nodes(&config.dht_bootstrap)?;
    check_paths(&config)?;
    Ok(config)
}

fn known(key: &str) -> Result<Kind, Failure> {
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
        None => "`bitchat config get` shows them all".to_owned(),
    };
    // A key is a user's own text, but may be long.
    let shown: String = key.chars().take(64).collect();
    Err(bad(format!("there is no setting {shown:?}: {advice}")))
}

fn put(table: &mut toml::Table, key: &str, value: &str) -> Result<(), Failure> {
    let kind = known(key)?;
    let value = match kind {
        Kind::Text => toml::Value::String(value.to_owned()),
        Kind::Number => toml::Value::Integer(
            value
                .trim()
                .parse()
                .map_err(|_| bad(format!("{key} is a number, and {value:?} is not")))?,
        ),
        Kind::Flag => toml::Value::Boolean(match value.trim() {
            "true" | "yes" | "on" | "1" => true,
            "false" | "no" | "off" | "0" => false,
            _ => return Err(bad(format!("{key} is true or false, not {value:?}"))),
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

/// How many single-letter changes make one word of the other (Levenshtein). Long input is cut.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn none(_: &str) -> Option<String> {
        None
    }

    #[test]
    fn defaults_need_no_file() {
        assert_eq!(Config::load("", none).unwrap(), Config::default());
    }

    #[test]
    fn environment_goes_over_file() {
        let env = |key: &str| match key {
            "BITCHAT_PORT" => Some("2".to_owned()),
            "BITCHAT_BIND" => Some("127.0.0.1, ::1".to_owned()),
            "BITCHAT_LAN" => Some("no".to_owned()),
            _ => None,
        };
        let config = Config::load("port = 1\nname = \"ann\"", env).unwrap();
        assert_eq!(config.port, Some(2));
        assert_eq!(config.name, "ann");
        assert_eq!(config.bind.len(), 2);
        assert!(!config.lan);
        let error = Config::load("", |k| (k == "BITCHAT_PORT").then(|| "x".into())).unwrap_err();
        assert!(error.message.contains("BITCHAT_PORT"), "{error}");
    }

    #[test]
    fn unknown_keys_are_named_with_the_nearest() {
        let error = Config::load("prot = 1", none).unwrap_err();
        assert!(error.message.contains("\"prot\""), "{error}");
        assert!(error.message.contains("\"port\""), "{error}");
        let error = Config::load("zzzzzzzzzzzzzz = 1", none).unwrap_err();
        assert!(error.message.contains("config get"), "{error}");
    }

    #[test]
    fn bad_values_name_their_key() {
        for (text, part) in [
            ("port = 65536", "port"),
            ("bind = [\"x\"]", "bind"),
            ("api = \"0.0.0.0:1\"", "loopback"),
            ("name = \"\"", "1 to 64"),
            ("port = ", "TOML"),
            ("dht_bootstrap = [\"x\"]", "HOST:PORT"),
            ("disguise = \"azureus\"", "transmission-4.1"),
            ("paths = []", "at least one"),
            ("paths = [\"udp\"]", "quic"),
            ("paths = [\"quic\"]\nproxy = \"http://p:1\"", "proxy"),
        ] {
            let error = Config::load(text, none).unwrap_err();
            assert!(error.message.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn settings_are_changed_and_removed() {
        let text = changed("port = 1", "trackers", Some("http://a/announce,udp://b:1")).unwrap();
        let config = Config::load(&text, none).unwrap();
        assert_eq!(config.trackers, ["http://a/announce", "udp://b:1"]);
        assert_eq!(config.get("port").unwrap(), 1);
        let text = changed(&text, "disguise", Some("qbittorrent-5.2")).unwrap();
        let config = Config::load(&text, none).unwrap();
        assert_eq!(config.disguise, Some(Disguise::Qbittorrent52));
        let text = changed(&text, "port", None).unwrap();
        assert_eq!(Config::load(&text, none).unwrap().port, None);
        assert!(changed("", "port", Some("70000")).is_err());
        assert!(changed("", "nope", Some("1")).is_err());
    }

    #[test]
    fn every_key_is_listed() {
        let all = serde_json::to_value(Config::default()).unwrap();
        let mut fields: Vec<_> = all.as_object().unwrap().keys().cloned().collect();
        let mut listed: Vec<_> = keys().map(|(k, _)| k.to_owned()).collect();
        fields.sort();
        listed.sort();
        assert_eq!(fields, listed);
    }
}
