//! Punching over TCP: both ends dial each other at one moment, from their listening ports and to where the other's
//! dials are seen (`docs/PROTOCOL.md`, punching).
//!
//! Each `SYN` opens the sender's NAT for the other's, whichever arrives first. It meets a socket that dials there, and
//! the kernel makes one connection of both; or, if nothing shields the other end, its listener. The received bytes show
//! which end is the TLS client (`crossed`), so neither needs to know how the connection came about.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bitchat_wire::control::MAX_PUNCH_TCP;
use bytes::Bytes;
use libp2p_identity::PeerId;
use tokio::time::{sleep, timeout};

use super::race::{DIALS, first};
use crate::{
    kit::Addr,
    transport::{
        address::{
            PathKind,
            multiaddr::{from_observed, observed},
            network::{is_local, is_plausible},
        },
        connection::Connection,
        msg::Msg,
        shared::Shared,
        tcp::{PortDialError, connect_from_our_port},
    },
};

/// How long UDP is tried alone where it may work.
const UDP_FIRST: Duration = Duration::from_millis(500);
/// Repeated dials of an address that refused: a NAT may refuse that did not expect the other's first packet.
const MOST_AGAIN: u32 = 2;
/// The pause before each.
const PAUSE: Duration = Duration::from_millis(150);

/// Where others see our TCP dials come from, one address per family.
pub(crate) fn ours(shared: &Shared) -> Vec<SocketAddr> {
    if !shared.paths.tcp {
        return Vec::new();
    }
    let ports = shared.local.iter();
    shared.nat(|nat| {
        ports
            .filter_map(|local| nat.tcp(local.is_ipv6(), local.port()))
            .filter(|at| !is_local(at.ip()))
            .take(MAX_PUNCH_TCP)
            .collect()
    })
}

/// The same addresses as multiaddrs, as sent in punch messages.
pub(crate) fn named(addresses: &[SocketAddr]) -> Vec<Bytes> {
    let all = addresses.iter();
    all.map(|at| observed(*at, PathKind::Tcp).into()).collect()
}

/// Which of the other end's addresses to dial: one per family in which we have named an address ourselves, and none on
/// a local network, where no NAT is in between.
pub(crate) fn targets(ours: &[SocketAddr], theirs: &[Bytes]) -> Vec<SocketAddr> {
    let mut targets: Vec<SocketAddr> = Vec::with_capacity(MAX_PUNCH_TCP);
    for bytes in theirs {
        let Some((at, PathKind::Tcp)) = from_observed(bytes) else {
            continue;
        };
        let family = |other: &SocketAddr| other.is_ipv4() == at.is_ipv4();
        if is_plausible(at)
            && !is_local(at.ip())
            && ours.iter().any(family)
            && !targets.iter().any(family)
            && !ours.contains(&at)
        {
            targets.push(at);
        }
    }
    targets
}

/// Dials them until one answers: `at_once`, or after UDP has had its time. Has no time limit of its own.
pub(crate) async fn meet(
    peer: PeerId,
    targets: Vec<SocketAddr>,
    at_once: bool,
    shared: &Arc<Shared>,
) -> Option<Connection> {
    wait(&targets, at_once).await?;
    dial(peer, targets, shared).await
}

/// Lets UDP have its time, unless it is hopeless; `None` if there is nothing to dial.
async fn wait(targets: &[SocketAddr], at_once: bool) -> Option<()> {
    if targets.is_empty() {
        return None;
    }
    if !at_once {
        sleep(UDP_FIRST).await;
    }
    Some(())
}

async fn dial(peer: PeerId, targets: Vec<SocketAddr>, shared: &Arc<Shared>) -> Option<Connection> {
    first(targets.into_iter().map(|at| dial_one(peer, at, shared))).await
}

/// The other end's part: does nothing if a direct path has come up meanwhile.
pub(crate) async fn answer(
    peer: PeerId,
    targets: Vec<SocketAddr>,
    at_once: bool,
    shared: &Arc<Shared>,
    registry: &Addr<Msg>,
) -> Option<Connection> {
    wait(&targets, at_once).await?;
    let open = registry.ask(Msg::Connections).await.ok()?;
    let direct = |one: &Connection| one.peer() == peer && one.path() != PathKind::Relayed;
    if open.iter().any(direct) {
        return None;
    }
    timeout(DIALS, dial(peer, targets, shared))
        .await
        .ok()
        .flatten()
}

/// Dials one address. The kernel sends a first packet and repeats it after a second, and no more within the time limit.
async fn dial_one(peer: PeerId, at: SocketAddr, shared: &Arc<Shared>) -> Option<Connection> {
    let mut again = 0;
    loop {
        match connect_from_our_port(at, Some(peer), shared).await {
            Ok(connection) => return Some(connection),
            // Another of our dials is in progress; try again when it has ended.
            Err(PortDialError::Taken) => {}
            Err(PortDialError::Refused) if again < MOST_AGAIN => again += 1,
            Err(error) => {
                tracing::debug!(?error, address = %at, "no path over TCP");
                return None;
            }
        }
        sleep(PAUSE).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::transport::to_multiaddr;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn only_public_addresses_of_a_family_of_ours_are_dialled() {
        let ours = [at("9.9.9.9:7001")];
        let encoded = |all: &[&str]| named(&all.iter().map(|one| at(one)).collect::<Vec<_>>());
        let dialled = |all: &[&str]| targets(&ours, &encoded(all));
        assert_eq!(dialled(&["8.8.8.8:7002"]), [at("8.8.8.8:7002")]);
        assert_eq!(
            dialled(&["8.8.8.8:7002", "8.8.4.4:7003"]),
            [at("8.8.8.8:7002")],
            "one per family"
        );
        for never in [
            "127.0.0.1:22",
            "192.168.1.1:80",
            "10.0.0.1:1",
            "224.0.0.1:1",
            "8.8.8.8:0",
            "[2a00::1]:7002",
            "9.9.9.9:7001",
        ] {
            assert_eq!(dialled(&[never]), [], "{never}");
        }
        assert_eq!(targets(&[], &encoded(&["8.8.8.8:7002"])), []);
        let udp = Bytes::from(to_multiaddr(at("8.8.8.8:7002")));
        assert_eq!(targets(&ours, &[udp]), [], "a UDP address");
    }

    proptest! {
        #[test]
        fn nothing_makes_us_dial_at_home_or_much(
            theirs in proptest::collection::vec(any::<(std::net::IpAddr, u16)>(), 0..6),
            junk in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let ours = [at("9.9.9.9:7001"), at("[2a00::1]:7001")];
            let theirs: Vec<SocketAddr> = theirs.into_iter().map(SocketAddr::from).collect();
            let mut encoded = named(&theirs);
            encoded.push(junk.into());
            let dialled = targets(&ours, &encoded);
            prop_assert!(dialled.len() <= MAX_PUNCH_TCP);
            for one in &dialled {
                prop_assert!(!is_local(one.ip()) && is_plausible(*one));
            }
        }
    }
}
