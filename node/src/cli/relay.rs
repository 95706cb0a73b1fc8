//! `relay`: a node that only carries what others cannot send each other directly.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use axum::{Router, http::header, response::IntoResponse, routing::get};
use bitchat_actors::{
    node::{Announce, RelayBuilder, RelayNode},
    relay::RelayLimits,
};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{args::RelayArgs, out::line};
use crate::{api::server, config, error::Failure, home::Home, os::Signals, telemetry};

/// How long circuits may go on after the first signal. Clients look for another relay at once.
const DRAIN: Duration = Duration::from_secs(10);
/// How long to say how it does.
const TELL: Duration = Duration::from_secs(600);

pub(super) fn run(home: &Home, flags: &RelayArgs) -> Result<(), Failure> {
    let filter = flags.log.clone().or_else(|| {
        let set = std::env::var("RUST_LOG").ok();
        set.filter(|filter| !filter.is_empty())
    });
    telemetry::start(
        filter.as_deref().unwrap_or("warn,bitchat=info"),
        flags.log_format.unwrap_or_default(),
    )?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("internal", format!("cannot start: {e}")))?;
    let done = runtime.block_on(serve(home, flags));
    runtime.shutdown_timeout(Duration::from_millis(50));
    done
}

/// The line that says that it listens.
#[derive(Serialize)]
struct Ready {
    event: &'static str,
    peer_id: String,
    port: u16,
    /// As channel files name it, where addresses to listen on were given.
    relays: Vec<String>,
    metrics: Option<String>,
}

async fn serve(home: &Home, flags: &RelayArgs) -> Result<(), Failure> {
    let mut signals = Signals::listen()
        .map_err(|e| Failure::new("internal", format!("cannot listen for signals: {e}")))?;
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
            () = tokio::time::sleep(TELL) => {
                let (reservations, circuits) = relay.serves();
                tracing::info!(reservations, circuits, "serving");
            }
        }
    }
    let (reservations, circuits) = relay.serves();
    tracing::info!(
        reservations,
        circuits,
        "stopping when circuits have ended, in 10 s at the latest; a second signal stops at once"
    );
    tokio::select! {
        () = relay.stop(DRAIN) => {}
        () = signals.next() => relay.stop(Duration::ZERO).await,
    }
    stop.cancel();
    Ok(())
}

fn builder(home: &Home, flags: &RelayArgs) -> Result<RelayBuilder, Failure> {
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

/// Serves the metrics, and nothing else.
async fn serve_metrics(
    address: SocketAddr,
    relay: RelayNode,
    stop: CancellationToken,
) -> Result<SocketAddr, Failure> {
    let failed = |e: std::io::Error| {
        Failure::new(
            "listen",
            format!("the metrics cannot be served at {address}: {e}"),
        )
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let metrics = move || async move {
        let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        ([(header::CONTENT_TYPE, kind)], relay.metrics().encode()).into_response()
    };
    let router = Router::new().route("/metrics", get(metrics));
    tokio::spawn(server::serve(listener, router, stop));
    Ok(address)
}
