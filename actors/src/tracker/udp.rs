//! The exchange with UDP trackers (BEP 15 and BEP 7), as a pure state machine.
//!
//! As in other clients, a connection id is kept for a minute and shared by all announces to one address, each packet
//! has a transaction id of its own, and nothing is sent again: a missing answer is a failure, and the tiers back off.
//! The memory used is bounded by the announces under way.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rand::{Rng, RngExt};

use super::reply::{self, Answer};

/// The magic number of a request for a connection id.
const PROTOCOL: u64 = 0x0417_2710_1980;
/// How long a connection id is used: a tracker accepts it for two minutes.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// Addresses of trackers whose connection ids are remembered; expired ones make room.
pub(super) const MAX_HOSTS: usize = 128;
const CONNECT: u32 = 0;
const ANNOUNCE: u32 = 1;
const SCRAPE: u32 = 2;
const ERROR: u32 = 3;

/// Identifies an announce under way.
pub(super) type Ask = u64;

/// Why a UDP tracker gave no answer, as a phrase for its user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UdpError {
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    #[error("refused: {0}")]
    Refused(String),
    #[error("refused without a reason")]
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
    /// Whether there was no answer at all, as when something on the path blocks the tracker.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Unreachable)
    }
}

/// What the actor must do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Send a datagram to an address, from the node's one port.
    Send(SocketAddr, Vec<u8>),
    /// An announce or scrape has ended.
    Done(Ask, Result<Answer, UdpError>),
}

/// The body of an announce or a scrape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Body {
    action: u32,
    /// The bytes after connection id, action and transaction id.
    bytes: Vec<u8>,
}

impl Body {
    /// The body of an announce.
    pub(super) fn announce(bytes: Vec<u8>) -> Self {
        Self {
            action: ANNOUNCE,
            bytes,
        }
    }

    /// The body of a scrape of these hashes.
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

/// The state of one address.
#[derive(Default)]
pub(super) struct Host {
    connection: Connection,
    waiting: Vec<(Ask, Body)>,
    /// Packets that await an answer, by transaction id, with the action that was requested.
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
    pub(super) hosts: HashMap<SocketAddr, Host>,
}

impl Machine {
    /// Starts an announce or a scrape. It ends with an [`Effect::Done`], or with [`Machine::cancel`].
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

    /// Cancels an announce or scrape whose asker is gone.
    pub(super) fn cancel(&mut self, ask: Ask) {
        for host in self.hosts.values_mut() {
            host.waiting.retain(|(waiting, _)| *waiting != ask);
            host.sent.retain(|_, (sent, _)| *sent != ask);
            // The next one requests an id again: what was sent may be lost.
            if host.waiting.is_empty() && matches!(host.connection, Connection::Asked(_)) {
                host.connection = Connection::None;
            }
        }
        self.hosts
            .retain(|_, host| !host.is_idle() || !matches!(host.connection, Connection::None));
    }

    /// Fails everything under way to an address to which nothing can be sent.
    pub(super) fn unreachable(&mut self, to: SocketAddr) -> Vec<Effect> {
        let mut host = self.hosts.remove(&to).unwrap_or_default();
        host.fail(&UdpError::Unreachable)
    }

    /// Handles a datagram. Anything but an answer to one of our packets, from the address that it was sent to, is
    /// ignored.
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
                    // The counts are not used.
                    Ok(Answer::default())
                } else if action != ERROR {
                    Err(UdpError::RefusedSilently)
                } else {
                    // The tracker may have rejected the connection id.
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

/// Reads `interval u32 ‖ leechers u32 ‖ seeders u32 ‖ peers`, with six bytes per peer, or eighteen if the tracker was
/// asked over IPv6 (BEP 7). Some trackers refuse with nothing after the header.
pub(super) fn answer(body: &[u8], ipv6: bool) -> Result<Answer, UdpError> {
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
