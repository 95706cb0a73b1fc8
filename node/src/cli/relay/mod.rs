//! `relay`: runs a relay, or checks one.

mod check;
mod serve;

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use clap::Args;

use super::out::Out;
use crate::{error::Failure, home::Home, telemetry};

const RELAY: &str = "\
When it is listening, it prints one line on standard output:
  {\"event\":\"ready\",\"peer_id\":\"12D3Koo...\",\"port\":N,\"relays\":[\"/ip4/...\"],\"metrics\":null}
The multiaddrs under `relays` go into channel files: `bitchat channel create friends --relay MULTIADDR`. The relay's
PeerId is kept in relay.key of the home. It cannot read what it carries, and logs no addresses.
SIGTERM lets circuits end, for at most 10 s; a second one stops it at once.

Examples:
  bitchat relay --port 4001 --port 443 --public-ip 203.0.113.7
  bitchat relay --port 4001 --metrics 127.0.0.1:9100 --circuits 100 --rate 1000000
  bitchat relay --port 4001 --check
  bitchat relay --check /ip4/203.0.113.7/udp/4001/quic-v1/p2p/12D3Koo...";

/// Run a relay: a node without profile and channels that carries traffic between peers who cannot reach each other directly
#[derive(Debug, Default, Args)]
#[command(after_help = RELAY)]
pub(super) struct Relay {
    /// The UDP and TCP port [default: any]; repeated, further TCP ports: some proxies allow only 443
    #[arg(long, value_name = "PORT")]
    port: Vec<u16>,
    /// An address to listen on, instead of all; may be repeated
    #[arg(long, value_name = "ADDR")]
    bind: Vec<IpAddr>,
    /// The address at which others reach it, only for the printed multiaddrs; may be repeated
    #[arg(long, value_name = "ADDR")]
    public_ip: Vec<IpAddr>,
    /// Announce it as a public relay: at the trackers given, otherwise at public ones, and in the DHT
    #[arg(long)]
    announce: bool,
    /// A tracker to announce it to; may be repeated
    #[arg(long, value_name = "URL", requires = "announce")]
    tracker: Vec<String>,
    /// Do not announce it in the DHT
    #[arg(long, requires = "announce")]
    no_dht: bool,
    /// A bootstrap node of the DHT; may be repeated
    #[arg(long, value_name = "HOST:PORT", requires = "announce")]
    dht_bootstrap: Vec<String>,
    /// The address at which to serve metrics for Prometheus, under /metrics; anyone who can reach it can read them
    #[arg(long, value_name = "ADDR:PORT")]
    metrics: Option<SocketAddr>,
    /// Check a relay over QUIC and TCP instead of running one: the one that runs in this home with that --port, or any
    /// other by its multiaddr. Exit status 1 if it grants no reservation
    #[arg(long, value_name = "RELAY", num_args = 0..=1, default_missing_value = "")]
    check: Option<String>,
    /// Reservations in total [default: 512]
    #[arg(long, value_name = "N")]
    reservations: Option<usize>,
    /// Circuits in total [default: 512]
    #[arg(long, value_name = "N")]
    circuits: Option<usize>,
    /// Reservations, and circuits, per address [default: 32]
    #[arg(long, value_name = "N")]
    per_address: Option<usize>,
    /// Circuits per peer [default: 32]
    #[arg(long, value_name = "N")]
    per_peer: Option<usize>,
    /// Bandwidth limit per circuit in bytes/s, both directions combined; 0 means unlimited [default: 2 MiB]
    #[arg(long, value_name = "BYTES")]
    rate: Option<u64>,
    /// Bytes that one circuit may carry; 0 means unlimited [default: 1 GiB]
    #[arg(long, value_name = "BYTES")]
    circuit_bytes: Option<u64>,
    /// Seconds that one circuit may last; 0 means unlimited [default: 6 hours]
    #[arg(long, value_name = "SECONDS")]
    circuit_seconds: Option<u64>,
    /// Log filter; overrides `RUST_LOG`
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Log format
    #[arg(long, value_enum)]
    log_format: Option<telemetry::Format>,
}

impl Relay {
    pub(super) fn run(&self, home: &Home, out: Out) -> Result<(), Failure> {
        if self.check.is_some() {
            super::start_log()?;
            return super::wait(check::check(home, self, out));
        }
        let filter = telemetry::filter(self.log.as_deref());
        telemetry::start(
            filter.as_deref().unwrap_or("warn,bitchat=info"),
            self.log_format.unwrap_or_default(),
        )?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::new("internal", format!("cannot start: {e}")))?;
        let done = runtime.block_on(serve::serve(home, self));
        // Tasks that still run must not keep the process alive.
        runtime.shutdown_timeout(Duration::from_millis(50));
        done
    }
}
