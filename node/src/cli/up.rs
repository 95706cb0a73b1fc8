//! `up`: runs the node and its local API until a signal.

use std::{io::Write, time::Duration};

use bitchat_actors::{node::Node, transport::Proxy};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{args::Up, out::line};
use crate::{
    api::{self, Api, auth::Guard},
    config::{self, Config},
    error::Failure,
    home::{Home, Running},
    os::Signals,
    telemetry,
};

/// The node itself stops in 3 s at most; should it hang, the process ends all the same.
const STOP: Duration = Duration::from_millis(2_900);

pub(super) fn run(home: &Home, flags: &Up) -> Result<(), Failure> {
    // Logging needs the settings, and reading them may already have something to say.
    let config = over(home.config()?, flags)?;
    telemetry::start(&config.log, config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("internal", format!("cannot start: {e}")))?;
    let done = runtime.block_on(serve(home, config));
    // Nothing that still runs may hold the process up.
    runtime.shutdown_timeout(Duration::from_millis(50));
    done
}

/// Flags go over the environment and the file.
fn over(mut config: Config, flags: &Up) -> Result<Config, Failure> {
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
    if let Some(log) = flags.log.clone().or_else(|| {
        std::env::var("RUST_LOG")
            .ok()
            .filter(|filter| !filter.is_empty())
    }) {
        config.log = log;
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

fn proxy(url: Option<&str>) -> Result<Option<Proxy>, Failure> {
    // What is wrong with it, and not what it is: it may hold a password.
    url.map(Proxy::parse)
        .transpose()
        .map_err(|error| Failure::new("bad_config", error.to_string()))
}

async fn serve(home: &Home, config: Config) -> Result<(), Failure> {
    let mut signals = Signals::listen()
        .map_err(|e| Failure::new("internal", format!("cannot listen for signals: {e}")))?;
    home.make()?;
    // Held to the end.
    let _lock = home.lock()?;
    // What a killed node left behind.
    home.clear_running();
    let new = home.identity()?.is_none();
    if new {
        home.init(&config.name)?;
    }
    let identity = home.require_identity()?;
    let token = home.token()?;
    let listener = TcpListener::bind(config.api).await.map_err(|e| {
        Failure::new(
            "listen",
            format!(
                "the local API cannot listen at {}: {e}; choose another with --api",
                config.api
            ),
        )
    })?;
    let address = listener
        .local_addr()
        .map_err(|e| Failure::new("listen", e.to_string()))?;

    let builder = Node::builder(home.database(), identity)
        .name(&config.name)
        .bind(config.bind.iter().copied())
        .port(config.port)
        .agent(concat!("bitchat/", env!("CARGO_PKG_VERSION")))
        .proxy(proxy(config.proxy.as_deref())?)
        .paths(config::paths(&config.paths))
        .relay(config.relay.into())
        .read_marks(config.read_marks)
        .lan(config.lan)
        .public_relays(config.public_relays)
        .portmap(config.portmap)
        .dht(config.dht)
        .dht_bootstrap(&config.dht_bootstrap)
        .disguise(config.disguise);
    let node = tokio::select! {
        started = builder.start() => started?,
        () = signals.next() => return Ok(()),
    };

    let stop = CancellationToken::new();
    let router = api::router(
        Api {
            node: node.clone(),
            trackers: config.trackers.clone(),
            stop: stop.clone(),
        },
        Guard::new(token, address),
    );
    let server = tokio::spawn(api::server::serve(listener, router, stop.clone()));
    let api = format!("http://{address}");
    let told = home
        .set_running(&Running {
            api: api.clone(),
            pid: std::process::id(),
            port: node.port(),
        })
        .and_then(|()| {
            ready(&Ready {
                event: "ready",
                id: node.id().to_string(),
                port: node.port(),
                api,
            })
        });
    // A closed standard output is no reason to stop; a full disk is.
    if let Err(failure) = told
        && failure.code != "closed_output"
    {
        stop_all(&node, &stop, server, home).await;
        return Err(failure);
    }
    guide(home, &config, new);
    signals.next().await;
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = stop_all(&node, &stop, server, home) => {}
        () = signals.next() => {
            home.clear_running();
            tracing::warn!("stopped at once");
        }
    }
    Ok(())
}

/// The line that says that the node listens.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    id: String,
    port: u16,
    api: String,
}

fn ready(ready: &Ready) -> Result<(), Failure> {
    let text = serde_json::to_string(ready).map_err(|e| Failure::new("internal", e.to_string()))?;
    line(&text)
}

/// First the API, so that nothing new is taken on; then the node.
async fn stop_all(
    node: &Node,
    stop: &CancellationToken,
    server: tokio::task::JoinHandle<()>,
    home: &Home,
) {
    stop.cancel();
    home.clear_running();
    let both = async {
        // The node need not wait for the last answers to be read.
        let _ = tokio::join!(server, node.stop());
    };
    if tokio::time::timeout(STOP, both).await.is_err() {
        tracing::warn!("the node did not stop in time");
    }
}

/// Where to go next; for people, so to standard error.
fn guide(home: &Home, config: &Config, new: bool) {
    let given = match Home::find(None) {
        Ok(usual) if usual.root() == home.root() => String::new(),
        _ => format!(" --home {}", home.root().display()),
    };
    let mut text = String::new();
    if new {
        text.push_str(&format!(
            "A new identity was made in {}, called {} (`bitchat{given} config set name NAME` changes that).\n",
            home.root().display(),
            crate::term::inert(&config.name)
        ));
    }
    if let Ok(Some(proxy)) = proxy(config.proxy.as_deref()) {
        text.push_str(&format!(
            "Everything goes through the proxy {proxy}; while it does not work, nothing leaves. `bitchat{given} status` says how it does.\n"
        ));
    }
    if config::paths(&config.paths).is_hidden() {
        text.push_str(
            "Members do not learn your address: they are talked with through the relays that the channels' files name (`channel create --relay`), \
             and through nothing else.\n",
        );
    }
    text.push_str(&format!(
        "The node runs. Leave it open, and in another terminal:
  bitchat{given} channel create friends --out friends.chat                 make a channel for your friends
  bitchat{given} channel join friends.chat                                 or join theirs
  bitchat{given} send friends \"Hello!\"                                     say something
  bitchat{given} log friends --follow                                      read along
`bitchat --help` has more. Ctrl-C stops the node.\n"
    ));
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_over_settings() {
        let config = Config {
            port: Some(1),
            api: "127.0.0.1:5".parse().unwrap(),
            ..Config::default()
        };
        let kept = over(config.clone(), &Up::default()).unwrap();
        assert_eq!((kept.port, kept.api.port(), kept.dht), (Some(1), 5, true));
        let flags = Up {
            port: Some(2),
            no_dht: true,
            ..Up::default()
        };
        let changed = over(config, &flags).unwrap();
        assert_eq!((changed.port, changed.dht), (Some(2), false));
    }

    #[test]
    fn the_api_stays_on_this_machine() {
        let flags = Up {
            api: Some("0.0.0.0:80".parse().unwrap()),
            ..Up::default()
        };
        let error = over(Config::default(), &flags).unwrap_err();
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
