//! How connections come about: strangers are judged and answered, addresses are dialled.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bitchat_wire::link::TlsSide;
use futures_util::{FutureExt, future::BoxFuture};
use libp2p_identity::PeerId;
use quinn::{ConnectionError, Endpoint, Incoming};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    Connection, DialError,
    admission::{Ticket, Verdict},
    connection::in_words,
    msg::{DialState, Msg, register},
    network::is_local,
    punch::{self, Via},
    quic,
    shared::Shared,
    tcp,
    tls::{Mismatch, MismatchCell},
};
use crate::kit::{Addr, Guard, Scope};

/// A handshake that takes longer is given up, whoever began it.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The same through a proxy, behind which may be Tor.
pub(super) const PROXIED_TIMEOUT: Duration = Duration::from_secs(40);

/// How long after a sign that QUIC gets through: the sign may have been about something else.
const SIGN_HEAD_START: Duration = Duration::from_secs(4);

/// Listens on one socket for as long as it works.
pub(super) async fn listen(
    endpoint: Endpoint,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
    scope: Scope,
) {
    while let Some(incoming) = endpoint.accept().await {
        let address = incoming.remote_address();
        if shared.is_barred(None, Some(&address)) {
            shared.metrics.incoming("barred");
            incoming.ignore();
            continue;
        }
        let proven = incoming.remote_address_validated();
        match shared.admission.judge(address.ip(), proven) {
            Verdict::Accept(ticket) => {
                let (shared, registry) = (Arc::clone(&shared), registry.clone());
                scope.transient(
                    tracing::debug_span!("connection"),
                    Box::pin(answer(incoming, ticket, shared, registry)),
                );
            }
            Verdict::Retry => {
                shared.metrics.incoming("retry");
                // Fails only for one that has answered a Retry, and those get other verdicts.
                let _ = incoming.retry();
            }
            Verdict::Refuse => {
                shared.metrics.incoming("refused");
                // Who may have forged its address gets no packet sent there.
                if proven {
                    incoming.refuse();
                } else {
                    incoming.ignore();
                }
            }
        }
    }
    // Not at a stop, which ends this task first: the socket is broken, and the registry with it.
    let _ = registry.send(Msg::SocketLost).await;
}

async fn answer(incoming: Incoming, ticket: Ticket, shared: Arc<Shared>, registry: Addr<Msg>) {
    let (from, unasked) = (
        incoming.remote_address(),
        shared.sorter.is_unasked(incoming.remote_address()),
    );
    let accepted = accept(incoming, &shared).await;
    if accepted.is_some() && unasked && !is_local(from.ip()) {
        shared.nat(|nat| nat.reached(from.is_ipv6()));
    }
    welcome(accepted, ticket, shared, registry).await;
}

async fn accept(incoming: Incoming, shared: &Shared) -> Option<Connection> {
    let connecting = incoming.accept().ok()?;
    let quic = timeout(HANDSHAKE_TIMEOUT, connecting).await.ok()?.ok()?;
    // Dropping what is not registered closes it.
    Connection::quic(quic, TlsSide::Server, shared).ok()
}

/// Registers what came of a stranger's handshake, if anything did.
pub(super) async fn welcome(
    accepted: Option<Connection>,
    ticket: Ticket,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
) {
    let Some(connection) = accepted else {
        shared.metrics.incoming("failed");
        return;
    };
    if !register(&connection, Some(ticket), &registry).await {
        shared.metrics.incoming("refused");
    }
}

/// Dials, registers what comes of it, and tells all who wait. Given up when nobody waits any more.
pub(super) async fn dial(
    address: SocketAddr,
    expected: Option<PeerId>,
    via: Option<Via>,
    waiting: watch::Sender<DialState>,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
) {
    let answer = waiting.clone();
    let unanswered = Guard::new(move || {
        answer.send_if_modified(|state| {
            let open = state.is_none();
            if open {
                *state = Some(Err(DialError::Stopped));
            }
            open
        });
    });
    let punch = via
        .zip(expected)
        .filter(|_| !shared.paths.is_hidden() && !shared.listens_nowhere());
    let punch = punch.map(|(via, peer)| {
        let shared = Arc::clone(&shared);
        punch::attempt(peer, Some(address), via, true, shared).boxed()
    });
    let race = timeout(
        limit(&shared),
        race(address, expected, punch, &shared, true),
    );
    let end = tokio::select! {
        biased;
        // Nor does anybody wait when the peer has come to us instead: the registry has told all.
        () = waiting.closed() => return,
        end = race => end.unwrap_or(Err(DialError::TimedOut)),
    };
    let (end, late) = match end {
        Ok((connection, late)) => {
            let end = if register(&connection, None, &registry).await {
                Ok(connection)
            } else if shared.is_barred(Some(&connection.peer()), Some(&address)) {
                Err(DialError::Barred)
            } else {
                Err(DialError::Busy)
            };
            let late = if end.is_ok() { late } else { None };
            (end, late)
        }
        Err(error) => (Err(error), None),
    };
    shared.metrics.dialled(end.is_ok());
    waiting.send_if_modified(|state| {
        let open = state.is_none();
        if open {
            *state = Some(end.clone());
        }
        open
    });
    drop((unanswered, waiting));
    if let Ok(connection) = end {
        arrive(late, connection.peer(), registry).await;
    }
}

/// Tries another path to a peer whose connection is stalled. Nobody waits for it.
pub(super) async fn second_path(
    address: SocketAddr,
    peer: PeerId,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
) {
    // What still comes over the stalled connection says nothing: it may be that only our packets do not get through.
    let race = timeout(
        limit(&shared),
        race(address, Some(peer), None, &shared, false),
    )
    .await;
    let end = race.unwrap_or(Err(DialError::TimedOut));
    shared.metrics.dialled(end.is_ok());
    let Ok((connection, late)) = end else { return };
    if register(&connection, None, &registry).await {
        arrive(late, peer, registry).await;
    }
}

/// QUIC that TCP was faster than: when it arrives after all, it takes over.
async fn arrive(late: Option<Attempt>, peer: PeerId, registry: Addr<Msg>) {
    let Some(late) = late else { return };
    if let Ok(Ok(connection)) = timeout(HANDSHAKE_TIMEOUT, late).await
        // An address may lead elsewhere by UDP than by TCP.
        && connection.peer() == peer
    {
        register(&connection, None, &registry).await;
    }
}

fn limit(shared: &Shared) -> Duration {
    match shared.proxy {
        Some(_) => PROXIED_TIMEOUT,
        None => HANDSHAKE_TIMEOUT,
    }
}

type Attempt = BoxFuture<'static, Result<Connection, DialError>>;

/// QUIC, and `punch` beside it, and TCP when nothing of QUIC has come back for a while. Where TCP wins, QUIC goes on. With `signs`, packets
/// from there are believed to be answers.
async fn race(
    address: SocketAddr,
    expected: Option<PeerId>,
    mut punch: Option<Attempt>,
    shared: &Arc<Shared>,
    signs: bool,
) -> Result<(Connection, Option<Attempt>), DialError> {
    if let Some(proxy) = &shared.proxy {
        let connection = tcp::connect_through(proxy, address, expected, shared).await?;
        return Ok((connection, None));
    }
    if !shared.paths.quic {
        let tcp = tcp::connect(address, expected, shared);
        let connection = tokio::select! {
            biased;
            Ok(connection) = settled(&mut punch) => connection,
            end = tcp => end?,
        };
        return Ok((connection, None));
    }
    let seen = shared.sorter.expect(address);
    let mut quic: Option<Attempt> = Some(connect(address, expected, Arc::clone(shared)).boxed());
    let mut tcp: Option<Attempt> = None;
    let mut failure = DialError::TimedOut;
    let mut head_start = std::pin::pin!(tokio::time::sleep(shared.pace.head_start()));
    let (mut answered, mut tcp_tried) = (!signs, !shared.paths.tcp);
    let mut heard = false;
    loop {
        tokio::select! {
            biased;
            end = settled(&mut quic) => match end {
                Ok(connection) => return Ok((connection, None)),
                // Only silence says nothing about what TCP would find.
                Err(DialError::TimedOut) => head_start.as_mut().reset(Instant::now()),
                Err(error) => return Err(error),
            },
            () = seen.packet(), if !answered => {
                (answered, heard) = (true, true);
                (tcp, tcp_tried) = (None, !shared.paths.tcp);
                head_start.as_mut().reset(Instant::now() + SIGN_HEAD_START);
            }
            () = &mut head_start, if !tcp_tried => {
                tcp_tried = true;
                let shared = Arc::clone(shared);
                let attempt = async move { tcp::connect(address, expected, &shared).await };
                tcp = Some(attempt.boxed());
            }
            end = settled(&mut punch) => match end {
                Ok(connection) => return Ok((connection, None)),
                // Nobody carried it there and back; what else is tried may succeed.
                Err(DialError::TimedOut | DialError::Busy) => {}
                // An answer of TCP would be there by now.
                Err(error) if !heard => return Err(error),
                Err(_) => {}
            },
            end = settled(&mut tcp) => match end {
                Ok(connection) => {
                    if quic.is_some() && !heard {
                        shared.nat(|nat| nat.only_tcp(address.ip()));
                    }
                    return Ok((connection, quic));
                }
                Err(error) => failure = error,
            },
        }
        if quic.is_none() && tcp.is_none() && punch.is_none() && tcp_tried {
            return Err(failure);
        }
    }
}

/// The end of an attempt, which is then gone; waits for ever without one.
async fn settled(attempt: &mut Option<Attempt>) -> Result<Connection, DialError> {
    let Some(running) = attempt else {
        return std::future::pending().await;
    };
    let end = running.await;
    *attempt = None;
    end
}

pub(super) async fn connect(
    address: SocketAddr,
    expected: Option<PeerId>,
    shared: Arc<Shared>,
) -> Result<Connection, DialError> {
    let refused = |error: &dyn std::fmt::Display| DialError::Refused(error.to_string());
    let mismatch = MismatchCell::default();
    let config = quic::client_config(&shared.tls, expected, Arc::clone(&mismatch))
        .map_err(|e| refused(&e))?;
    let endpoint = shared
        .endpoint_for(address.ip())
        .ok_or(DialError::Stopped)?;
    shared.sorter.asks(address);
    // An address for a name: none is sent to the server.
    let connecting = endpoint
        .connect_with(config, address, &address.ip().to_string())
        .map_err(|e| match e {
            quinn::ConnectError::EndpointStopping => DialError::Stopped,
            e => refused(&e),
        })?;
    // The endpoint must not be kept from closing by the connection's life.
    drop(endpoint);
    let begin = Instant::now();
    let quic = connecting.await.map_err(|e| match (mismatch.get(), e) {
        (Some(Mismatch::Ourselves), _) => DialError::Ourselves,
        (Some(Mismatch::OtherPeer), _) => DialError::OtherPeer,
        (None, ConnectionError::TimedOut) => DialError::TimedOut,
        (None, ConnectionError::LocallyClosed) => DialError::Stopped,
        (None, e) => DialError::Refused(in_words(&e)),
    })?;
    shared.pace.took(begin.elapsed());
    Connection::quic(quic, TlsSide::Client, &shared).map_err(|e| refused(&e))
}
