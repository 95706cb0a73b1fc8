//! A relay's run: start, serve, stop.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{Router, http::header, response::IntoResponse, routing::get};
use bitchat_actors::{
    node::{Announce, RelayBuilder, RelayNode},
    settings::RelayLimits,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Relay;
use crate::{
    api::{server, status::OPEN_METRICS},
    cli::out::line,
    config,
    error::Failure,
    home::Home,
    os::Signals,
};

/// How long circuits may continue after the first signal. Clients look for another relay at once.
const DRAIN: Duration = Duration::from_secs(10);
/// Interval of the log line with the number of reservations and circuits.
const REPORT: Duration = Duration::from_secs(600);

/// The line that says that the relay is listening.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    peer_id: String,
    port: u16,
    /// The relay's multiaddrs for channel files; empty unless its addresses are known from the flags.
    relays: Vec<String>,
    metrics: Option<String>,
}

/// Runs the relay until a signal.
pub(super) async fn serve(home: &Home, flags: &Relay) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    home.make()?;
    // Held to the end.
    let _lock = home.lock()?;
    let relay = builder(home, flags)?.start().await?;
    let stop = CancellationToken::new();
    let metrics = match flags.metrics {
        Some(address) => Some(serve_metrics(address, relay.clone(), stop.clone()).await?),
        None => None,
    };
    let at = |ip: &IpAddr| relay.at(*ip).to_string();
    let public = flags.public_ip.iter().chain(&flags.bind);
    let ready = Ready {
        event: "ready",
        peer_id: relay.peer_id().to_string(),
        port: relay.port(),
        relays: public.filter(|ip| !ip.is_unspecified()).map(at).collect(),
        metrics: metrics.map(|address| format!("http://{address}/metrics")),
    };
    let text =
        serde_json::to_string(&ready).map_err(|e| Failure::new("internal", e.to_string()))?;
    match line(&text) {
        // A closed standard output is no reason to stop; a full disk is.
        Err(failure) if failure.code != "closed_output" => {
            relay.stop(Duration::ZERO).await;
            return Err(failure);
        }
        _ => {}
    }
    loop {
        tokio::select! {
            () = signals.next() => break,
            () = tokio::time::sleep(REPORT) => {
                let (reservations, circuits) = relay.serves();
                tracing::info!(reservations, circuits, "serving");
            }
        }
    }
    let (reservations, circuits) = relay.serves();
    tracing::info!(
        reservations,
        circuits,
        "stopping once all circuits have ended, within 10 s; a second signal stops at once"
    );
    tokio::select! {
        () = relay.stop(DRAIN) => {}
        () = signals.next() => relay.stop(Duration::ZERO).await,
    }
    stop.cancel();
    Ok(())
}

/// The relay with its settings, not started yet.
fn builder(home: &Home, flags: &Relay) -> Result<RelayBuilder, Failure> {
    let mut ports = flags.port.iter().copied();
    let builder = RelayNode::builder(ports.next().unwrap_or(0), home.relay_keys()?);
    let everywhere: Vec<IpAddr> = vec![[0; 4].into(), [0_u16; 8].into()];
    let bind = if flags.bind.is_empty() {
        &everywhere
    } else {
        &flags.bind
    };
    let extra = ports.flat_map(|port| bind.iter().map(move |ip| SocketAddr::new(*ip, port)));
    let mut announce = None;
    if flags.announce {
        config::check_nodes(&flags.dht_bootstrap)?;
        announce = Some(Announce {
            trackers: flags.tracker.clone(),
            dht: !flags.no_dht,
            dht_bootstrap: flags.dht_bootstrap.clone(),
        });
    }
    let mut limits = RelayLimits::PUBLIC;
    let set = |limit: &mut usize, flag: Option<usize>| *limit = flag.unwrap_or(*limit);
    set(&mut limits.reservations, flags.reservations);
    set(&mut limits.circuits, flags.circuits);
    set(&mut limits.reservations_an_address, flags.per_address);
    set(&mut limits.circuits_an_address, flags.per_address);
    set(&mut limits.circuits_a_peer, flags.per_peer);
    limits.bytes_a_second = flags.rate.unwrap_or(limits.bytes_a_second);
    limits.circuit_bytes = flags.circuit_bytes.unwrap_or(limits.circuit_bytes);
    if let Some(seconds) = flags.circuit_seconds {
        limits.circuit_time = Duration::from_secs(seconds);
    }
    Ok(builder
        .bind(flags.bind.iter().copied())
        .extra(extra)
        .limits(limits)
        .announce(announce))
}

/// Serves the metrics and nothing else; returns the address.
async fn serve_metrics(
    address: SocketAddr,
    relay: RelayNode,
    stop: CancellationToken,
) -> Result<SocketAddr, Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(
            "listen",
            format!(
                "cannot serve metrics at {address}: {e}; choose another address with --metrics"
            ),
        )
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let metrics = move || async move {
        let headers = [(header::CONTENT_TYPE, OPEN_METRICS)];
        (headers, relay.metrics().encode()).into_response()
    };
    let router = Router::new().route("/metrics", get(metrics));
    tokio::spawn(server::serve(listener, router, stop));
    Ok(address)
}
