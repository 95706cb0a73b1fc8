//! The settings of a run: flags over the environment over `config.toml`.

use bitchat_actors::settings::Proxy;

use super::Up;
use crate::{
    config::{self, Config},
    error::Failure,
    telemetry,
};

/// Overrides the settings of the environment and the file with the flags, and checks the result.
pub(super) fn overridden(mut config: Config, flags: &Up) -> Result<Config, Failure> {
    if let Some(port) = flags.port {
        config.port = Some(port);
    }
    if !flags.bind.is_empty() {
        config.bind.clone_from(&flags.bind);
    }
    if let Some(api) = flags.api {
        config.api = api;
    }
    config.portmap &= !flags.no_portmap;
    config.lan &= !flags.no_lan;
    config.public_relays &= !flags.no_public_relays;
    config.dht &= !flags.no_dht;
    if !flags.dht_bootstrap.is_empty() {
        config.dht_bootstrap.clone_from(&flags.dht_bootstrap);
    }
    config.disguise = flags.disguise.or(config.disguise);
    if let Some(relay) = flags.relay {
        config.relay = relay;
    }
    if !flags.paths.is_empty() {
        config.paths.clone_from(&flags.paths);
    }
    if let Some(proxy) = &flags.proxy {
        config.proxy = Some(proxy.clone());
    }
    if let Some(filter) = telemetry::filter(flags.log.as_deref()) {
        config.log = filter;
    }
    if let Some(format) = flags.log_format {
        config.log_format = format;
    }
    config::check_api(config.api)?;
    proxy(config.proxy.as_deref())?;
    config::check_nodes(&config.dht_bootstrap)?;
    config::check_paths(&config)?;
    Ok(config)
}

/// Parses the URL of a proxy.
pub(super) fn proxy(url: Option<&str>) -> Result<Option<Proxy>, Failure> {
    // The message names the fault, not the URL: that may hold a password.
    url.map(Proxy::parse)
        .transpose()
        .map_err(|error| Failure::new("bad_config", error.to_string()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn flags_override_settings() {
        let config = Config {
            port: Some(1),
            api: "127.0.0.1:5".parse().unwrap(),
            ..Config::default()
        };
        let kept = overridden(config.clone(), &Up::default()).unwrap();
        assert_eq!((kept.port, kept.api.port(), kept.dht), (Some(1), 5, true));
        let flags = Up {
            port: Some(2),
            no_dht: true,
            ..Up::default()
        };
        let changed = overridden(config, &flags).unwrap();
        assert_eq!((changed.port, changed.dht), (Some(2), false));
    }

    #[test]
    fn the_api_stays_on_this_machine() {
        let flags = Up {
            api: Some("0.0.0.0:80".parse().unwrap()),
            ..Up::default()
        };
        let error = overridden(Config::default(), &flags).unwrap_err();
        assert!(error.message.contains("loopback"), "{error}");
    }

    #[test]
    fn a_proxy_is_understood_or_refused() {
        for good in ["http://p:3128", "socks5h://127.0.0.1:9050"] {
            assert!(proxy(Some(good)).unwrap().is_some());
        }
        for bad in ["", "p:3128", "ftp://p", "http://"] {
            assert!(proxy(Some(bad)).is_err(), "{bad}");
        }
        let error = proxy(Some("ftp://u:secret@p")).unwrap_err();
        assert!(!error.message.contains("secret"), "{error}");
    }
}
