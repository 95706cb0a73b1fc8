//! Connections over a byte stream that somebody else has opened: a circuit through a relay. TLS 1.3 and yamux from end
//! to end, as over TCP (`docs/PROTOCOL.md`, relays).

use std::{sync::Arc, time::Duration};

use bitchat_wire::link::TlsSide;
use tokio::time::timeout;

use crate::{
    kit::{Addr, Reply},
    transport::{
        api::{Adoption, DialError},
        connection::{Connection, Way},
        msg::{Msg, register},
        shared::{HANDSHAKE_TIMEOUT, Shared},
        tcp,
    },
};

/// Shakes hands, registers what comes of it, and tells how that ended. Given up when nobody waits for it any more.
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
    // Whoever asked may have gone at this very moment: then it is a connection like any other.
    let _ = reply.send(end);
}

async fn shake(adoption: Adoption, shared: &Arc<Shared>) -> Result<Connection, DialError> {
    let Adoption {
        io,
        side,
        expected,
        relay,
    } = adoption;
    let way = Way::Circuit(relay);
    if side == TlsSide::Client {
        // The first probe measures the way.
        return tcp::upgrade(io, way, Duration::ZERO, expected, shared).await;
    }
    let refused = || DialError::Refused("no TLS came of it".to_owned());
    let connection = tcp::upgrade_as_server(io, way, shared)
        .await
        .ok_or_else(refused)?;
    if expected.is_some_and(|expected| expected != connection.peer()) {
        connection.close();
        return Err(DialError::OtherPeer);
    }
    Ok(connection)
}
