//! A node's run: start, serve, stop.

use std::{net::SocketAddr, time::Duration};

use bitchat_actors::node::{Builder, Node};
use bitchat_wire::identity::IdentityKey;
use serde::Serialize;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{settings, text::guide};
use crate::{
    api::{self, Api, auth::Guard},
    cli::out::line,
    config::{self, Config},
    error::Failure,
    home::{Home, Running},
    os::Signals,
};

/// Bound on stopping. The node itself stops within 3 s; should it hang, the process ends all the same.
const STOP: Duration = Duration::from_millis(2_900);

/// Runs the node and its local API until a signal.
pub(super) async fn serve(home: &Home, config: Config) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    home.make()?;
    // Held to the end.
    let _lock = home.lock()?;
    // Left behind by a node that was killed.
    home.clear_running();
    let new = home.identity()?.is_none();
    if new {
        home.init(&config.name)?;
    }
    let identity = home.require_identity()?;
    let token = home.token()?;
    let (listener, address) = listen(&config).await?;
    let builder = builder(home, identity, &config)?;
    let node = tokio::select! {
        started = builder.start() => started?,
        () = signals.next() => return Ok(()),
    };
    let stop = CancellationToken::new();
    let api = Api {
        node: node.clone(),
        trackers: config.trackers.clone(),
        stop: stop.clone(),
    };
    let router = api::router(api, Guard::new(token, address));
    let running = Serving {
        home,
        node,
        api: format!("http://{address}"),
        server: tokio::spawn(api::server::serve(listener, router, stop.clone())),
        stop,
    };
    if let Err(failure) = running.announce() {
        running.stop().await;
        return Err(failure);
    }
    guide(home, &config, new);
    signals.next().await;
    tracing::info!("stopping; a second signal stops at once");
    tokio::select! {
        () = running.stop() => {}
        () = signals.next() => {
            home.clear_running();
            tracing::warn!("stopped at once");
        }
    }
    Ok(())
}

/// Opens the listener of the local API; returns it with its address.
async fn listen(config: &Config) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(config.api).await.map_err(|e| {
        Failure::new(
            "listen",
            format!(
                "the local API cannot listen on {}: {e}; choose another address with --api",
                config.api
            ),
        )
    })?;
    let address = listener
        .local_addr()
        .map_err(|e| Failure::new("listen", e.to_string()))?;
    Ok((listener, address))
}

/// The node with its settings, not started yet.
fn builder(home: &Home, identity: IdentityKey, config: &Config) -> Result<Builder, Failure> {
    Ok(Node::builder(home.database(), identity)
        .name(&config.name)
        .bind(config.bind.iter().copied())
        .port(config.port)
        .agent(concat!("bitchat/", env!("CARGO_PKG_VERSION")))
        .proxy(settings::proxy(config.proxy.as_deref())?)
        .paths(config::paths(&config.paths))
        .relay(config.relay.into())
        .read_marks(config.read_marks)
        .lan(config.lan)
        .public_relays(config.public_relays)
        .portmap(config.portmap)
        .dht(config.dht)
        .dht_bootstrap(&config.dht_bootstrap)
        .disguise(config.disguise))
}

/// A running node and its local API.
struct Serving<'a> {
    home: &'a Home,
    node: Node,
    /// The URL of the API.
    api: String,
    server: JoinHandle<()>,
    /// Stops the API.
    stop: CancellationToken,
}

impl Serving<'_> {
    /// Writes `node.json`, and prints the line that says that the node is listening.
    fn announce(&self) -> Result<(), Failure> {
        self.home.set_running(&Running {
            api: self.api.clone(),
            pid: std::process::id(),
            port: self.node.port(),
        })?;
        let ready = Ready {
            event: "ready",
            id: self.node.id().to_string(),
            port: self.node.port(),
            api: self.api.clone(),
        };
        let text =
            serde_json::to_string(&ready).map_err(|e| Failure::new("internal", e.to_string()))?;
        match line(&text) {
            // A closed standard output is no reason to stop; a full disk is.
            Err(failure) if failure.code != "closed_output" => Err(failure),
            _ => Ok(()),
        }
    }

    /// Stops the API first, so that it takes no new requests, then the node.
    async fn stop(self) {
        self.stop.cancel();
        self.home.clear_running();
        let both = async {
            // The node need not wait until the last answers are read.
            let _ = tokio::join!(self.server, self.node.stop());
        };
        if tokio::time::timeout(STOP, both).await.is_err() {
            tracing::warn!("the node did not stop in time");
        }
    }
}

/// The line that says that the node is listening.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    id: String,
    port: u16,
    api: String,
}
