//! What a connection's life looks after besides its streams: whether data gets through, whether the peer is there at
//! all, and when a draining connection is done (`docs/PROTOCOL.md`, paths).

use std::time::Duration;

use bitchat_wire::proto::{self, control::Kind};
use rand::RngExt;
use tokio::time::{Instant, sleep};

use super::{Connection, PathKind, registry::Msg};
use crate::kit::Addr;

/// Data that is not acknowledged for this long makes us try another path.
const STALL: Duration = Duration::from_secs(1);
/// While a connection is stalled, how often to look whether it has recovered.
const RECOVERY: Duration = Duration::from_millis(500);
/// A silent TCP connection is probed this often: QUIC does the same by itself.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// A TCP peer that is silent for this long is gone.
const IDLE: Duration = Duration::from_secs(60);
/// A draining connection without a link stays this long: a handshake may be under way on it.
const UNUSED: Duration = Duration::from_secs(2);
/// A draining connection ends then, whatever runs on it.
const DRAIN: Duration = Duration::from_secs(30);
/// How often a draining connection is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Asks the peer for a sign of life.
pub(super) fn probe(connection: &Connection) {
    let nonce = rand::rng().random();
    connection.flow().say(Kind::Probe(proto::Probe { nonce }));
}

/// Tells the registry when what we write is not answered, and when it is again. Never ends. Costs nothing while
/// nothing is written.
pub(super) async fn stalls(connection: &Connection, registry: &Addr<Msg>) -> String {
    let flow = connection.flow();
    loop {
        flow.wrote().await;
        let mark = connection.answered();
        if connection.path() == PathKind::Tcp {
            // What TCP has delivered it does not tell us, so the other end is asked.
            sleep(STALL / 2).await;
            if connection.answered() != mark {
                flow.set_stalled(false);
                continue;
            }
            probe(connection);
            sleep(STALL / 2).await;
        } else {
            sleep(STALL).await;
        }
        if connection.answered() != mark {
            flow.set_stalled(false);
            continue;
        }
        flow.set_stalled(true);
        // When its mailbox is full it hears of the next stall.
        let _ = registry.try_send(Msg::Stalled(connection.id()));
        while connection.answered() == mark {
            sleep(RECOVERY).await;
        }
        flow.set_stalled(false);
    }
}

/// Keeps a TCP connection alive, and ends when its peer is gone.
pub(super) async fn silence(connection: &Connection) -> String {
    if connection.path() == PathKind::Quic {
        std::future::pending::<()>().await;
    }
    // The first one measures the way.
    probe(connection);
    let (mut mark, mut heard) = (connection.answered(), Instant::now());
    loop {
        let left = IDLE.saturating_sub(heard.elapsed());
        if left.is_zero() {
            return "the peer is silent".to_owned();
        }
        sleep(left.min(KEEP_ALIVE)).await;
        let now = connection.answered();
        if now == mark {
            probe(connection);
        } else {
            (mark, heard) = (now, Instant::now());
        }
    }
}

/// Ends when a draining connection is to be closed, which is for the side with the higher PeerId to do.
pub(super) async fn drained(connection: &Connection, we_choose: bool) -> String {
    let mut draining = connection.flow().draining();
    if !we_choose {
        std::future::pending::<()>().await;
    }
    loop {
        // The connection holds the sender.
        let _ = draining.wait_for(Option::is_some).await;
        let (begin, mut used) = (Instant::now(), Instant::now());
        while connection.is_draining() {
            if !connection.flow().is_unused() {
                used = Instant::now();
            }
            if used.elapsed() >= UNUSED || begin.elapsed() >= DRAIN {
                return "another connection to the peer has taken over".to_owned();
            }
            sleep(LOOK).await;
        }
    }
}
