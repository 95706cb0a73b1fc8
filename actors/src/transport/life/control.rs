//! The control stream: what two ends of a connection tell each other about it (`docs/PROTOCOL.md`, control).

use std::{convert::Infallible, time::Duration};

use bitchat_wire::{
    control::{check_len, decode, encode},
    proto::{self, control::Kind},
    stream::StreamKind,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    sync::mpsc,
    time::{Instant, timeout},
};

use crate::{
    kit::Addr,
    transport::{
        address::{PathKind, multiaddr},
        api::TransportEvent,
        connection::{Connection, Stream},
        msg::{Msg, Word},
        shared::Shared,
    },
};

/// The control stream must be open, and its first message there, by then.
const DEADLINE: Duration = Duration::from_secs(10);
/// Addresses that a peer may tell us in the life of a connection; those after them are passed over.
const MAX_OBSERVED: usize = 16;
/// Words about connections that a peer may say in a row, and how fast more may follow: each makes the registry look
/// at the peer's connections, and a sound peer has a few to say in its whole life.
const WORDS: u32 = 32;
const WORDS_PAUSE: Duration = Duration::from_secs(1);
/// The same for punches, of which a newcomer to a large mesh has one for each member.
const PUNCHES: u32 = 128;
const PUNCHES_PAUSE: Duration = Duration::from_millis(250);

/// The server's wait for a control stream: how long a client may do without one.
pub(crate) async fn missing() -> String {
    tokio::time::sleep(DEADLINE).await;
    "no control stream".to_owned()
}

/// The client's side, from opening the stream on. Ends only when the connection must.
pub(crate) async fn open(connection: &Connection, shared: &Shared, registry: &Addr<Msg>) -> String {
    match timeout(DEADLINE, connection.open(StreamKind::Control)).await {
        Ok(Ok(stream)) => speak(stream, connection, shared, registry).await,
        _ => "no control stream".to_owned(),
    }
}

/// Both sides, once the stream is open. Ends only when the connection must.
pub(crate) async fn speak(
    stream: Stream,
    connection: &Connection,
    shared: &Shared,
    registry: &Addr<Msg>,
) -> String {
    let Stream { mut send, mut recv } = stream;
    send.is_control();
    let Some(mut outbox) = connection.flow().outbox() else {
        return "a second control stream".to_owned();
    };
    // Through a relay nobody sees the other's address.
    let observed = (connection.path() != PathKind::Relayed).then(|| {
        Kind::Observed(proto::Observed {
            address: multiaddr::observed(connection.remote(), connection.path()).into(),
            port: shared.local.first().map_or(0, |local| local.port()).into(),
        })
    });
    let probes = Probes::default();
    // Both at once: a peer that gives us no room to write is still heard.
    let say = async {
        let mut next = match observed {
            Some(observed) => Some(observed),
            None => outbox.recv().await,
        };
        while let Some(kind) = next {
            if let Kind::Probe(probe) = &kind {
                probes.sent(probe.nonce);
            }
            send.write_all(&encode(&kind.into()))
                .await
                .map_err(|_| "the control stream broke")?;
            next = outbox.recv().await;
        }
        // The connection's own handle keeps the sender.
        std::future::pending::<Result<Infallible, &'static str>>().await
    };
    let hear = hear(&mut recv, connection, shared, registry, &probes);
    match tokio::try_join!(say, hear) {
        Err(reason) => reason.to_owned(),
        Ok((never, _)) => match never {},
    }
}

/// The last probe that was sent, to be measured by its echo.
#[derive(Default)]
struct Probes(std::sync::Mutex<Option<(u64, Instant)>>);

impl Probes {
    fn sent(&self, nonce: u64) {
        *self.last() = Some((nonce, Instant::now()));
    }

    fn echoed(&self, nonce: u64) -> Option<Duration> {
        let last = self.last().take_if(|(sent, _)| *sent == nonce);
        last.map(|(_, since)| since.elapsed())
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<(u64, Instant)>> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

async fn hear(
    recv: &mut (impl AsyncRead + Unpin),
    connection: &Connection,
    shared: &Shared,
    registry: &Addr<Msg>,
    probes: &Probes,
) -> Result<Infallible, &'static str> {
    let events: &mpsc::Sender<TransportEvent> = &shared.events;
    let mut told = Vec::new();
    let (mut words, mut punches) = (0_u32, 0_u32);
    let mut message = timeout(DEADLINE, read(recv))
        .await
        .map_err(|_| "silence on the control stream")??;
    loop {
        let word = match message {
            Some(Kind::Observed(observed)) => {
                let (address, path) = multiaddr::from_observed(&observed.address)
                    .ok_or("an observed address that is none")?;
                // What fits no port is none.
                connection.listens_on(u16::try_from(observed.port).unwrap_or(0));
                // Else the port is that of one connection: it tells nobody where we can be reached.
                if path == PathKind::Tcp && connection.is_from_our_port() {
                    shared.observed_tcp(connection.remote(), address);
                }
                if path == PathKind::Quic
                    && connection.path() == PathKind::Quic
                    && told.len() < MAX_OBSERVED
                    && !told.contains(&address)
                {
                    told.push(address);
                    shared.observed(connection.remote(), address);
                    let event = TransportEvent::Observed {
                        by: connection.peer(),
                        from: connection.remote(),
                        address,
                    };
                    events.send(event).await.map_err(|_| "nobody listens")?;
                }
                None
            }
            Some(Kind::Probe(probe)) => {
                let nonce = probe.nonce;
                connection.flow().say(Kind::Echo(proto::Echo { nonce }));
                None
            }
            Some(Kind::Echo(echo)) => {
                if let Some(rtt) = probes.echoed(echo.nonce) {
                    connection.measured(rtt);
                }
                None
            }
            Some(Kind::Selected(_)) => Some(Word::Selected),
            Some(Kind::Stalled(_)) => Some(Word::Stalled),
            Some(Kind::Unanswered(_)) => Some(Word::Unanswered),
            Some(Kind::Drain(_)) => Some(Word::Drain),
            Some(kind @ (Kind::PunchTo(_) | Kind::PunchFrom(_))) => {
                punches += 1;
                if punches > PUNCHES {
                    tokio::time::sleep(PUNCHES_PAUSE).await;
                }
                let punch = Msg::Punch(connection.id(), Box::new(kind));
                registry.send(punch).await.map_err(|_| "stopped")?;
                None
            }
            None => None,
        };
        if let Some(word) = word {
            words += 1;
            if words > WORDS {
                tokio::time::sleep(WORDS_PAUSE).await;
            }
            let told = Msg::Told {
                id: connection.id(),
                word,
            };
            registry.send(told).await.map_err(|_| "stopped")?;
        }
        message = read(recv).await?;
    }
}

/// One message; `None` for kinds of later versions.
async fn read(recv: &mut (impl AsyncRead + Unpin)) -> Result<Option<Kind>, &'static str> {
    let mut prefix = [0; 4];
    recv.read_exact(&mut prefix)
        .await
        .map_err(|_| "the control stream ended")?;
    let len = check_len(prefix).map_err(|_| "an oversized control message")?;
    let mut bytes = vec![0; len];
    recv.read_exact(&mut bytes)
        .await
        .map_err(|_| "the control stream ended")?;
    decode(&bytes).map_err(|_| "a malformed control message")
}
