//! How connections come about: dialling addresses, accepting connections, adopting circuits.

mod accept;
mod accept_tcp;
mod adopt;
mod race;

use std::{net::SocketAddr, sync::Arc};

use futures_util::FutureExt;
use libp2p_identity::PeerId;
use tokio::{sync::watch, time::timeout};

use crate::{
    kit::{Addr, Guard},
    transport::{
        api::DialError,
        msg::{DialState, Msg, register},
        punch::{self, Via},
        shared::{HANDSHAKE_TIMEOUT, Shared},
    },
};

pub(crate) use accept::listen;
pub(crate) use accept_tcp::listen as listen_tcp;
pub(crate) use adopt::adopt;
use race::{Attempt, race};

/// Dials, registers the connection, and reports the result to all callers. Abandoned once all of them have gone.
pub(crate) async fn dial(
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
        shared.dial_timeout(),
        race(address, expected, punch, &shared, true),
    );
    let end = tokio::select! {
        biased;
        // Closed as well when the peer has connected to us instead: the registry has replied to all callers.
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

/// Tries another path to a peer whose connection is stalled. Nobody waits for the result.
pub(crate) async fn second_path(
    address: SocketAddr,
    peer: PeerId,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
) {
    // Packets that still arrive over the stalled connection prove nothing: perhaps only ours do not get through.
    let race = timeout(
        shared.dial_timeout(),
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

/// Waits for a QUIC attempt that TCP overtook: if it succeeds after all, that connection takes over.
async fn arrive(late: Option<Attempt>, peer: PeerId, registry: Addr<Msg>) {
    let Some(late) = late else { return };
    if let Ok(Ok(connection)) = timeout(HANDSHAKE_TIMEOUT, late).await
        // An address may lead to different peers over UDP and TCP.
        && connection.peer() == peer
    {
        register(&connection, None, &registry).await;
    }
}
