//! The registry's actor: registers connections, starts dials, and decides between connections of one peer.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::proto::{self, control::Kind};
use libp2p_identity::PeerId;

use super::{
    clocks::Clocks,
    dials::Dials,
    table::{Table, drain_all_but},
};
use crate::{
    kit::{Actor, Addr, Inbox, Scope},
    transport::{
        address::{
            PathKind, Target,
            multiaddr::{from_multiaddr, to_multiaddr},
        },
        admission::Ticket,
        api::{DialError, TransportEvent},
        connection::{Connection, ConnectionId},
        dial,
        life::{STALL, check, live},
        msg::{Dialling, Msg, PeerReport},
        punch::{self, Via},
        shared::{Ended, Shared},
        socket::changes::Changes,
    },
};

/// Capacity of the mailbox. Each message is answered at once, so it fills only when very many callers send at the same
/// moment; they wait.
pub(crate) const MAILBOX: usize = 64;
/// Connections that we may dial, at least; those that others may open come on top.
const MAX_DIALLED: usize = 256;
/// Least time between two attempts at a second path to one peer.
const SECOND_PATH_PAUSE: Duration = Duration::from_secs(5);
/// How often the wall clock is checked for a jump.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);

/// Ends a life of the registry: one of its sockets failed.
#[derive(Debug, thiserror::Error)]
#[error("a socket failed")]
pub(crate) struct SocketLost;

/// One life of the registry.
pub(crate) struct Registry {
    shared: Arc<Shared>,
    own: Addr<Msg>,
    table: Table,
    dials: Dials,
    /// When a second path was last tried, for connected peers.
    second: HashMap<PeerId, Instant>,
}

impl Actor for Registry {
    type Msg = Msg;
    type Error = SocketLost;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), SocketLost> {
        for endpoint in self.shared.endpoints() {
            let listen = dial::listen(
                endpoint,
                Arc::clone(&self.shared),
                self.own.clone(),
                scope.clone(),
            );
            scope.transient(tracing::Span::current(), listen);
        }
        for listener in self.shared.listeners() {
            let (shared, own) = (Arc::clone(&self.shared), self.own.clone());
            let listen = dial::listen_tcp(listener, shared, own, scope.clone());
            scope.transient(tracing::Span::current(), listen);
        }
        let shared = Arc::clone(&self.shared);
        let mut clocks = Clocks::new();
        let mut changes = Changes::new();
        let mut look = tokio::time::interval(LOOK_AT_CLOCK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let end = loop {
            let message = tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => break Ok(()),
                ended = next_ended(&shared) => {
                    self.ended(ended);
                    continue;
                }
                () = changes.next() => {
                    self.moved();
                    continue;
                }
                _ = look.tick() => {
                    if changes.look() {
                        self.moved();
                    }
                    if let Some(jump) = clocks.jumped() {
                        tracing::info!(?jump, "the clock has jumped; probing all paths");
                        self.table.iter().for_each(check);
                    }
                    continue;
                }
                message = inbox.recv() => message,
            };
            match message {
                None => break Ok(()),
                Some(Msg::SocketLost) => break Err(SocketLost),
                Some(message) => self.handle(message, scope),
            }
        };
        if end.is_ok() {
            drop(self);
            shared.stop().await;
            // As far as the owner still has room; nothing waits for it any more.
            while let Some(ended) = shared.ledger.take() {
                if let Some(event) = closed(ended) {
                    let _ = shared.events.try_send(event);
                }
            }
        }
        end
    }
}

/// Reports the next ended connection to the owner once that has room, and returns its id. Cancel-safe: an entry is taken
/// only when it can be passed on.
async fn next_ended(shared: &Shared) -> ConnectionId {
    loop {
        shared.ledger.not_empty().await;
        let room = shared.events.reserve().await;
        let Some(ended) = shared.ledger.take() else {
            continue;
        };
        let id = ended.id;
        if let (Ok(room), Some(event)) = (room, closed(ended)) {
            room.send(event);
        }
        return id;
    }
}

fn closed(ended: Ended) -> Option<TransportEvent> {
    let Ended {
        id,
        peer,
        reason,
        announced,
    } = ended;
    announced.then_some(TransportEvent::Closed { id, peer, reason })
}

impl Registry {
    /// A new life of the registry, with no connections yet.
    pub(crate) fn new(shared: Arc<Shared>, own: Addr<Msg>) -> Self {
        Self {
            shared,
            own,
            table: Table::default(),
            dials: Dials::default(),
            second: HashMap::new(),
        }
    }

    /// Handles one message without waiting. A caller that has gone needs no reply.
    fn handle(&mut self, message: Msg, scope: &Scope) {
        match message {
            Msg::Dial {
                address,
                expected,
                via,
                reply,
            } => {
                let _ = reply.send(self.dial(address, expected, via, scope));
            }
            Msg::Adopt(adoption, reply) => {
                let (shared, own) = (Arc::clone(&self.shared), self.own.clone());
                let task = dial::adopt(*adoption, reply, shared, own);
                scope.transient(tracing::debug_span!("connection"), Box::pin(task));
            }
            Msg::Register {
                connection,
                ticket,
                reply,
            } => {
                let admitted = !reply.is_closed() && self.admits(&connection);
                if admitted {
                    self.admit(connection.clone());
                    self.begin(connection, ticket, scope);
                }
                let _ = reply.send(admitted);
            }
            Msg::Connections(reply) => {
                let open = self.table.iter().filter(|one| !one.is_closed());
                let _ = reply.send(open.cloned().collect());
            }
            Msg::Bar {
                peer,
                address,
                time,
                reply,
            } => {
                self.shared.bar(peer, address, time);
                self.table
                    .iter()
                    .filter(|one| {
                        one.peer() == peer || (address.is_some() && one.direct() == address)
                    })
                    .for_each(Connection::close);
                let _ = reply.send(());
            }
            Msg::Stalled(id) => self.stalled(id, scope),
            Msg::Reported { id, report } => self.reported(id, report, scope),
            Msg::Punch(id, kind) => match *kind {
                Kind::PunchTo(punch) => self.carry(id, punch),
                Kind::PunchFrom(punch) => self.punched(id, &punch, scope),
                _ => {}
            },
            // The loop ends the life instead.
            Msg::SocketLost => {}
        }
    }

    fn moved(&self) {
        tracing::info!("the network has changed; probing all paths");
        self.shared.nat(|nat| nat.moved());
        self.table.iter().for_each(check);
        // An owner without room learns of it from what becomes of the connections.
        let _ = self.shared.events.try_send(TransportEvent::Moved);
    }

    fn admits(&self, connection: &Connection) -> bool {
        !connection.is_closed()
            && self.table.len() < MAX_DIALLED + self.shared.admission.most()
            && self.shared.allows(connection.path())
            && !self
                .shared
                .is_barred(Some(&connection.peer()), connection.direct().as_ref())
    }

    fn dial(
        &mut self,
        address: SocketAddr,
        expected: Option<PeerId>,
        via: Option<PeerId>,
        scope: &Scope,
    ) -> Dialling {
        if expected == Some(self.shared.tls.peer()) {
            return Dialling::Done(Err(DialError::Ourselves));
        }
        if self.shared.is_barred(expected.as_ref(), Some(&address)) {
            return Dialling::Done(Err(DialError::Barred));
        }
        if let Some(connection) = self.table.find(address, expected) {
            return Dialling::Done(Ok(connection));
        }
        self.dials.forget();
        if let Some(dial) = self.dials.join(address, expected) {
            return Dialling::Wait(dial);
        }
        if self.dials.is_full() {
            return Dialling::Done(Err(DialError::Busy));
        }
        if !self.shared.may_dial(address, expected) {
            return Dialling::Done(Err(DialError::Forbidden));
        }
        if !self.shared.listens_nowhere() && self.shared.local_for(address.ip()).is_none() {
            return Dialling::Done(Err(DialError::NoSocket));
        }
        let (waiting, answer) = self.dials.begin(address, expected);
        let task = dial::dial(
            address,
            expected,
            via.and_then(|via| self.carrier(via)),
            waiting,
            Arc::clone(&self.shared),
            self.own.clone(),
        );
        scope.transient(tracing::debug_span!("connection"), Box::pin(task));
        Dialling::Wait(answer)
    }

    /// Starts the life of a registered connection, and the search for a better path where it is poor.
    fn begin(&self, connection: Connection, mut ticket: Option<Ticket>, scope: &Scope) {
        if let Some(ticket) = &mut ticket {
            self.shared.metrics.incoming("ok");
            ticket.opened();
        }
        let (shared, own) = (Arc::clone(&self.shared), self.own.clone());
        let better = punch::better(connection.clone(), Arc::clone(&shared), own.clone());
        let life = live(connection, shared, own, ticket);
        scope.transient(tracing::debug_span!("connection"), Box::pin(life));
        if let Some(better) = better {
            scope.transient(tracing::debug_span!("connection"), Box::pin(better));
        }
    }

    fn admit(&mut self, connection: Connection) {
        let peer = connection.peer();
        self.table.number(&connection);
        let others = self.table.of(peer);
        if !others.is_empty() && others.iter().all(Connection::is_stalled) {
            // The peer may not have noticed, and would pick the one that looks better to it.
            connection.flow().send(Kind::Stalled(proto::Stalled {}));
        }
        // Dials of that peer are done, whichever side opened the connection.
        if connection.path() != PathKind::Relayed {
            self.dials.reached(peer, &connection);
        }
        self.table.insert(connection);
        self.table.settle(peer);
    }

    /// A route for punch requests through the peer `via`; `None` if no link with it works.
    fn carrier(&self, via: PeerId) -> Option<Via> {
        let connection = self.table.linked(via).filter(|one| !one.is_stalled())?;
        Some(Via {
            connection,
            carried: true,
        })
    }

    /// Forwards a punch message from one peer to another, if we have links with both.
    fn carry(&self, id: ConnectionId, punch: proto::PunchTo) {
        let from = self.table.get(id).filter(|one| one.has_links());
        let to = PeerId::from_bytes(&punch.peer).ok();
        let to = to.and_then(|to| self.table.linked(to));
        if let (Some(from), Some(to)) = (from, to)
            && from.peer() != to.peer()
        {
            let seen = match from.path() {
                PathKind::Quic => to_multiaddr(from.remote()).into(),
                _ => bytes::Bytes::new(),
            };
            to.flow().send_if_room(Kind::PunchFrom(proto::PunchFrom {
                peer: from.peer().to_bytes().into(),
                seen,
                punch: punch.punch,
            }));
        }
    }

    /// Handles a punch message for us. Those of peers without links are ignored.
    fn punched(&self, id: ConnectionId, punch: &proto::PunchFrom, scope: &Scope) {
        let Some(connection) = self.table.get(id).filter(|one| one.has_links()) else {
            return;
        };
        let carried = !punch.peer.is_empty();
        let peer = if carried {
            PeerId::from_bytes(&punch.peer).ok()
        } else {
            Some(connection.peer())
        };
        let (Some(peer), Some(what)) = (peer, &punch.punch) else {
            return;
        };
        // Punching is for direct paths, and reveals our addresses.
        if peer == self.shared.tls.peer()
            || self.shared.paths.is_hidden()
            || !what.answer && !self.shared.allows_punch()
        {
            return;
        }
        let via = Via {
            connection: connection.clone(),
            carried,
        };
        let seen = from_multiaddr(&punch.seen);
        if let Some(task) = punch::received(via, peer, seen, what, &self.shared, &self.own) {
            scope.transient(tracing::debug_span!("connection"), Box::pin(task));
        }
    }

    fn ended(&mut self, id: ConnectionId) {
        if let Some(gone) = self.table.remove(id) {
            self.table.settle(gone.peer());
            if self.table.of(gone.peer()).is_empty() {
                self.second.remove(&gone.peer());
            }
        }
        self.dials.forget();
    }

    fn stalled(&mut self, id: ConnectionId, scope: &Scope) {
        let Some(connection) = self.table.get(id) else {
            return;
        };
        let peer = connection.peer();
        tracing::debug!(?connection, "nothing gets through");
        let now = Instant::now();
        let recent = |at: &Instant| now.saturating_duration_since(*at) < SECOND_PATH_PAUSE;
        let works = self.table.of(peer).iter().any(|one| !one.is_stalled());
        if !works
            && !self.second.get(&peer).is_some_and(recent)
            && let Some(Target::Direct(address)) = connection.dialable()
        {
            self.second.insert(peer, now);
            let (shared, own) = (Arc::clone(&self.shared), self.own.clone());
            let task = dial::second_path(address, peer, shared, own);
            scope.transient(tracing::debug_span!("connection"), Box::pin(task));
        }
        self.table.settle(peer);
    }

    fn reported(&mut self, id: ConnectionId, report: PeerReport, scope: &Scope) {
        let Some(connection) = self.table.get(id) else {
            return;
        };
        let all = self.table.of(connection.peer());
        match report {
            PeerReport::Selected if !connection.chooses() => drain_all_but(id, &all),
            // Only the higher PeerId picks.
            PeerReport::Selected => {}
            PeerReport::Stalled => {
                let is_other = |one: &&Connection| one.id() != id;
                // A connection that is only just there is not meant: both sides may have tried a second path.
                for other in all
                    .iter()
                    .filter(is_other)
                    .filter(|one| one.flow().age() >= STALL)
                {
                    // Until it proves to work after all.
                    other.flow().set_stalled(true);
                    check(other);
                }
                self.table.settle(connection.peer());
            }
            PeerReport::Unanswered => {
                connection.flow().set_stalled(true);
                check(connection);
                self.stalled(id, scope);
            }
            PeerReport::Drain => {
                if let Some(other) = self.table.best_but(id, &all) {
                    connection.drain_to(Some(other));
                }
            }
        }
    }
}
