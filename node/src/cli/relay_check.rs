//! `relay --check`: whether a relay serves, for its operator and for a container's health check.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use bitchat_actors::{
    node::{RelayCheck, check_relay, relay_peer},
    transport::{DialError, Relay},
};
use serde_json::{Value, json};

use super::{args::RelayArgs, out::Out};
use crate::{error::Failure, home::Home};

pub(super) async fn run(home: &Home, flags: &RelayArgs, out: Out) -> Result<(), Failure> {
    let wanted = flags.check.as_deref().unwrap_or_default();
    let relay = if wanted.is_empty() {
        own(home, flags)?
    } else {
        wanted
            .parse()
            .map_err(|e| Failure::new("bad_relay", format!("{wanted:?}: {e}")))?
    };
    let check = check_relay(relay)
        .await
        .map_err(|e| Failure::new("internal", e.to_string()))?;
    if check.reserved {
        return out.show(&told(relay, &check), |_| in_words(relay, &check));
    }
    Err(match (&check.quic, &check.tcp) {
        (Err(quic), Err(tcp)) => Failure::new(
            "no_relay",
            format!(
                "no relay answers at {relay} (QUIC: {quic}; TCP: {tcp}): does it run, and do firewall and router let \
                 UDP and TCP in?"
            ),
        ),
        _ => Failure::new(
            "relay_full",
            format!("{relay} answers, and gives no reservation: it may be full, or stopping"),
        ),
    })
}

/// The relay that runs in this home.
fn own(home: &Home, flags: &RelayArgs) -> Result<Relay, Failure> {
    let Some(port) = flags.port.first() else {
        return Err(Failure::new(
            "usage",
            "which relay? Give this home's with --port PORT, as it was started, or another as --check /ip4/…",
        ));
    };
    let everywhere = IpAddr::from(Ipv4Addr::LOCALHOST);
    let ip = flags.bind.iter().find(|ip| !ip.is_unspecified());
    let keys = home.relay_keys()?;
    Ok(Relay {
        address: SocketAddr::new(*ip.unwrap_or(&everywhere), *port),
        peer: relay_peer(&keys),
    })
}

fn told(relay: Relay, check: &RelayCheck) -> Value {
    let way = |way: &Result<_, DialError>| match way {
        Ok(took) => json!({"ms": milliseconds(*took)}),
        Err(error) => json!({"error": error.to_string()}),
    };
    json!({
        "relay": relay.to_string(),
        "quic": way(&check.quic),
        "tcp": way(&check.tcp),
    })
}

fn in_words(relay: Relay, check: &RelayCheck) -> String {
    let way = |way: &Result<_, DialError>| match way {
        Ok(took) => format!("connected in {:.1} ms", milliseconds(*took)),
        Err(error) => error.to_string(),
    };
    format!(
        "{relay} serves\n  QUIC  {}\n  TCP   {}",
        way(&check.quic),
        way(&check.tcp)
    )
}

fn milliseconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 10_000.0).round() / 10.0
}
