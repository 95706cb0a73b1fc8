//! From a connection or stream to a link: the handshake that we begin or answer, then the link's life, with reports to
//! discovery.

use std::{pin::Pin, sync::Arc, time::Duration};

use bitchat_wire::{channel::ChannelId, link::Established};
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use super::{
    Registration,
    guards::Place,
    handshake::{self, DEADLINE, Failure},
    session::{self, Start},
    shared::Shared,
};
use crate::{
    discovery::{FoundBy, Outcome},
    kit::Scope,
    transport::{Connection, ConnectionId, Stream, Target, network::subscriber},
};

/// How long a peer that failed too many handshakes stays barred.
const BAR: Duration = Duration::from_secs(60);
/// Time between two attempts to move a link while there is a link or handshake of its channel on the other connection.
const MOVE_PAUSE: Duration = Duration::from_millis(250);

/// A link that we begin.
pub(super) struct Attempt {
    pub(super) cid: ChannelId,
    pub(super) connection: Connection,
    pub(super) address: Target,
    /// How the address was found; `None` for a link that moves.
    pub(super) source: Option<FoundBy>,
}

/// A link whose handshake is done.
struct New {
    reg: Registration,
    connection: Connection,
    stream: Stream,
    established: Established,
    initiator: bool,
    address: Target,
    /// How the address was found; `None` for a link that moves, or that the peer began.
    source: Option<FoundBy>,
}

/// The tracing span of a link.
pub(super) fn span(connection: &Connection) -> tracing::Span {
    let peer = connection.peer().to_base58();
    // The first characters of all ephemeral PeerIds are the same multihash prefix.
    let short: String = peer.chars().rev().take(6).collect();
    tracing::info_span!("link", peer = %short)
}

/// Links a channel on the connection that takes over, if it is linked on the draining one. The link that is there already
/// may be just closing, so this is tried for as long as there is something to move.
pub(super) fn relocate(
    shared: &Arc<Shared>,
    cid: ChannelId,
    from: ConnectionId,
    to: &Connection,
    scope: &Scope,
) {
    let span = span(to);
    let (shared, to, scope_) = (Arc::clone(shared), to.clone(), scope.clone());
    let moving = async move {
        while shared.channels_on(from).contains(&cid) && !to.is_closed() && !to.is_draining() {
            let attempt = Attempt {
                cid,
                address: address_of(&to),
                source: None,
                connection: to.clone(),
            };
            if initiate(Arc::clone(&shared), attempt, scope_.clone()).await {
                return;
            }
            tokio::select! {
                biased;
                () = scope_.stop_signal().cancelled() => return,
                () = tokio::time::sleep(MOVE_PAUSE) => {}
            }
        }
    };
    // Boxed, since a link that comes up late on a draining connection comes here again.
    let moving: BoxFuture<'static, ()> = Box::pin(moving);
    scope.graceful(span, moving);
}

/// Where the peer can be dialled or, if that is not known, where it came from.
fn address_of(connection: &Connection) -> Target {
    connection.dialable().unwrap_or_else(|| connection.target())
}

/// Begins a link and runs it to its end. False if it did not try, because there is a link or handshake of this channel on
/// the connection.
pub(super) async fn initiate(shared: Arc<Shared>, attempt: Attempt, scope: Scope) -> bool {
    let Attempt {
        cid,
        connection,
        address,
        source,
    } = attempt;
    let Some(reg) = shared.find(|reg| reg.cid == cid) else {
        return true;
    };
    let Some(_active) = shared.activate(cid, connection.id()) else {
        return false;
    };
    let attempt = async {
        let _place = shared.beginning.enter_soon(connection.id()).await;
        let mut stream = connection
            .open(bitchat_wire::stream::StreamKind::Link)
            .await?;
        let established = handshake::initiate(&connection, &mut stream, &reg).await?;
        Ok((stream, established))
    };
    match in_time(Box::pin(attempt), &scope).await {
        None => {}
        Some(Ok((stream, established))) => {
            let new = New {
                reg,
                connection,
                stream,
                established,
                initiator: true,
                address,
                source,
            };
            Box::pin(run(&shared, new, &scope)).await;
        }
        Some(Err(failure)) => {
            tracing::debug!(%address, %failure, "no member there");
            // A link that does not move stays where it is until its connection ends; then its member is looked for.
            if source.is_some() {
                shared
                    .discovery
                    .outcome(cid, Outcome::Stranger { address })
                    .await;
            }
        }
    }
    true
}

/// Answers a link's handshake and runs the link to its end. `reading` is the stream's place until its first message is
/// read.
pub(super) async fn respond(
    shared: Arc<Shared>,
    connection: Connection,
    mut stream: Stream,
    reading: Place<ConnectionId>,
    scope: Scope,
) {
    let admit = async {
        let place = shared
            .answering
            .enter_soon(subscriber(connection.remote().ip()))
            .await;
        drop(reading);
        place
    };
    let find = |fits: &dyn Fn(&Registration) -> bool| shared.find(fits);
    let answer = Box::pin(handshake::respond(&connection, &mut stream, find, admit));
    match in_time(answer, &scope).await {
        None => {}
        Some(Ok((reg, established))) => {
            // A handshake of ours on the same connection may be under way: the channel decides which survives.
            let _active = shared.activate(reg.cid, connection.id());
            let new = New {
                reg,
                address: address_of(&connection),
                connection,
                stream,
                established,
                initiator: false,
                source: None,
            };
            Box::pin(run(&shared, new, &scope)).await;
        }
        Some(Err(failure)) => {
            stream.send.reset();
            drop(stream);
            tracing::debug!(%failure, "refused a link");
            // A member may try channels that we left or never had: whoever gives it addresses (a tracker, say) must not
            // be able to break the links that exist.
            if !shared.is_members(connection.id()) && shared.failures.count(connection.id()) {
                connection.close();
                shared
                    .transport
                    .bar(connection.peer(), connection.direct(), BAR)
                    .await;
            }
        }
    }
}

/// Waits for a handshake until its deadline; `None` if the node stops first. The handshake is boxed, as the link's life
/// is: a link's task would otherwise keep room for it for ever.
async fn in_time<T>(
    handshake: Pin<Box<impl Future<Output = Result<T, Failure>>>>,
    scope: &Scope,
) -> Option<Result<T, Failure>> {
    tokio::select! {
        biased;
        () = scope.stop_signal().cancelled() => None,
        result = timeout(DEADLINE, handshake) => Some(result.unwrap_or(Err(Failure::Late))),
    }
}

/// Runs a link to its end.
async fn run(shared: &Arc<Shared>, new: New, scope: &Scope) {
    let New {
        reg,
        connection,
        stream,
        established,
        initiator,
        address,
        source,
    } = new;
    let (identity, peer) = (established.peer.identity, connection.peer());
    let (cid, dialled) = (reg.cid, source.is_some());
    let Some(stop) = shared.stop_of(cid) else {
        return;
    };
    let _linked = connection.begin_link();
    let Some(_counted) = shared.enter(cid, connection.id()) else {
        scope.metrics().kit.dropped("links");
        return;
    };
    // From now on it may use us as a relay, and we may use it as one.
    let _member = shared.relays.member(&connection);
    // Another connection took over while the handshake was under way.
    if let Some(to) = connection.moves_to() {
        relocate(shared, cid, connection.id(), &to, scope);
    }
    let start = Start {
        id: shared.next_id(),
        reg,
        connection,
        stream,
        established,
        initiator,
        source,
        store: shared.store.clone(),
        listen_port: shared.transport.port(),
        stop,
        shutdown: scope.stop_signal().clone(),
    };
    let linked = || {
        shared.discovery.outcome(
            cid,
            Outcome::Linked {
                identity,
                peer,
                address,
                dialled,
            },
        )
    };
    let up = session::run(start, linked).await;
    if up && !scope.stop_signal().is_cancelled() {
        shared
            .discovery
            .outcome(
                cid,
                Outcome::Lost {
                    identity,
                    peer,
                    address,
                },
            )
            .await;
    }
}
