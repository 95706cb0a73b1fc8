//! Settings: a flag overrides the environment (`BITCHAT_PORT`), the environment overrides the home's
//! `config.toml`, and that overrides the defaults below. A missing file is not an error; an unknown key is.

mod check;
mod keys;
mod paths;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use bitchat_actors::settings::Disguise;
use serde::{Deserialize, Serialize};

use self::keys::{KEYS, known, put};
pub use self::{
    check::{check_api, check_name, check_nodes, check_paths, host_port},
    keys::keys,
    paths::{PathName, RelayFor, paths},
};
use crate::{error::Failure, telemetry::Format};

/// All settings, as they are in `config.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name that others see; at most 64 bytes.
    pub name: String,
    /// The UDP port; when unset, that of the last run if it is free, otherwise any.
    pub port: Option<u16>,
    /// Addresses to listen on; when empty, all.
    pub bind: Vec<IpAddr>,
    /// The address of the local API; loopback only. Port 0 means any.
    pub api: SocketAddr,
    /// Log filter, as in `RUST_LOG`.
    pub log: String,
    /// Log format.
    pub log_format: Format,
    /// Trackers of channels that are created without `--tracker`.
    pub trackers: Vec<String>,
    /// Whether to ask the router to forward the port.
    pub portmap: bool,
    /// Whether to look for members in the local network.
    pub lan: bool,
    /// Whether to look for members in the DHT.
    pub dht: bool,
    /// Bootstrap nodes of the DHT, `HOST:PORT`; when empty, the built-in ones.
    pub dht_bootstrap: Vec<String>,
    /// The BitTorrent client that trackers and the DHT see; when unset, that of the last run, initially Transmission 4.1.
    pub disguise: Option<Disguise>,
    /// The proxy that all traffic must go through.
    pub proxy: Option<String>,
    /// The paths that may lead to members; without `quic` and `tcp`, no member learns our address.
    pub paths: Vec<PathName>,
    /// Whom to carry circuits for.
    pub relay: RelayFor,
    /// Whether to look for public relays when there are no others.
    pub public_relays: bool,
    /// Whether to send read marks to members.
    pub read_marks: bool,
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

impl Config {
    /// Reads the text of a `config.toml`, then overrides it with the variables that `env` returns.
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

    /// Returns one setting as JSON.
    pub fn get(&self, key: &str) -> Result<serde_json::Value, Failure> {
        known(key)?;
        let mut all =
            serde_json::to_value(self).map_err(|e| Failure::new("internal", e.to_string()))?;
        Ok(all[key].take())
    }
}

/// Returns the text of a `config.toml` with one setting changed, or reset to its default by `None`. The result is
/// checked as a whole.
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

/// The login name of the user if it is valid, otherwise `me`.
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
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        bad(format!("config.toml is not valid TOML: {}", e.message()))
    })?;
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
