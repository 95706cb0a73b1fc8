//! How connections come about: strangers are judged and answered, addresses are dialled.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bitchat_wire::link::TlsSide;
use libp2p_identity::PeerId;
use quinn::{ConnectionError, Endpoint, Incoming};
use tokio::{sync::watch, time::timeout};

use super::{
    Connection, DialError,
    admission::{Ticket, Verdict},
    connection::{in_words, live},
    quic,
    registry::Msg,
    shared::Shared,
    tls::{Mismatch, MismatchCell},
};
use crate::kit::{Addr, Guard, Scope};

/// A handshake that takes longer is given up, whoever began it.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a dial stands, for all who wait for it.
pub(super) type DialState = Option<Result<Connection, DialError>>;

/// Listens on one socket for as long as it works.
pub(super) async fn listen(
    endpoint: Endpoint,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
    scope: Scope,
) {
    while let Some(incoming) = endpoint.accept().await {
        let address = incoming.remote_address();
        if shared.is_barred(None, &address) {
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

async fn answer(incoming: Incoming, mut ticket: Ticket, shared: Arc<Shared>, registry: Addr<Msg>) {
    let Ok(connecting) = incoming.accept() else {
        shared.metrics.incoming("failed");
        return;
    };
    let Ok(Ok(quic)) = timeout(HANDSHAKE_TIMEOUT, connecting).await else {
        shared.metrics.incoming("failed");
        return;
    };
    // Dropping what is not registered closes it.
    let Ok(connection) = Connection::quic(quic, TlsSide::Server, &shared) else {
        shared.metrics.incoming("failed");
        return;
    };
    if !register(&connection, &registry).await {
        shared.metrics.incoming("refused");
        return;
    }
    shared.metrics.incoming("ok");
    ticket.opened();
    live(connection, shared, Some(ticket)).await;
}

async fn register(connection: &Connection, registry: &Addr<Msg>) -> bool {
    let admitted = registry
        .ask(|reply| Msg::Register {
            connection: connection.clone(),
            reply,
        })
        .await
        .unwrap_or(false);
    if !admitted {
        connection.close();
    }
    admitted
}

/// Dials, tells all who wait, and lives the connection if there is one. Given up when nobody waits any more.
pub(super) async fn dial(
    endpoint: Endpoint,
    address: SocketAddr,
    expected: Option<PeerId>,
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
    let handshake = timeout(
        HANDSHAKE_TIMEOUT,
        connect(&endpoint, address, expected, &shared),
    );
    let end = tokio::select! {
        biased;
        () = waiting.closed() => return,
        end = handshake => end.unwrap_or(Err(DialError::TimedOut)),
    };
    // The endpoint must not be kept from closing by the connection's life.
    drop(endpoint);
    let end = match end {
        Ok(connection) if register(&connection, &registry).await => Ok(connection),
        Ok(refused) if shared.is_barred(Some(&refused.peer()), &address) => Err(DialError::Barred),
        Ok(_) => Err(DialError::Busy),
        Err(error) => Err(error),
    };
    shared.metrics.dialled(end.is_ok());
    waiting.send_replace(Some(end.clone()));
    drop((unanswered, waiting));
    if let Ok(connection) = end {
        live(connection, shared, None).await;
    }
}

async fn connect(
    endpoint: &Endpoint,
    address: SocketAddr,
    expected: Option<PeerId>,
    shared: &Shared,
) -> Result<Connection, DialError> {
    let refused = |error: &dyn std::fmt::Display| DialError::Refused(error.to_string());
    let mismatch = MismatchCell::default();
    let config = quic::client_config(&shared.tls, expected, Arc::clone(&mismatch))
        .map_err(|e| refused(&e))?;
    // An address for a name: none is sent to the server.
    let connecting = endpoint
        .connect_with(config, address, &address.ip().to_string())
        .map_err(|e| match e {
            quinn::ConnectError::EndpointStopping => DialError::Stopped,
            e => refused(&e),
        })?;
    let quic = connecting.await.map_err(|e| match (mismatch.get(), e) {
        (Some(Mismatch::Ourselves), _) => DialError::Ourselves,
        (Some(Mismatch::OtherPeer), _) => DialError::OtherPeer,
        (None, ConnectionError::TimedOut) => DialError::TimedOut,
        (None, ConnectionError::LocallyClosed) => DialError::Stopped,
        (None, e) => DialError::Refused(in_words(&e)),
    })?;
    Connection::quic(quic, TlsSide::Client, shared).map_err(|e| refused(&e))
}
