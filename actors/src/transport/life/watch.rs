//! Watches over a connection: whether data gets through, whether the peer is still there, and when a draining
//! connection is done (`docs/PROTOCOL.md`, paths).

use std::time::Duration;

use bitchat_wire::proto::{self, control::Kind};
use rand::RngExt;
use tokio::time::{Instant, sleep};

use crate::{
    kit::Addr,
    transport::{address::PathKind, connection::Connection, msg::Msg},
};

/// Data unacknowledged for this long makes us try another path.
pub(crate) const STALL: Duration = Duration::from_secs(1);
/// How often to check while data is in flight.
const STEP: Duration = Duration::from_millis(250);
/// How often to check whether a stalled connection has recovered.
const RECOVERY: Duration = Duration::from_millis(500);
/// After this many of those checks the stall is reported again, and another path may be tried again.
const LOOKS_PER_REPORT: u64 = 10;
/// Checks after the first, until a circuit that lets nothing through is abandoned.
const RELAYED_LOOKS: u64 = 1;
/// How often a silent TCP connection is probed; QUIC does so itself.
const KEEP_ALIVE: Duration = Duration::from_secs(25);
/// A TCP peer silent for this long is gone.
const IDLE: Duration = Duration::from_secs(60);
/// How long a draining connection without links stays: a handshake may be in progress on it.
const UNUSED: Duration = Duration::from_secs(2);
/// A draining connection is closed after this time, whatever runs on it.
const DRAIN: Duration = Duration::from_secs(30);
/// The same if the other side should have closed it.
const DRAIN_OTHER: Duration = Duration::from_secs(40);
/// How often a draining connection is checked.
const LOOK: Duration = Duration::from_millis(250);

/// Asks the peer for an echo.
fn probe(connection: &Connection) {
    let nonce = rand::rng().random();
    connection.flow().send(Kind::Probe(proto::Probe { nonce }));
}

/// Has the life check whether data gets through, although none was written.
pub(crate) fn check(connection: &Connection) {
    probe(connection);
    connection.flow().look();
}

/// Reports to the registry when what we write is not answered. Never ends. Costs nothing while nothing is written.
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
        let mark = connection.answers();
        flow.set_stalled(true);
        for look in 0_u64.. {
            if look % LOOKS_PER_REPORT == 0 {
                // If the mailbox is full, the next report gets through.
                let _ = registry.try_send(Msg::Stalled(connection.id()));
                // To the peer as well, in case only our receiving fails: it may know a path to us that we do not.
                flow.send(Kind::Unanswered(proto::Unanswered {}));
            }
            sleep(RECOVERY).await;
            if connection.answers() != mark {
                break;
            }
            // No second path is tried beside a circuit: another relay is dialled once it is gone.
            if connection.path() == PathKind::Relayed && look >= RELAYED_LOOKS {
                return "nothing gets through the relay".to_owned();
            }
        }
        flow.set_stalled(false);
    }
}

/// How long an answer may take; longer over a long distance.
fn patience(connection: &Connection) -> Duration {
    STALL.max(connection.rtt().saturating_mul(3))
}

/// Checks until nothing has been in flight for a while, or something was for too long. QUIC probes as long as something
/// is unacknowledged, so lost data shows as new questions without answers, whenever it was written.
async fn quic_gets_through(connection: &Connection) -> bool {
    let (mut asked, mut answered) = (connection.questions(), connection.answers());
    let (mut looked, mut last_change) = (Instant::now(), Instant::now());
    let mut unanswered_since = None;
    loop {
        sleep(STEP).await;
        let now = Instant::now();
        let (late, before) = (now - looked >= STEP * 2, looked);
        looked = now;
        let (asked_now, answered_now) = (connection.questions(), connection.answers());
        if (asked_now, answered_now) != (asked, answered) {
            last_change = now;
        }
        if answered_now != answered {
            unanswered_since = None;
        } else if unanswered_since.is_some() && late {
            // On a machine too busy to run this check, the answer may be waiting, too.
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

/// TCP does not reveal what it has delivered, so the peer is sent a probe behind the data.
async fn tcp_gets_through(connection: &Connection) -> bool {
    sleep(STALL / 2).await;
    let mark = connection.answers();
    probe(connection);
    let steps = patience(connection).as_millis() / (2 * STEP.as_millis());
    for _ in 0..steps.max(1) {
        sleep(STEP).await;
        if connection.answers() != mark {
            return true;
        }
    }
    false
}

/// Keeps a TCP connection alive; ends when its peer is gone.
pub(crate) async fn silence(connection: &Connection) -> String {
    if connection.path() == PathKind::Quic {
        std::future::pending::<()>().await;
    }
    // The first probe measures the round-trip time.
    probe(connection);
    let (mut mark, mut last_sign) = (connection.answers(), Instant::now());
    loop {
        let left = IDLE.saturating_sub(last_sign.elapsed());
        if left.is_zero() {
            return "the peer is silent".to_owned();
        }
        sleep(left.min(KEEP_ALIVE)).await;
        let now = connection.answers();
        if now == mark {
            probe(connection);
        } else {
            (mark, last_sign) = (now, Instant::now());
        }
    }
}

/// Ends when a draining connection is to be closed. The side with the higher PeerId does that; the other one waits
/// longer, in case that fails.
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
