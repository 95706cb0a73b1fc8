//! Accepting QUIC connections.

use std::sync::Arc;

use quinn::{Endpoint, Incoming};

use crate::{
    kit::{Addr, Scope},
    transport::{
        address::network::is_local,
        admission::{Ticket, Verdict},
        connection::Connection,
        msg::{Msg, register},
        quic,
        shared::Shared,
    },
};

/// Accepts connections on one endpoint until it fails.
pub(crate) async fn listen(
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
                // Fails only after a Retry was answered, and then the verdict differs.
                let _ = incoming.retry();
            }
            Verdict::Refuse => {
                shared.metrics.incoming("refused");
                // An address that may be forged is sent nothing.
                if proven {
                    incoming.refuse();
                } else {
                    incoming.ignore();
                }
            }
        }
    }
    // Not reached at a stop, which ends this task first: the socket failed, and the registry with it.
    let _ = registry.send(Msg::SocketLost).await;
}

async fn answer(incoming: Incoming, ticket: Ticket, shared: Arc<Shared>, registry: Addr<Msg>) {
    let (from, unsolicited) = (
        incoming.remote_address(),
        shared.sorter.is_unsolicited(incoming.remote_address()),
    );
    let accepted = quic::accept(incoming, &shared).await;
    if accepted.is_some() && unsolicited && !is_local(from.ip()) {
        shared.nat(|nat| nat.reached(from.is_ipv6()));
    }
    finish(accepted, ticket, shared, registry).await;
}

/// Registers the connection of an incoming handshake, if it succeeded.
pub(crate) async fn finish(
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
