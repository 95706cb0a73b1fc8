//! The exchange of a punch request and its answer, and the dials that follow.
//!
//! One side sends a request, which is forwarded to the other. That side at once sends datagrams to where the requester
//! is seen, and answers. By the time the answer arrives, its NAT lets the requester in, who dials over QUIC. So only
//! one side dials, and no clocks need to agree. A side whose NAT uses another port for each target cannot be reached
//! that way, and dials itself. Where UDP does not work, both dial over TCP at that moment (`tcp`).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bitchat_wire::{
    control::MAX_PUNCH_ADDRESSES,
    proto::{self, control::Kind, punch::Nat as WireNat},
};
use futures_util::FutureExt;
use libp2p_identity::PeerId;
use rand::RngExt;
use tokio::time::{sleep, timeout};

use super::{
    race::{DIALS, first},
    tcp,
};
use crate::{
    kit::{Addr, Guard},
    transport::{
        address::{
            multiaddr::{from_multiaddr, to_multiaddr},
            network::{is_local, is_plausible},
        },
        api::DialError,
        connection::Connection,
        msg::{Msg, register},
        quic::connect,
        shared::{Shared, pending::Answer},
        socket::{PUNCH_LEN, Udp},
    },
};

/// Time limit for an answer, which is forwarded twice.
const ANSWER: Duration = Duration::from_millis(1_000);
/// The longest assumed one-way delay to the other side.
const LONGEST_DELAY: Duration = Duration::from_millis(300);
/// How long to wait for the other side's dial where ours cannot succeed.
const GRACE: Duration = Duration::from_millis(600);
/// When datagrams are sent, counted from the request: the first may arrive before the other side has opened its NAT.
const PUNCH_TIMES_MS: [u64; 6] = [0, 40, 120, 300, 700, 1_500];
/// Most addresses of one peer that are punched or dialled.
const MOST_TARGETS: usize = 4;

/// A datagram that opens a NAT and reveals nothing.
pub(crate) fn datagram() -> [u8; PUNCH_LEN] {
    let mut bytes: [u8; PUNCH_LEN] = rand::rng().random();
    // Neither QUIC nor text, nor a tracker's reply.
    bytes[0] = bytes[0] & 0x3f | 0x01;
    bytes
}

/// Whether dialling is pointless: one side's port differs for each target, and the other side lets in only known
/// addresses.
fn is_hopeless(ours: WireNat, theirs: WireNat) -> bool {
    use WireNat::{Fixed, NoUdp, Symmetric};
    matches!(
        (ours, theirs),
        (NoUdp, _) | (_, NoUdp) | (Symmetric, Symmetric | Fixed) | (Fixed, Symmetric)
    )
}

/// The route of a request: forwarded to its peer by another, or sent straight to the other end.
pub(crate) struct Via {
    pub(crate) connection: Connection,
    pub(crate) carried: bool,
}

impl Via {
    /// The approximate one-way delay to the other end. A forwarded message crosses two routes, assumed to be alike.
    fn one_way(&self) -> Duration {
        let rtt = self.connection.rtt();
        let way = if self.carried { rtt } else { rtt / 2 };
        way.min(LONGEST_DELAY)
    }

    fn send(&self, peer: PeerId, punch: proto::Punch) {
        let punch = Some(punch);
        self.connection.flow().send_if_room(if self.carried {
            let peer = peer.to_bytes().into();
            Kind::PunchTo(proto::PunchTo { peer, punch })
        } else {
            Kind::PunchFrom(proto::PunchFrom {
                punch,
                ..proto::PunchFrom::default()
            })
        });
    }
}

/// Our NAT and addresses, as sent in punch messages; to a neighbour also those on the local network.
fn ours(shared: &Shared, neighbour: bool) -> (WireNat, Vec<bytes::Bytes>) {
    if !shared.paths.quic {
        return (WireNat::NoUdp, Vec::new());
    }
    shared.nat(|nat| {
        let view = nat.view(false);
        let six = nat.view(true);
        let external = [view, six].into_iter().filter_map(|view| view.external);
        let port = shared.local.first().map_or(0, SocketAddr::port);
        let home = nat.locals().filter(|ip| neighbour && is_local(*ip));
        let home = home.map(|ip| SocketAddr::new(ip, port));
        let all = external.filter(|at| at.port() != 0).chain(home);
        let all = all.map(|at| to_multiaddr(at).into());
        (view.kind.wire(), all.take(MAX_PUNCH_ADDRESSES).collect())
    })
}

/// Where the other end may be dialled. Local addresses are believed only from a neighbour, which is seen at our own IP.
fn targets(seen: Option<SocketAddr>, punch: &proto::Punch, shared: &Shared) -> Vec<SocketAddr> {
    let neighbour = seen.is_some_and(|at| shared.nat(|nat| nat.is_ours(at.ip())));
    let named = punch.addresses.iter().filter_map(|at| from_multiaddr(at));
    let mut all = Vec::new();
    for at in named
        .filter(|at| neighbour || !is_local(at.ip()))
        .chain(seen)
    {
        if is_plausible(at) && shared.local_for(at.ip()).is_some() && !all.contains(&at) {
            all.push(at);
        }
    }
    // Local addresses first: they are the nearest.
    all.sort_by_key(|at| !is_local(at.ip()));
    all.truncate(MOST_TARGETS);
    all
}

/// Sends a request and dials once it is answered, with `tcp` over TCP as well. Fails with [`DialError::TimedOut`] if
/// there was no answer, and with [`DialError::NeedsRelay`] if there is no direct path. Takes less than 3 s.
pub(crate) async fn attempt(
    peer: PeerId,
    address: Option<SocketAddr>,
    via: Via,
    tcp: bool,
    shared: Arc<Shared>,
) -> Result<Connection, DialError> {
    let (id, answer) = shared.punches.begin(peer).ok_or(DialError::Busy)?;
    let _forget = Guard::new({
        let shared = Arc::clone(&shared);
        move || shared.punches.forget(id)
    });
    let neighbour = address.is_some_and(|at| shared.nat(|nat| nat.is_ours(at.ip())));
    let (nat, addresses) = ours(&shared, neighbour);
    let tcp = if tcp { tcp::ours(&shared) } else { Vec::new() };
    let request = proto::Punch {
        id,
        answer: false,
        nat: nat.into(),
        addresses,
        tcp_addresses: tcp::named(&tcp),
    };
    via.send(peer, request);
    let answer = timeout(ANSWER, answer).await;
    let Ok(Ok(answer)) = answer else {
        return Err(DialError::TimedOut);
    };
    let by_tcp = tcp::targets(&tcp, &answer.tcp);
    tracing::debug!(?nat, theirs = ?answer.nat, targets = ?answer.targets, ?by_tcp, "punching");
    let hopeless = is_hopeless(nat, answer.nat);
    if hopeless && by_tcp.is_empty() {
        sleep(GRACE).await;
        return Err(DialError::NeedsRelay);
    }
    let by_udp = if hopeless { Vec::new() } else { answer.targets };
    let (by_udp, by_tcp) = (
        any(peer, by_udp, &shared),
        tcp::meet(peer, by_tcp, hopeless, &shared),
    );
    match timeout(DIALS, first([by_udp.boxed(), by_tcp.boxed()])).await {
        Ok(Some(connection)) => Ok(connection),
        Ok(None) | Err(_) => Err(DialError::NeedsRelay),
    }
}

/// The first connection to that peer at any of these addresses.
async fn any(peer: PeerId, targets: Vec<SocketAddr>, shared: &Arc<Shared>) -> Option<Connection> {
    let dials = targets.into_iter().map(|at| {
        let shared = Arc::clone(shared);
        async move { connect(at, Some(peer), shared).await.ok() }
    });
    first(dials).await
}

/// Handles a request or an answer for us from `peer`. Returns the task that a request calls for.
pub(crate) fn received(
    via: Via,
    peer: PeerId,
    seen: Option<SocketAddr>,
    punch: &proto::Punch,
    shared: &Arc<Shared>,
    registry: &Addr<Msg>,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    let targets = targets(seen, punch, shared);
    if punch.answer {
        let answer = Answer {
            nat: punch.nat(),
            targets,
            tcp: punch.tcp_addresses.clone(),
        };
        shared.punches.answered(punch.id, peer, answer);
        return None;
    }
    let neighbour = seen.is_some_and(|at| shared.nat(|nat| nat.is_ours(at.ip())));
    let (nat, addresses) = ours(shared, neighbour);
    // A peer that names no TCP addresses does not dial over TCP.
    let tcp = if punch.tcp_addresses.is_empty() {
        Vec::new()
    } else {
        tcp::ours(shared)
    };
    let answer = proto::Punch {
        id: punch.id,
        answer: true,
        nat: nat.into(),
        addresses,
        tcp_addresses: tcp::named(&tcp),
    };
    let moment = via.one_way();
    via.send(peer, answer);
    let theirs = punch.nat();
    let by_tcp = tcp::targets(&tcp, &punch.tcp_addresses);
    let hopeless = is_hopeless(nat, theirs);
    let we_dial =
        nat == WireNat::Symmetric && !matches!(theirs, WireNat::Symmetric | WireNat::NoUdp);
    let (shared, registry) = (Arc::clone(shared), registry.clone());
    Some(async move {
        let by_udp = async {
            if !we_dial {
                send_punches(&shared.udp, &targets).await;
                return;
            }
            let dialled = timeout(DIALS, any(peer, targets, &shared)).await;
            if let Ok(Some(connection)) = dialled {
                register(&connection, None, &registry).await;
            }
        };
        let by_tcp = async {
            sleep(moment).await;
            if let Some(connection) = tcp::answer(peer, by_tcp, hopeless, &shared, &registry).await
            {
                register(&connection, None, &registry).await;
            }
        };
        tokio::join!(by_udp, by_tcp);
    })
}

async fn send_punches(udp: &Udp, targets: &[SocketAddr]) {
    let begin = tokio::time::Instant::now();
    for at in PUNCH_TIMES_MS {
        tokio::time::sleep_until(begin + Duration::from_millis(at)).await;
        for target in targets {
            // A lost datagram is followed by others.
            let _ = udp.try_send_to(*target, &datagram());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::transport::{Class, classify};

    #[test]
    fn a_punch_is_taken_for_one() {
        for _ in 0..1_000 {
            assert_eq!(classify(&datagram()), Class::Punch);
        }
    }

    #[test]
    fn only_what_can_succeed_is_tried() {
        use WireNat::{Fixed, NoUdp, Symmetric, Unknown};
        for (ours, theirs, hopeless) in [
            (Fixed, Fixed, false),
            (Fixed, Unknown, false),
            (Unknown, Unknown, false),
            (Symmetric, Unknown, false),
            (Unknown, Symmetric, false),
            (Symmetric, Fixed, true),
            (Symmetric, Symmetric, true),
            (Unknown, NoUdp, true),
        ] {
            assert_eq!(is_hopeless(ours, theirs), hopeless, "{ours:?} {theirs:?}");
            assert_eq!(is_hopeless(theirs, ours), hopeless, "{theirs:?} {ours:?}");
        }
    }
}
