//! Connections over a byte stream that was opened elsewhere: a circuit through a relay. TLS 1.3 and yamux run end to
//! end, as over TCP (`docs/PROTOCOL.md`, relays).

use std::{sync::Arc, time::Duration};

use bitchat_wire::link::TlsSide;
use tokio::time::timeout;

use crate::{
    kit::{Addr, Reply},
    transport::{
        api::{Adoption, DialError},
        connection::{Carrier, Connection},
        msg::{Msg, register},
        shared::{HANDSHAKE_TIMEOUT, Shared},
        tcp,
    },
};

/// Performs the handshake, registers the connection, and replies with the result. Abandoned once the caller has gone.
pub(crate) async fn adopt(
    adoption: Adoption,
    mut reply: Reply<Result<Connection, DialError>>,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
) {
    let attempt = async {
        let connection = timeout(HANDSHAKE_TIMEOUT, shake(adoption, &shared))
            .await
            .unwrap_or(Err(DialError::TimedOut))?;
        if register(&connection, None, &registry).await {
            Ok(connection)
        } else if shared.is_barred(Some(&connection.peer()), None) {
            Err(DialError::Barred)
        } else {
            Err(DialError::Busy)
        }
    };
    let end = tokio::select! {
        biased;
        () = reply.closed() => return,
        end = attempt => end,
    };
    // If the caller left at this very moment, it is a connection like any other.
    let _ = reply.send(end);
}

async fn shake(adoption: Adoption, shared: &Arc<Shared>) -> Result<Connection, DialError> {
    let Adoption {
        io,
        side,
        expected,
        relay,
    } = adoption;
    let carrier = Carrier::Circuit(relay);
    if side == TlsSide::Client {
        // The first probe will measure the round-trip time.
        return tcp::upgrade(io, carrier, Duration::ZERO, expected, shared).await;
    }
    let refused = || DialError::Refused("the TLS handshake failed".to_owned());
    let connection = tcp::upgrade_as_server(io, carrier, shared)
        .await
        .ok_or_else(refused)?;
    if expected.is_some_and(|expected| expected != connection.peer()) {
        connection.close();
        return Err(DialError::OtherPeer);
    }
    Ok(connection)
}
