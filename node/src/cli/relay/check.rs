//! `relay --check`: checks that a relay serves, for its operator and for a container's health check.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bitchat_actors::{
    internals::transport::DialError,
    node::{RelayCheck, check_relay, relay_peer},
    settings::Relay,
};
use serde_json::{Value, json};

use super::Relay as Args;
use crate::{cli::out::Out, error::Failure, home::Home};

/// Checks the relay that the flags name.
pub(super) async fn check(home: &Home, flags: &Args, out: Out) -> Result<(), Failure> {
    let named = flags.check.as_deref().unwrap_or_default();
    let relay = if named.is_empty() {
        own(home, flags)?
    } else {
        named
            .parse()
            .map_err(|e| Failure::new("bad_relay", format!("{named:?}: {e}")))?
    };
    let check = check_relay(relay)
        .await
        .map_err(|e| Failure::new("internal", e.to_string()))?;
    if check.reserved {
        return out.show(&json(relay, &check), |_| text(relay, &check));
    }
    Err(match (&check.quic, &check.tcp) {
        (Err(quic), Err(tcp)) => Failure::new(
            "no_relay",
            format!(
                "no relay answers at {relay} (QUIC: {quic}; TCP: {tcp}): check that it is running, and that firewall \
                 and router let UDP and TCP in"
            ),
        ),
        _ => Failure::new(
            "relay_full",
            format!(
                "{relay} answers but grants no reservation: it may be full or stopping; try again later"
            ),
        ),
    })
}

/// The relay that runs in this home.
fn own(home: &Home, flags: &Args) -> Result<Relay, Failure> {
    let Some(port) = flags.port.first() else {
        return Err(Failure::new(
            "usage",
            "which relay? Name this home's with --port PORT, as it was started, or another with --check /ip4/…",
        ));
    };
    let localhost = IpAddr::from(Ipv4Addr::LOCALHOST);
    let ip = flags.bind.iter().find(|ip| !ip.is_unspecified());
    let keys = home.relay_keys()?;
    Ok(Relay {
        address: SocketAddr::new(*ip.unwrap_or(&localhost), *port),
        peer: relay_peer(&keys),
    })
}

fn json(relay: Relay, check: &RelayCheck) -> Value {
    let result = |result: &Result<_, DialError>| match result {
        Ok(took) => json!({"ms": milliseconds(*took)}),
        Err(error) => json!({"error": error.to_string()}),
    };
    json!({
        "relay": relay.to_string(),
        "quic": result(&check.quic),
        "tcp": result(&check.tcp),
    })
}

fn text(relay: Relay, check: &RelayCheck) -> String {
    let result = |result: &Result<_, DialError>| match result {
        Ok(took) => format!("connected in {:.1} ms", milliseconds(*took)),
        Err(error) => error.to_string(),
    };
    format!(
        "{relay} serves\n  QUIC  {}\n  TCP   {}",
        result(&check.quic),
        result(&check.tcp)
    )
}

fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}
