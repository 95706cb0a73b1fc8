//! Accepting TCP connections: from peers, and from BitTorrent clients.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::accept::finish;
use crate::{
    disguise::OPENING_LEN,
    kit::{Addr, Scope},
    transport::{
        address::multiaddr::canonical,
        admission::Ticket,
        connection::{Carrier, Connection},
        msg::Msg,
        shared::{HANDSHAKE_TIMEOUT, Shared},
        socket::bind,
        tcp::upgrade_as_server,
    },
};

/// The first byte of a TLS record that carries a handshake (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;
/// The first byte of a BitTorrent handshake (BEP 3).
const BITTORRENT: u8 = 19;
/// What a BitTorrent client may send after our answer, before it is disconnected: neither metadata nor pieces are
/// wanted.
const BITTORRENT_REST: u64 = 16 * 1024;
/// How long a stranger may send nothing: clients send first.
const FIRST_BYTE: Duration = Duration::from_secs(4);
/// The pause after a failed accept, mostly for lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A pause longer than this means that the error is not transient.
const REOPEN_AFTER: Duration = Duration::from_millis(500);
/// The pause doubles up to this.
const LONGEST_ACCEPT_PAUSE: Duration = Duration::from_secs(10);

/// Accepts connections on one listener.
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
                // A lack of descriptors passes; a listener that was shut down does not recover.
                if pause > REOPEN_AFTER
                    && !bind::is_out_of_descriptors(&error)
                    && let Some(new) = reopen(&listener)
                {
                    tracing::warn!(%error, "the TCP listener was shut down; reopened it");
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

/// A new listener at the same address. One that was shut down no longer holds its port.
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
    finish(accepted, ticket, shared, registry).await;
}

/// Performs the handshake; `None` if the other end does not speak our TLS.
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
    let unsolicited = shared.contacted_tcp.is_unsolicited(from);
    let connection = upgrade_as_server(tcp, Carrier::Direct(from), shared).await?;
    if !unsolicited {
        connection.set_solicited();
    }
    Some(connection)
}

/// Answers a BitTorrent client, which a tracker or the DHT has sent here. One that asks for a torrent we announce gets
/// the handshake of the client that we imitate, once it has named the torrent, as from any client; what it sends then
/// is read and ignored. All others are disconnected, which is what clients do for torrents they do not have. Nobody is
/// sent more than the one handshake, and all of it ends within the time limit of handshakes.
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
