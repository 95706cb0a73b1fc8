//! The control stream: what the two ends of a connection report to each other about it (`docs/PROTOCOL.md`, control).

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
        msg::{Msg, PeerReport},
        shared::Shared,
    },
};

/// Time limit for the control stream to open and carry its first message.
const DEADLINE: Duration = Duration::from_secs(10);
/// Most observed addresses accepted from one connection; later ones are ignored.
const MAX_OBSERVED: usize = 16;
/// Reports about connections that a peer may send in a row, and the pause for each one after: each makes the registry
/// look at the peer's connections, and a sound peer sends a few in its whole life.
const REPORTS: u32 = 32;
const REPORTS_PAUSE: Duration = Duration::from_secs(1);
/// The same for punch messages; a newcomer to a large mesh sends one for each member.
const PUNCHES: u32 = 128;
const PUNCHES_PAUSE: Duration = Duration::from_millis(250);

/// Ends when the client has opened no control stream in time.
pub(crate) async fn missing() -> String {
    tokio::time::sleep(DEADLINE).await;
    "no control stream".to_owned()
}

/// Opens the control stream, as the TLS client, and serves it. Returns only when the connection must end, with the
/// reason.
pub(crate) async fn open(connection: &Connection, shared: &Shared, registry: &Addr<Msg>) -> String {
    match timeout(DEADLINE, connection.open(StreamKind::Control)).await {
        Ok(Ok(stream)) => serve(stream, connection, shared, registry).await,
        _ => "no control stream".to_owned(),
    }
}

/// Serves the open control stream, on either side. Returns only when the connection must end, with the reason.
pub(crate) async fn serve(
    stream: Stream,
    connection: &Connection,
    shared: &Shared,
    registry: &Addr<Msg>,
) -> String {
    let Stream { mut send, mut recv } = stream;
    send.is_control();
    let Some(mut outbox) = connection.flow().take_outbox() else {
        return "a second control stream".to_owned();
    };
    // Through a relay neither end sees the other's address.
    let observed = (connection.path() != PathKind::Relayed).then(|| {
        Kind::Observed(proto::Observed {
            address: multiaddr::observed(connection.remote(), connection.path()).into(),
            port: shared.local.first().map_or(0, |local| local.port()).into(),
        })
    });
    let probes = Probes::default();
    // Concurrently: a peer that leaves us no room to write is still read.
    let send_all = async {
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
                .map_err(|_| "the control stream failed")?;
            next = outbox.recv().await;
        }
        // The connection's own handle keeps the sender.
        std::future::pending::<Result<Infallible, &'static str>>().await
    };
    let receive_all = receive(&mut recv, connection, shared, registry, &probes);
    match tokio::try_join!(send_all, receive_all) {
        Err(reason) => reason.to_owned(),
        Ok((never, _)) => match never {},
    }
}

/// The last probe sent, which its echo measures.
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

async fn receive(
    recv: &mut (impl AsyncRead + Unpin),
    connection: &Connection,
    shared: &Shared,
    registry: &Addr<Msg>,
    probes: &Probes,
) -> Result<Infallible, &'static str> {
    let events: &mpsc::Sender<TransportEvent> = &shared.events;
    let mut addresses = Vec::new();
    let (mut reports, mut punches) = (0_u32, 0_u32);
    let mut message = timeout(DEADLINE, read(recv))
        .await
        .map_err(|_| "silence on the control stream")??;
    loop {
        let report = match message {
            Some(Kind::Observed(observed)) => {
                let (address, path) = multiaddr::from_observed(&observed.address)
                    .ok_or("an invalid observed address")?;
                // 0, as if unknown, if it is not a valid port.
                connection.listens_on(u16::try_from(observed.port).unwrap_or(0));
                // Otherwise the port belongs to that one connection, and reveals nothing about where we can be reached.
                if path == PathKind::Tcp && connection.is_from_our_port() {
                    shared.observed_tcp(connection.remote(), address);
                }
                if path == PathKind::Quic
                    && connection.path() == PathKind::Quic
                    && addresses.len() < MAX_OBSERVED
                    && !addresses.contains(&address)
                {
                    addresses.push(address);
                    shared.observed(connection.remote(), address);
                    let event = TransportEvent::Observed {
                        by: connection.peer(),
                        from: connection.remote(),
                        address,
                    };
                    events.send(event).await.map_err(|_| "the owner has gone")?;
                }
                None
            }
            Some(Kind::Probe(probe)) => {
                let nonce = probe.nonce;
                connection.flow().send(Kind::Echo(proto::Echo { nonce }));
                None
            }
            Some(Kind::Echo(echo)) => {
                if let Some(rtt) = probes.echoed(echo.nonce) {
                    connection.measured(rtt);
                }
                None
            }
            Some(Kind::Selected(_)) => Some(PeerReport::Selected),
            Some(Kind::Stalled(_)) => Some(PeerReport::Stalled),
            Some(Kind::Unanswered(_)) => Some(PeerReport::Unanswered),
            Some(Kind::Drain(_)) => Some(PeerReport::Drain),
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
        if let Some(report) = report {
            reports += 1;
            if reports > REPORTS {
                tokio::time::sleep(REPORTS_PAUSE).await;
            }
            let reported = Msg::Reported {
                id: connection.id(),
                report,
            };
            registry.send(reported).await.map_err(|_| "stopped")?;
        }
        message = read(recv).await?;
    }
}

/// Reads one message; `None` for kinds of later versions.
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
