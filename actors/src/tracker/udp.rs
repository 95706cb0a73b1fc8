//! The exchange with UDP trackers (BEP 15 and BEP 7): a pure machine.
//!
//! As clients do it: a connection id kept for a minute and shared by all announces to
//! one address, a transaction id of its own for each packet, and nothing sent again: an answer that does not come is a
//! failure, and the tiers' back-off follows. What is kept is bounded by the announces under way.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};

use super::reply::{self, Answer};

/// What a request for a connection id begins with.
const PROTOCOL: u64 = 0x0417_2710_1980;
/// How long a connection id is used: a tracker honours it for two minutes.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// Addresses of trackers whose connection ids are remembered; those that are older than their life make room.
const MAX_HOSTS: usize = 128;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// Names an announce under way.
pub(super) type Ask = u64;

/// Why a UDP tracker gave no answer, in words for its user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UdpError {
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("refused: {0}")]
    Refused(String),
    #[error("refused without saying why")]
    RefusedSilently,
    #[error("cannot be reached")]
    Unreachable,
    #[error("its name cannot be resolved")]
    NoSuchName,
    #[error("is in a private network, where only the path /announce is asked for: refused")]
    PrivateTracker,
    #[error("is not asked: this node uses no UDP")]
    NoUdp,
    #[error("is not asked: the trackers' actor stops")]
    Stopped,
}

impl UdpError {
    /// Whether nobody answered at all, as when something on the way keeps us from the tracker.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Unreachable)
    }
}

/// What the shell must do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Send this there, from the node's one port.
    Send(SocketAddr, Vec<u8>),
    /// What was asked has ended.
    Done(Ask, Result<Answer, UdpError>),
}

/// What is asked: an announce or a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    action: u32,
    /// Behind connection id, action and transaction id.
    bytes: Vec<u8>,
}

impl Body {
    /// An announce.
    pub(super) fn announce(bytes: Vec<u8>) -> Self {
        Self {
            action: ANNOUNCE,
            bytes,
        }
    }

    /// How many there are under each of these hashes.
    pub(super) fn scrape(hashes: &[[u8; 20]]) -> Self {
        Self {
            action: SCRAPE,
            bytes: hashes.concat(),
        }
    }
}

#[derive(Default)]
enum Connection {
    #[default]
    None,
    Asked(u32),
    Known(u64, Instant),
}

#[derive(Default)]
struct Host {
    connection: Connection,
    waiting: Vec<(Ask, Body)>,
    /// By transaction id, with the action that was asked for.
    sent: HashMap<u32, (Ask, u32)>,
}

impl Host {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Ends everything that is under way.
    fn fail(&mut self, error: &UdpError) -> Vec<Effect> {
        self.connection = Connection::None;
        let waiting = self.waiting.drain(..).map(|(ask, _)| ask);
        let asks: Vec<Ask> = waiting
            .chain(self.sent.drain().map(|(_, (ask, _))| ask))
            .collect();
        asks.into_iter()
            .map(|ask| Effect::Done(ask, Err(error.clone())))
            .collect()
    }
}

/// All exchanges under way.
#[derive(Default)]
pub(super) struct Machine {
    hosts: HashMap<SocketAddr, Host>,
}

impl Machine {
    /// Begins an announce or a scrape. Its end is an [`Effect::Done`], or [`Machine::cancel`].
    pub(super) fn announce(
        &mut self,
        ask: Ask,
        to: SocketAddr,
        body: Body,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        if self.hosts.len() >= MAX_HOSTS && !self.hosts.contains_key(&to) {
            self.hosts.retain(|_, host| {
                !host.is_idle()
                    || matches!(host.connection, Connection::Known(_, until) if until > now)
            });
            if self.hosts.len() >= MAX_HOSTS {
                self.hosts.retain(|_, host| !host.is_idle());
            }
        }
        let host = self.hosts.entry(to).or_default();
        match host.connection {
            Connection::Known(id, until) if until > now => {
                vec![send(host, to, id, ask, &body, rng)]
            }
            Connection::Asked(_) => {
                host.waiting.push((ask, body));
                Vec::new()
            }
            Connection::Known(..) | Connection::None => {
                host.waiting.push((ask, body));
                let transaction = rng.random();
                host.connection = Connection::Asked(transaction);
                let mut packet = PROTOCOL.to_be_bytes().to_vec();
                packet.extend_from_slice(&CONNECT.to_be_bytes());
                packet.extend_from_slice(&transaction.to_be_bytes());
                vec![Effect::Send(to, packet)]
            }
        }
    }

    /// Nobody waits for that one any more.
    pub(super) fn cancel(&mut self, ask: Ask) {
        for host in self.hosts.values_mut() {
            host.waiting.retain(|(waiting, _)| *waiting != ask);
            host.sent.retain(|_, (sent, _)| *sent != ask);
            // Whoever comes next asks anew: what was sent may be lost.
            if host.waiting.is_empty() && matches!(host.connection, Connection::Asked(_)) {
                host.connection = Connection::None;
            }
        }
        self.hosts
            .retain(|_, host| !host.is_idle() || !matches!(host.connection, Connection::None));
    }

    /// Nothing can be sent there.
    pub(super) fn unreachable(&mut self, to: SocketAddr) -> Vec<Effect> {
        let mut host = self.hosts.remove(&to).unwrap_or_default();
        host.fail(&UdpError::Unreachable)
    }

    /// A datagram came. Whatever does not answer a question of ours, from the address that was asked, is passed over.
    pub(super) fn received(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
        now: Instant,
        rng: &mut impl Rng,
    ) -> Vec<Effect> {
        let Some(host) = self.hosts.get_mut(&from) else {
            return Vec::new();
        };
        let Some((header, body)) = datagram.split_first_chunk::<8>() else {
            return Vec::new();
        };
        let [a, b, c, d, t @ ..] = *header;
        let (action, transaction) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes(t));
        let connecting =
            matches!(host.connection, Connection::Asked(asked) if asked == transaction);
        match action {
            CONNECT if connecting => {
                let Some(id) = body.first_chunk::<8>() else {
                    return Vec::new();
                };
                let id = u64::from_be_bytes(*id);
                host.connection = Connection::Known(id, now + CONNECTION_LIFE);
                let waiting = std::mem::take(&mut host.waiting);
                waiting
                    .into_iter()
                    .map(|(ask, body)| send(host, from, id, ask, &body, rng))
                    .collect()
            }
            ERROR if connecting => host.fail(&refused(body)),
            ANNOUNCE | SCRAPE | ERROR => {
                let Some((ask, asked)) = host.sent.remove(&transaction) else {
                    return Vec::new();
                };
                let result = if action == ANNOUNCE && asked == ANNOUNCE {
                    answer(body, from.is_ipv6())
                } else if action == SCRAPE && asked == SCRAPE {
                    // What it counts interests nobody here.
                    Ok(Answer::default())
                } else if action != ERROR {
                    Err(UdpError::RefusedSilently)
                } else {
                    // The id may be what it does not like.
                    host.connection = match host.connection {
                        Connection::Known(..) => Connection::None,
                        ref mut other => std::mem::take(other),
                    };
                    Err(refused(body))
                };
                vec![Effect::Done(ask, result)]
            }
            _ => Vec::new(),
        }
    }
}

fn send(
    host: &mut Host,
    to: SocketAddr,
    id: u64,
    ask: Ask,
    body: &Body,
    rng: &mut impl Rng,
) -> Effect {
    let mut transaction = rng.random();
    while host.sent.contains_key(&transaction) {
        transaction = rng.random();
    }
    host.sent.insert(transaction, (ask, body.action));
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend_from_slice(&body.action.to_be_bytes());
    packet.extend_from_slice(&transaction.to_be_bytes());
    packet.extend_from_slice(&body.bytes);
    Effect::Send(to, packet)
}

fn refused(text: &[u8]) -> UdpError {
    let text = reply::plain(text);
    if text.is_empty() {
        UdpError::RefusedSilently
    } else {
        UdpError::Refused(text)
    }
}

/// `interval u32 ‖ leechers u32 ‖ seeders u32 ‖ peers`, of six bytes each, or eighteen where the tracker was asked by
/// IPv6 (BEP 7). Some trackers refuse with nothing behind the header.
fn answer(body: &[u8], ipv6: bool) -> Result<Answer, UdpError> {
    let Some((numbers, peers)) = body.split_first_chunk::<12>() else {
        return Err(UdpError::RefusedSilently);
    };
    let [a, b, c, d, ..] = *numbers;
    let mut answer = Answer {
        interval: reply::pause(u64::from(u32::from_be_bytes([a, b, c, d]))),
        ..Answer::default()
    };
    if ipv6 {
        reply::compact_v6(peers, &mut answer.peers);
    } else {
        reply::compact_v4(peers, &mut answer.peers);
    }
    Ok(answer)
}

#[cfg(test)]
#[path = "udp_tests.rs"]
mod tests;
