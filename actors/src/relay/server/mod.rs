//! The serving half: reservations, circuits, and members that meet under a key (`docs/PROTOCOL.md`, relays).
//!
//! [`state`] decides, [`splice`] forwards, and each request stream is a task of its own here, bounded in all and per
//! connection. Whatever ends a task, a guard frees what it held.

mod splice;
mod state;

use std::{
    collections::HashMap,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bitchat_wire::{
    proto::{self, refused::Reason, relay::Kind},
    stream::StreamKind,
};
use libp2p_identity::PeerId;
use tokio::{
    io::AsyncWriteExt,
    sync::{Notify, mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    splice::splice,
    state::{CircuitId, Key, Met, ReservationId, Source, State},
};
use super::{RelayLimits, RelayMode, framing, metrics::Metrics};
use crate::{
    kit::Guard,
    transport::{Connection, ConnectionId, PathKind, Stream},
};

/// Messages queued for a reservation's stream; when it is full, further ones are dropped.
const QUEUE: usize = 64;
/// Streams of one connection whose request has not arrived yet.
const PENDING: usize = 8;
/// Total over all connections.
const PENDING_ALL: usize = 256;
/// How long to wait for a peer that requests a reservation to become known as a member: it may have linked a moment ago.
const LINKED_SOON: Duration = Duration::from_secs(1);
/// How soon a client that was refused may come back, in seconds.
const FULL_PAUSE: u64 = 30;
/// How often to check whether circuits have ended, while stopping.
const CHECK: Duration = Duration::from_millis(50);

/// A reservation's stream, as other tasks use it.
struct Holder {
    queue: mpsc::Sender<Kind>,
    connection: Connection,
    /// Cancelled when a later reservation of the same peer takes its place.
    replaced: CancellationToken,
}

/// The serving half.
pub(super) struct Server {
    mode: RelayMode,
    limits: RelayLimits,
    state: Mutex<State>,
    holders: Mutex<HashMap<ReservationId, Holder>>,
    /// Members that are linked, and the number of their links.
    members: Mutex<HashMap<PeerId, usize>>,
    /// Notified when a member links.
    joined: Notify,
    /// Streams whose request has not arrived yet.
    pending: Mutex<HashMap<ConnectionId, usize>>,
    leaving: watch::Sender<bool>,
    drained: AtomicBool,
    metrics: Metrics,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    pub(super) fn new(mode: RelayMode, limits: RelayLimits, metrics: Metrics) -> Arc<Self> {
        Arc::new(Self {
            mode,
            limits,
            state: Mutex::new(State::new(limits)),
            holders: Mutex::default(),
            members: Mutex::default(),
            joined: Notify::new(),
            pending: Mutex::default(),
            leaving: watch::Sender::new(false),
            drained: AtomicBool::new(false),
            metrics,
        })
    }

    /// Counts a link of a member for as long as the guard lives.
    pub(super) fn member(self: &Arc<Self>, peer: PeerId) -> Guard<impl FnOnce() + use<>> {
        *lock(&self.members).entry(peer).or_insert(0) += 1;
        self.joined.notify_waiters();
        let server = Arc::clone(self);
        Guard::new(move || {
            let mut members = lock(&server.members);
            if let Some(count) = members.get_mut(&peer) {
                *count -= 1;
                if *count == 0 {
                    members.remove(&peer);
                }
            }
        })
    }

    /// Accepts nothing new, notifies the holders of reservations, and waits up to `patience` for circuits to end.
    pub(super) async fn drain(&self, patience: Duration) {
        lock(&self.state).stop();
        if self.drained.swap(true, Ordering::AcqRel) {
            return;
        }
        self.leaving.send_replace(true);
        let quiet = async {
            while lock(&self.state).circuits() > 0 {
                sleep(CHECK).await;
            }
        };
        let _ = timeout(patience, quiet).await;
    }

    /// The numbers of reservations and circuits.
    pub(super) fn counts(&self) -> (usize, usize) {
        (lock(&self.holders).len(), lock(&self.state).circuits())
    }

    /// Serves a request stream to its end.
    pub(super) async fn serve(self: Arc<Self>, connection: Connection, mut stream: Stream) {
        let Some(pending) = self.enter(connection.id()) else {
            self.metrics.refused(Reason::Full);
            return; // dropping the stream resets it
        };
        let Ok(first) = framing::read_soon(&mut stream.recv).await else {
            return;
        };
        if matches!(first, Kind::Reserve(_)) && self.may_reserve_soon(&connection) {
            let linked = async {
                loop {
                    // Before the check, so that no link is missed.
                    let joined = self.joined.notified();
                    if self.may_reserve(&connection) {
                        break;
                    }
                    joined.await;
                }
            };
            let _ = timeout(LINKED_SOON, linked).await;
        }
        drop(pending);
        // After an error the stream is gone, and there is nobody left to report it to.
        let _ = match first {
            Kind::Reserve(_) => self.hold(connection, stream).await,
            Kind::Connect(connect) => match PeerId::from_bytes(&connect.peer) {
                Ok(target) => self.connect(connection, stream, target).await,
                Err(_) => Ok(()),
            },
            _ => Ok(()),
        };
    }

    /// Counts a pending stream until the guard is dropped; `None` if there are too many.
    fn enter(self: &Arc<Self>, id: ConnectionId) -> Option<Guard<impl FnOnce() + use<>>> {
        let mut pending = lock(&self.pending);
        let all: usize = pending.values().sum();
        let here = pending.get(&id).copied().unwrap_or(0);
        if here >= PENDING || all >= PENDING_ALL {
            return None;
        }
        pending.insert(id, here + 1);
        drop(pending);
        let server = Arc::clone(self);
        Some(Guard::new(move || {
            let mut pending = lock(&server.pending);
            if let Some(count) = pending.get_mut(&id) {
                *count -= 1;
                if *count == 0 {
                    pending.remove(&id);
                }
            }
        }))
    }

    /// Whether that connection's peer may hold a reservation. One that comes through a relay may not: circuits have one hop.
    fn may_reserve(&self, connection: &Connection) -> bool {
        connection.path() != PathKind::Relayed
            && match self.mode {
                RelayMode::Off => false,
                RelayMode::Members => lock(&self.members).contains_key(&connection.peer()),
                RelayMode::Public => true,
            }
    }

    /// Whether the peer may hold one as soon as it is linked.
    fn may_reserve_soon(&self, connection: &Connection) -> bool {
        self.mode == RelayMode::Members && connection.path() != PathKind::Relayed
    }

    async fn refuse(&self, stream: &mut Stream, reason: Reason) -> io::Result<()> {
        self.metrics.refused(reason);
        let retry_seconds = if reason == Reason::Full {
            FULL_PAUSE
        } else {
            0
        };
        let refused = Kind::Refused(proto::Refused {
            reason: reason.into(),
            retry_seconds,
        });
        framing::write(&mut stream.send, refused).await?;
        stream.send.shutdown().await
    }

    /// Grants a reservation, and runs it to its end.
    async fn hold(self: Arc<Self>, connection: Connection, mut stream: Stream) -> io::Result<()> {
        if !self.may_reserve(&connection) {
            return self.refuse(&mut stream, Reason::NotForYou).await;
        }
        let source = Source::of(connection.remote().ip());
        let reserved = lock(&self.state).reserve(connection.peer(), source, Instant::now());
        let (id, earlier) = match reserved {
            Ok(reserved) => reserved,
            Err(reason) => return self.refuse(&mut stream, reason).await,
        };
        if let Some(earlier) = earlier.and_then(|earlier| lock(&self.holders).remove(&earlier)) {
            earlier.replaced.cancel();
        }
        let (queue, mut queued) = mpsc::channel(QUEUE);
        let replaced = CancellationToken::new();
        let holder = Holder {
            queue,
            connection,
            replaced: replaced.clone(),
        };
        lock(&self.holders).insert(id, holder);
        self.metrics.reservations.inc();
        let _end = Guard::new({
            let server = Arc::clone(&self);
            move || {
                lock(&server.state).release(id);
                lock(&server.holders).remove(&id);
                server.metrics.reservations.dec();
            }
        });
        let reserved = Kind::Reserved(proto::Reserved {
            circuit_bytes: self.limits.circuit_bytes,
            circuit_seconds: self.limits.circuit_time.as_secs(),
            bytes_a_second: self.limits.bytes_a_second,
        });
        framing::write(&mut stream.send, reserved).await?;
        let Stream { mut send, mut recv } = stream;
        let mut leaving = self.leaving.subscribe();
        let writing = async {
            loop {
                let message = tokio::select! {
                    biased;
                    // The holder is notified once; its reservation lasts until the end.
                    () = async { drop(leaving.wait_for(|leaving| *leaving).await) } => {
                        framing::write(&mut send, Kind::Leaving(proto::Leaving {})).await?;
                        return std::future::pending::<io::Result<()>>().await;
                    }
                    message = queued.recv() => message,
                };
                // The table of holders keeps the sender.
                let Some(message) = message else {
                    return Ok(());
                };
                framing::write(&mut send, message).await?;
            }
        };
        let reading = async {
            loop {
                if let Kind::Register(register) = framing::read(&mut recv).await? {
                    let keys = register.keys.iter();
                    let keys = keys.filter_map(|key| Key::try_from(key.as_ref()).ok());
                    let met = lock(&self.state).register(id, keys, Instant::now());
                    // A holder that registers too often has to reserve again.
                    let met = met.ok_or(io::ErrorKind::QuotaExceeded)?;
                    self.notify(met);
                }
            }
        };
        tokio::select! {
            biased;
            () = replaced.cancelled() => Ok(()),
            end = reading => end,
            end = writing => end,
        }
    }

    fn notify(&self, met: Vec<Met>) {
        let holders = lock(&self.holders);
        for Met { to, key, peers } in met {
            if let Some(holder) = holders.get(&to) {
                let met = Kind::Met(proto::Met {
                    key: key.to_vec().into(),
                    peers: peers.iter().map(|peer| peer.to_bytes().into()).collect(),
                });
                // A holder that reads too slowly finds the others another way.
                let _ = holder.queue.try_send(met);
            }
        }
    }

    /// Opens a circuit, and runs it to its end.
    async fn connect(
        self: Arc<Self>,
        connection: Connection,
        mut stream: Stream,
        target: PeerId,
    ) -> io::Result<()> {
        if self.mode == RelayMode::Off || connection.path() == PathKind::Relayed {
            return self.refuse(&mut stream, Reason::NotForYou).await;
        }
        let (from, source) = (connection.peer(), Source::of(connection.remote().ip()));
        let begun = lock(&self.state).connect(from, source, target, Instant::now());
        let (circuit, reservation) = match begun {
            Ok(begun) => begun,
            Err(reason) => return self.refuse(&mut stream, reason).await,
        };
        self.metrics.circuits.inc();
        let _end = self.ends(circuit);
        let there = lock(&self.holders)
            .get(&reservation)
            .map(|holder| holder.connection.clone());
        let asked = match there {
            Some(there) => timeout(framing::ANSWER, ask(&there, from)).await,
            None => return self.refuse(&mut stream, Reason::NoReservation).await,
        };
        let Ok(Ok(other)) = asked else {
            return self.refuse(&mut stream, Reason::NoAnswer).await;
        };
        framing::write(&mut stream.send, Kind::Accepted(proto::Accepted {})).await?;
        let reason = splice(stream, other, &self.limits, &self.metrics.bytes).await;
        self.metrics.ended(reason);
        Ok(())
    }

    fn ends(self: &Arc<Self>, circuit: CircuitId) -> Guard<impl FnOnce() + use<>> {
        let server = Arc::clone(self);
        Guard::new(move || {
            lock(&server.state).end(circuit);
            server.metrics.circuits.dec();
        })
    }
}

/// Asks the target whether it accepts a circuit from that peer.
async fn ask(target: &Connection, from: PeerId) -> io::Result<Stream> {
    let mut stream = target.open(StreamKind::RelayStop).await?;
    let incoming = Kind::Incoming(proto::Incoming {
        peer: from.to_bytes().into(),
    });
    framing::write(&mut stream.send, incoming).await?;
    match framing::read(&mut stream.recv).await? {
        Kind::Accepted(_) => Ok(stream),
        _ => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}
