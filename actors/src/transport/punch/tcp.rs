//! The way through NATs by TCP: both dial each other at one moment, from the port on which they listen and to where the
//! other's dials are seen (`docs/PROTOCOL.md`, punching).
//!
//! Each `SYN` opens the sender's NAT for the other's, whichever comes first. It meets a socket that dials there, and the
//! kernel makes one connection of both; or, where nothing stands before the other end, its listener. Who is the TLS client
//! shows in what comes (`crossed`), so neither needs to know how it went.

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
        tcp::{Knock, connect_from_our_port},
    },
};

/// How long UDP is tried alone, where it may work.
const UDP_FIRST: Duration = Duration::from_millis(500);
/// How often one address is dialled again that has refused: a NAT may do so that did not expect the other's first.
const MOST_AGAIN: u32 = 2;
/// The pause before that.
const PAUSE: Duration = Duration::from_millis(150);

/// Where others see us dial from by TCP, one address a family.
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

/// The same as a punch says it.
pub(crate) fn named(addresses: &[SocketAddr]) -> Vec<Bytes> {
    let all = addresses.iter();
    all.map(|at| observed(*at, PathKind::Tcp).into()).collect()
}

/// Which of theirs are dialled: one of each family in which we have named an address ourselves, and none on a local
/// network, where no NAT stands between.
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

/// Dials them, `at_once` or when UDP has had its time, until one answers. Ends when its caller ends it.
pub(crate) async fn meet(
    peer: PeerId,
    targets: Vec<SocketAddr>,
    at_once: bool,
    shared: &Arc<Shared>,
) -> Option<Connection> {
    wait(&targets, at_once).await?;
    dial(peer, targets, shared).await
}

/// For UDP to have its time, unless it is hopeless; `None`: there is nothing to wait for.
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
    first(targets.into_iter().map(|at| knock(peer, at, shared))).await
}

/// The other end's part of it: nothing, if a direct way has come about meanwhile.
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

/// Dials one address. The kernel sends its first packet and repeats it after a second, and no more within the time.
async fn knock(peer: PeerId, at: SocketAddr, shared: &Arc<Shared>) -> Option<Connection> {
    let mut again = 0;
    loop {
        match connect_from_our_port(at, Some(peer), shared).await {
            Ok(connection) => return Some(connection),
            // Another dial of ours is at it; when it ends, there is one more try.
            Err(Knock::Taken) => {}
            Err(Knock::Refused) if again < MOST_AGAIN => again += 1,
            Err(error) => {
                tracing::debug!(?error, address = %at, "no way by TCP");
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
        let said = |all: &[&str]| named(&all.iter().map(|one| at(one)).collect::<Vec<_>>());
        let dialled = |all: &[&str]| targets(&ours, &said(all));
        assert_eq!(dialled(&["8.8.8.8:7002"]), [at("8.8.8.8:7002")]);
        assert_eq!(
            dialled(&["8.8.8.8:7002", "8.8.4.4:7003"]),
            [at("8.8.8.8:7002")],
            "one of a family"
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
        assert_eq!(targets(&[], &said(&["8.8.8.8:7002"])), []);
        let udp = Bytes::from(to_multiaddr(at("8.8.8.8:7002")));
        assert_eq!(targets(&ours, &[udp]), [], "said to be one of UDP");
    }

    proptest! {
        #[test]
        fn nothing_makes_us_dial_at_home_or_much(
            theirs in proptest::collection::vec(any::<(std::net::IpAddr, u16)>(), 0..6),
            junk in proptest::collection::vec(any::<u8>(), 0..30),
        ) {
            let ours = [at("9.9.9.9:7001"), at("[2a00::1]:7001")];
            let theirs: Vec<SocketAddr> = theirs.into_iter().map(SocketAddr::from).collect();
            let mut said = named(&theirs);
            said.push(junk.into());
            let dialled = targets(&ours, &said);
            prop_assert!(dialled.len() <= MAX_PUNCH_TCP);
            for one in &dialled {
                prop_assert!(!is_local(one.ip()) && is_plausible(*one));
            }
        }
    }
}
