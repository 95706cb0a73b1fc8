//! The search for better paths to peers that we reach over poor ones.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::exchange::{Via, attempt};
use crate::{
    kit::Addr,
    transport::{
        address::PathKind,
        connection::Connection,
        msg::{Msg, register},
        shared::Shared,
    },
};

/// The pauses between attempts, from the beginning of the connection; the last one repeats.
const BETTER_PAUSES: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_secs(15),
    Duration::from_secs(60),
    Duration::from_secs(240),
    Duration::from_secs(600),
];
/// How often to check whether a link is up.
const LOOK: Duration = Duration::from_millis(100);

/// Looks for a direct QUIC path beside another path, or a direct TCP path beside a circuit, for as long as the
/// connection lives. `None` if the path is good, or if the search is not ours: it is the task of the lower PeerId, for
/// peers with links.
pub(crate) fn better(
    connection: Connection,
    shared: Arc<Shared>,
    registry: Addr<Msg>,
) -> Option<impl Future<Output = ()> + Send + 'static> {
    let poor = match connection.path() {
        PathKind::Relayed => !shared.paths.is_hidden(),
        PathKind::Tcp => shared.paths.quic,
        PathKind::Quic | PathKind::Proxied => false,
    };
    if !poor || connection.chooses() || shared.listens_nowhere() {
        return None;
    }
    Some(async move {
        tokio::select! {
            biased;
            _ = connection.closed() => {}
            () = look_for_better(&connection, &shared, &registry) => {}
        }
    })
}

async fn look_for_better(connection: &Connection, shared: &Arc<Shared>, registry: &Addr<Msg>) {
    let relayed = connection.path() == PathKind::Relayed;
    let last = BETTER_PAUSES[BETTER_PAUSES.len() - 1];
    let mut pauses = BETTER_PAUSES.into_iter().chain(std::iter::repeat(last));
    loop {
        while !connection.has_links() {
            sleep(LOOK).await;
        }
        sleep(pauses.next().unwrap_or(last)).await;
        if connection.is_draining() {
            continue;
        }
        let via = Via {
            connection: connection.clone(),
            carried: false,
        };
        let peer = connection.peer();
        let address = connection.direct();
        let end = attempt(peer, address, via, relayed, Arc::clone(shared)).await;
        if let Ok(better) = end {
            register(&better, None, registry).await;
        }
    }
}
