//! `up`: runs the node and its local API until a signal.

mod serve;
mod settings;
mod text;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use bitchat_actors::settings::Disguise;
use clap::Args;

use crate::{
    config::{PathName, RelayFor},
    error::Failure,
    home::Home,
    telemetry,
};

const UP: &str = "\
When it is listening, it prints one line on standard output:
  {\"event\":\"ready\",\"id\":\"bitchat1...\",\"port\":N,\"api\":\"http://127.0.0.1:N\"}
Ctrl-C or SIGTERM stops it in order; a second one stops it at once.

Settings come from flags, then the environment (BITCHAT_PORT, BITCHAT_BIND, ...), then config.toml.

Examples:
  bitchat up
  bitchat up --port 40000 --bind 192.0.2.7
  bitchat --home /tmp/bob up --api 127.0.0.1:8080";

/// Run the node in the foreground, until Ctrl-C
#[derive(Debug, Default, Args)]
#[command(after_help = UP)]
pub(super) struct Up {
    /// The UDP and TCP port [default: that of the last run if it is free, otherwise any]
    #[arg(long)]
    pub port: Option<u16>,
    /// An address to listen on, instead of all; may be repeated
    #[arg(long, value_name = "ADDR")]
    pub bind: Vec<IpAddr>,
    /// The address of the local API; loopback only [default: 127.0.0.1:0, any port]
    #[arg(long, value_name = "ADDR:PORT")]
    api: Option<SocketAddr>,
    /// Do not ask the router to forward the port
    #[arg(long)]
    no_portmap: bool,
    /// Do not look for members in the local network
    #[arg(long)]
    no_lan: bool,
    /// Do not look for members in the DHT
    #[arg(long)]
    no_dht: bool,
    /// A bootstrap node of the DHT; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    pub dht_bootstrap: Vec<String>,
    /// The BitTorrent client that trackers and the DHT see: transmission-4.1, transmission-3.00, qbittorrent-4.5.2 or
    /// qbittorrent-5.2 [default: that of the last run, initially transmission-4.1]
    #[arg(long, value_name = "CLIENT")]
    disguise: Option<Disguise>,
    /// Whom to relay traffic for when they cannot reach each other directly [default: members]
    #[arg(long, value_enum)]
    relay: Option<RelayFor>,
    /// Allowed paths to members: quic, tcp, relay; repeated or separated by commas [default: all]. `--paths relay` hides
    /// your address from members: traffic with them goes only through the relays that the channels' files name
    #[arg(long, value_name = "PATH", value_delimiter = ',', value_enum)]
    pub paths: Vec<PathName>,
    /// Do not look for public relays when there are no others
    #[arg(long)]
    no_public_relays: bool,
    /// Send all traffic through this proxy: http://HOST:PORT or socks5h://HOST:PORT, with USER:PASSWORD@ before the
    /// host if it requires that
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,
    /// Log filter; overrides `RUST_LOG`: error, warn, info, debug, or target=level pairs
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Log format
    #[arg(long, value_enum)]
    log_format: Option<telemetry::Format>,
}

impl Up {
    pub(super) fn run(&self, home: &Home) -> Result<(), Failure> {
        // Logging needs the settings, and reading them may already log something.
        let config = settings::overridden(home.config()?, self)?;
        telemetry::start(&config.log, config.log_format)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new("internal", format!("cannot start: {e}")))?;
        let done = runtime.block_on(serve::serve(home, config));
        // Tasks that still run must not keep the process alive.
        runtime.shutdown_timeout(Duration::from_millis(50));
        done
    }
}
