//! Handshakes over QUIC: dialling and accepting.

use std::{net::SocketAddr, sync::Arc};

use bitchat_wire::link::TlsSide;
use libp2p_identity::PeerId;
use quinn::{ConnectionError, Incoming};
use tokio::time::{Instant, timeout};

use crate::transport::{
    api::DialError,
    connection::{Connection, describe},
    shared::{HANDSHAKE_TIMEOUT, Shared},
    socket::endpoint,
    tls::{Mismatch, MismatchCell},
};

pub(crate) async fn connect(
    address: SocketAddr,
    expected: Option<PeerId>,
    shared: Arc<Shared>,
) -> Result<Connection, DialError> {
    let refused = |error: &dyn std::fmt::Display| DialError::Refused(error.to_string());
    let mismatch = MismatchCell::default();
    let config = endpoint::client_config(&shared.tls, expected, Arc::clone(&mismatch))
        .map_err(|e| refused(&e))?;
    let endpoint = shared
        .endpoint_for(address.ip())
        .ok_or(DialError::Stopped)?;
    shared.sorter.contacts(address);
    // The name is an address, so none is sent to the server.
    let connecting = endpoint
        .connect_with(config, address, &address.ip().to_string())
        .map_err(|e| match e {
            quinn::ConnectError::EndpointStopping => DialError::Stopped,
            e => refused(&e),
        })?;
    // The connection must not keep the endpoint from closing.
    drop(endpoint);
    let begin = Instant::now();
    let quic = connecting.await.map_err(|e| match (mismatch.get(), e) {
        (Some(Mismatch::Ourselves), _) => DialError::Ourselves,
        (Some(Mismatch::OtherPeer), _) => DialError::OtherPeer,
        (None, ConnectionError::TimedOut) => DialError::TimedOut,
        (None, ConnectionError::LocallyClosed) => DialError::Stopped,
        (None, e) => DialError::Refused(describe(&e)),
    })?;
    shared.pace.took(begin.elapsed());
    Connection::quic(quic, TlsSide::Client, shared.local_end()).map_err(|e| refused(&e))
}

/// Performs the handshake with an incoming peer; `None` if it fails or takes too long.
pub(crate) async fn accept(incoming: Incoming, shared: &Shared) -> Option<Connection> {
    let connecting = incoming.accept().ok()?;
    let quic = timeout(HANDSHAKE_TIMEOUT, connecting).await.ok()?.ok()?;
    // An unregistered connection is closed when dropped.
    Connection::quic(quic, TlsSide::Server, shared.local_end()).ok()
}
