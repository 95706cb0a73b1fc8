//! What a connection's life looks after besides its streams: whether data gets through, whether the peer is there at
//! all, and when a draining connection is done (`docs/PROTOCOL.md`, paths).

use std::time::Duration;

use bitchat_wire::proto::{self, control::Kind};
use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::{
    kit::Addr,
    transport::{address::PathKind, connection::Connection, msg::Msg},
};

/// Data that is not acknowledged for this long makes us try another path.
pub(crate) const STALL: Duration = Duration::from_secs(1);
/// How often to look while data is under way.
const STEP: Duration = Duration::from_millis(250);
/// While a connection is stalled, how often to look whether it has recovered.
const RECOVERY: Duration = Duration::from_millis(500);
/// After so many of those looks the registry is told again, and may try another path again.
const LOOKS_A_WORD: u64 = 10;
/// A circuit through which nothing has got for as many looks after the first is given up.
const RELAYED_LOOKS: u64 = 1;
/// A silent TCP connection is probed this often: QUIC does the same by itself.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// A TCP peer that is silent for this long is gone.
const IDLE: Duration = Duration::from_secs(60);
/// A draining connection without a link stays this long: a handshake may be under way on it.
const UNUSED: Duration = Duration::from_secs(2);
/// A draining connection ends then, whatever runs on it.
const DRAIN: Duration = Duration::from_secs(30);
/// The same where the other side should have closed it.
const DRAIN_OTHER: Duration = Duration::from_secs(40);
/// How often a draining connection is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// Asks the peer for a sign of life.
fn probe(connection: &Connection) {
    let nonce = rand::rng().random();
    connection.flow().say(Kind::Probe(proto::Probe { nonce }));
}

/// Has the life find out whether data gets through, although none was written.
pub(crate) fn check(connection: &Connection) {
    probe(connection);
    connection.flow().look();
}

/// Tells the registry when what we write is not answered. Never ends. Costs nothing while nothing is written.
pub(crate) async fn stalls(connection: &Connection, registry: &Addr<Msg>) -> String {
    let flow = connection.flow();
    loop {
        flow.wrote().await;
        let through = match connection.path() {
            PathKind::Quic => quic_gets_through(connection).await,
            _ => tcp_gets_through(connection).await,
        };
        if through {
            flow.set_stalled(false);
            continue;
        }
        let mark = connection.answered();
        flow.set_stalled(true);
        for look in 0_u64.. {
            if look % LOOKS_A_WORD == 0 {
                // When its mailbox is full it hears of it the next time.
                let _ = registry.try_send(Msg::Stalled(connection.id()));
                // And the peer, if it is only our hearing that fails: it may know a way to us that we do not.
                flow.say(Kind::Unanswered(proto::Unanswered {}));
            }
            sleep(RECOVERY).await;
            if connection.answered() != mark {
                break;
            }
            // There is no second path to be tried beside it: another relay is dialled when this circuit is gone.
            if connection.path() == PathKind::Relayed && look >= RELAYED_LOOKS {
                return "nothing gets through the relay".to_owned();
            }
        }
        flow.set_stalled(false);
    }
}

/// How long an answer may take: on a long way it takes longer.
fn patience(connection: &Connection) -> Duration {
    STALL.max(connection.rtt().saturating_mul(3))
}

/// Looks until nothing has been under way for a while, or something was for too long. QUIC probes as long as
/// something is not acknowledged, so what is lost shows as new questions without answers, whenever it was written.
async fn quic_gets_through(connection: &Connection) -> bool {
    let (mut asked, mut answered) = (connection.asked(), connection.answered());
    let (mut looked, mut last_change) = (Instant::now(), Instant::now());
    let mut unanswered_since = None;
    loop {
        sleep(STEP).await;
        let now = Instant::now();
        let (late, before) = (now - looked >= STEP * 2, looked);
        looked = now;
        let (asked_now, answered_now) = (connection.asked(), connection.answered());
        if (asked_now, answered_now) != (asked, answered) {
            last_change = now;
        }
        if answered_now != answered {
            unanswered_since = None;
        } else if unanswered_since.is_some() && late {
            // On a machine that is too busy to let us look, the answer may be waiting, too.
            unanswered_since = Some(now);
        } else if asked_now != asked {
            unanswered_since = unanswered_since.or(Some(before));
        }
        (asked, answered) = (asked_now, answered_now);
        match unanswered_since {
            Some(since) if now - since >= patience(connection) => return false,
            None if now - last_change >= STALL => return true,
            _ => {}
        }
    }
}

/// What TCP has delivered it does not tell us, so the other end is asked, behind what was written.
async fn tcp_gets_through(connection: &Connection) -> bool {
    sleep(STALL / 2).await;
    let mark = connection.answered();
    probe(connection);
    let steps = patience(connection).as_millis() / (2 * STEP.as_millis());
    for _ in 0..steps.max(1) {
        sleep(STEP).await;
        if connection.answered() != mark {
            return true;
        }
    }
    false
}

/// Keeps a TCP connection alive, and ends when its peer is gone.
pub(crate) async fn silence(connection: &Connection) -> String {
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

/// Ends when a draining connection is to be closed, which is for the side with the higher PeerId to do; the other one
/// waits longer, and does it when nothing is heard of that.
pub(crate) async fn drained(connection: &Connection, we_choose: bool) -> String {
    let mut draining = connection.draining();
    let longest = if we_choose { DRAIN } else { DRAIN_OTHER };
    loop {
        // The connection holds the sender.
        let _ = draining.wait_for(Option::is_some).await;
        let (begin, mut used) = (Instant::now(), Instant::now());
        while connection.is_draining() {
            if !connection.flow().is_unused() {
                used = Instant::now();
            }
            let unused = we_choose && used.elapsed() >= UNUSED;
            if unused || begin.elapsed() >= longest {
                return "another connection to the peer has taken over".to_owned();
            }
            sleep(LOOK).await;
        }
    }
}
