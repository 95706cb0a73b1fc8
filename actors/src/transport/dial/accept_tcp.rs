//! Strangers that come by TCP: our peers, and BitTorrent clients.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::accept::welcome;
use crate::{
    disguise::OPENING_LEN,
    kit::{Addr, Scope},
    transport::{
        address::multiaddr::canonical,
        admission::Ticket,
        connection::{Connection, Way},
        msg::Msg,
        shared::{HANDSHAKE_TIMEOUT, Shared},
        socket::bind,
        tcp::upgrade_as_server,
    },
};

/// How a TLS record begins that carries a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// How a BitTorrent handshake begins (BEP 3).
const BITTORRENT: u8 = 19;
/// What a BitTorrent client may say after it was answered, before it is hung up on: no metadata, no piece is wanted
/// of it.
const BITTORRENT_REST: u64 = 16 * 1024;
/// How long a stranger may say nothing at all: a client speaks first.
const FIRST_BYTE: Duration = Duration::from_secs(4);
/// After a failed accept, which mostly means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// An error that lasts until it is longer than this is no passing one.
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// It doubles up to this.
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(10);

/// Listens on one socket.
pub(crate) async fn listen(
    mut listener: Arc<TcpListener>,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
    scope: Scope,
) {
    let mut pause = ACCEPT_PAUSE;
    loop {
        let (tcp, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_ACCEPT_PAUSE);
                // Out of descriptors it works again by itself; whom somebody has shut does not.
                if pause > REOPEN_AFTER
                    && !bind::is_out_of_descriptors(&error)
                    && let Some(new) = reopen(&listener)
                {
                    tracing::warn!(%error, "the TCP port was shut, and is open again");
                    listener = new;
                }
                continue;
            }
        };
        pause = ACCEPT_PAUSE;
        let from = canonical(from);
        if shared.is_barred(None, Some(&from)) {
            shared.metrics.incoming("barred");
            continue;
        }
        let Some((ticket, gives_way)) = shared.admission.judge_tcp(from.ip()) else {
            shared.metrics.incoming("refused");
            continue;
        };
        let (shared, registry) = (Arc::clone(&shared), registry.clone());
        scope.transient(
            tracing::debug_span!("connection"),
            Box::pin(answer(tcp, from, ticket, gives_way, shared, registry)),
        );
    }
}

/// A new listener at the same address. A listener that was shut holds its port no longer.
fn reopen(listener: &TcpListener) -> Option<Arc<TcpListener>> {
    let new = bind::listen(listener.local_addr().ok()?).ok()?;
    TcpListener::from_std(new).ok().map(Arc::new)
}

async fn answer(
    tcp: TcpStream,
    from: SocketAddr,
    ticket: Ticket,
    gives_way: CancellationToken,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
) {
    let accepted = tokio::select! {
        biased;
        accepted = timeout(HANDSHAKE_TIMEOUT, accept(tcp, from, &shared)) => accepted.ok().flatten(),
        () = gives_way.cancelled() => None,
    };
    welcome(accepted, ticket, shared, registry).await;
}

/// `None` for whoever does not speak our TLS.
async fn accept(mut tcp: TcpStream, from: SocketAddr, shared: &Arc<Shared>) -> Option<Connection> {
    let mut first = [0];
    match timeout(FIRST_BYTE, tcp.peek(&mut first)).await.ok()? {
        Ok(1) if first == [TLS_HANDSHAKE] => {}
        Ok(1) if first == [BITTORRENT] => {
            shared.metrics.incoming("bittorrent");
            bittorrent(&mut tcp, shared).await;
            return None;
        }
        _ => return None,
    }
    tcp.set_nodelay(true).ok()?;
    let unasked = shared.asked_tcp.is_unasked(from);
    let connection = upgrade_as_server(tcp, Way::Direct(from), shared).await?;
    if !unasked {
        connection.set_asked();
    }
    Some(connection)
}

/// Receives a BitTorrent client, which a tracker or the DHT has sent here. One that comes for what we announce gets
/// the handshake of the client that we look like, once it has said what it comes for, as there; what it says then is
/// heard and leads to nothing. Any other is hung up on, which is what clients do about torrents they have not. Nobody
/// is sent more bytes than the one handshake, and all of it ends with the time for handshakes.
async fn bittorrent(tcp: &mut TcpStream, shared: &Shared) {
    let Some(torrents) = &shared.torrents else {
        return;
    };
    let mut opening = [0; OPENING_LEN];
    if tcp.read_exact(&mut opening).await.is_err() {
        return;
    }
    let Some(answer) = torrents.answer(&opening, &mut rand::rng()) else {
        return;
    };
    if tcp.write_all(&answer).await.is_ok() {
        // However it ends.
        let _ = tokio::io::copy(&mut tcp.take(BITTORRENT_REST), &mut tokio::io::sink()).await;
    }
}
