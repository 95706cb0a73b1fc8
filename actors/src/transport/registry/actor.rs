//! The registry: the permanent actor that owns all connections.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bitchat_wire::proto::{self, control::Kind};

use libp2p_identity::PeerId;
use tokio::sync::watch as state;

use super::doubles::{Candidate, survivor};
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
        msg::{DialState, Dialling, Msg, PeerReport},
        punch::{self, Via},
        shared::{Ended, Shared},
        socket::changes::Changes,
    },
};

/// Questions that wait. Each is answered at once, so this fills only when very many ask at the same moment; they wait.
pub(crate) const MAILBOX: usize = 64;
/// Connections that we dial, at least; to them come those that others may open.
const MAX_DIALLED: usize = 256;
/// Dials under way: what discovery has in flight at most (32 unanswered, 4 answered), and as much again.
const MAX_DIALS: usize = 72;

/// A second path to one peer is not tried more often than this.
const SECOND_PATH_PAUSE: Duration = Duration::from_secs(5);
/// How often the wall clock is looked at.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(5);
/// A jump of the wall clock that means that the machine slept: what was connected then may not be so now.
const JUMP: Duration = Duration::from_secs(10);

/// A life of the registry fails with its sockets only.
#[derive(Debug, thiserror::Error)]
#[error("a socket failed")]
pub(crate) struct SocketLost;

/// One life of the registry.
pub(crate) struct Registry {
    shared: Arc<Shared>,
    own: Addr<Msg>,
    open: HashMap<ConnectionId, Connection>,
    dials: HashMap<(SocketAddr, Option<PeerId>), state::Sender<DialState>>,
    /// When a second path to a peer was tried last; of peers that are connected.
    second: HashMap<PeerId, Instant>,
    /// How many connections were let in.
    admitted: u64,
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
                        tracing::info!(?jump, "the clock has jumped: all paths are probed");
                        self.open.values().for_each(check);
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
            // The owner is told as far as it still listens; nothing waits for it any more.
            while let Some(ended) = shared.ledger.take() {
                if let Some(event) = closed(ended) {
                    let _ = shared.events.try_send(event);
                }
            }
        }
        end
    }
}

/// Reports the next end to the owner, when it has room, and says whose it was. Cancel-safe: a word is taken only when
/// it can be passed on.
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
    /// A new life, in which nothing is open yet.
    pub(crate) fn new(shared: Arc<Shared>, own: Addr<Msg>) -> Self {
        Self {
            shared,
            own,
            open: HashMap::new(),
            dials: HashMap::new(),
            second: HashMap::new(),
            admitted: 0,
        }
    }

    /// Never waits. An asker that has gone does not need its answer.
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
                let open = self.open.values().filter(|one| !one.is_closed());
                let _ = reply.send(open.cloned().collect());
            }
            Msg::Bar {
                peer,
                address,
                time,
                reply,
            } => {
                self.shared.bar(peer, address, time);
                self.open
                    .values()
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
        tracing::info!("the network has changed: all paths are probed");
        self.shared.nat(|nat| nat.moved());
        self.open.values().for_each(check);
        // An owner that has no room hears of it by what becomes of the connections.
        let _ = self.shared.events.try_send(TransportEvent::Moved);
    }

    fn admits(&self, connection: &Connection) -> bool {
        !connection.is_closed()
            && self.open.len() < MAX_DIALLED + self.shared.admission.most()
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
        if let Some(connection) = self.find(address, expected) {
            return Dialling::Done(Ok(connection));
        }
        self.forget_dials();
        if let Some(dial) = self.dials.get(&(address, expected)) {
            return Dialling::Wait(dial.subscribe());
        }
        if self.dials.len() >= MAX_DIALS {
            return Dialling::Done(Err(DialError::Busy));
        }
        if !self.shared.may_dial(address, expected) {
            return Dialling::Done(Err(DialError::Forbidden));
        }
        if !self.shared.listens_nowhere() && self.shared.local_for(address.ip()).is_none() {
            return Dialling::Done(Err(DialError::NoSocket));
        }
        let (waiting, answer) = state::channel(None);
        self.dials.insert((address, expected), waiting.clone());
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

    /// Forgets dials that ended, and those that nobody waits for.
    fn forget_dials(&mut self) {
        self.dials
            .retain(|_, dial| dial.borrow().is_none() && !dial.is_closed());
    }

    /// The open connection to that peer or, where none is expected, to that address. One through which nothing gets is
    /// none: another is made beside it.
    fn find(&self, address: SocketAddr, expected: Option<PeerId>) -> Option<Connection> {
        let wanted = |one: &&Connection| {
            !one.is_closed()
                && !one.is_stalled()
                // Whoever dials an address wants a better way than a relay.
                && one.path() != PathKind::Relayed
                && match expected {
                    Some(peer) => one.peer() == peer,
                    None => one.remote() == address,
                }
        };
        let found: Vec<&Connection> = self.open.values().filter(wanted).collect();
        // Where one was picked, that one; all who ask get the same.
        let staying = found.iter().filter(|one| !one.is_draining());
        let best = survivor(staying.map(|one| candidate(one)))
            .or_else(|| survivor(found.iter().map(|one| candidate(one))))?;
        self.open.get(&best).cloned()
    }

    fn of(&self, peer: PeerId) -> Vec<Connection> {
        let of_peer = |one: &&Connection| one.peer() == peer && !one.is_closed();
        self.open.values().filter(of_peer).cloned().collect()
    }

    /// Begins the life of a connection that is let in.
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
        self.admitted += 1;
        connection.flow().admit(self.admitted);
        let others = self.of(peer);
        if !others.is_empty() && others.iter().all(Connection::is_stalled) {
            // The peer may not have noticed, and would pick what it thinks is better.
            connection.flow().send(Kind::Stalled(proto::Stalled {}));
        }
        // Whoever dials that peer need not go on, wherever it has come from.
        if connection.path() != PathKind::Relayed {
            let of_peer = self.dials.iter().filter(|(key, _)| key.1 == Some(peer));
            for (_, dial) in of_peer {
                dial.send_if_modified(|state| {
                    let open = state.is_none();
                    if open {
                        *state = Some(Ok(connection.clone()));
                    }
                    open
                });
            }
        }
        self.open.insert(connection.id(), connection);
        self.settle(peer);
    }

    /// The connection with a peer that has links with us, and may have links with another: the best that works.
    fn linked(&self, peer: PeerId) -> Option<Connection> {
        let all = self.of(peer);
        let linked = all.iter().filter(|one| one.has_links());
        let best = survivor(linked.map(candidate))?;
        self.open.get(&best).cloned()
    }

    fn carrier(&self, via: PeerId) -> Option<Via> {
        let connection = self.linked(via).filter(|one| !one.is_stalled())?;
        Some(Via {
            connection,
            carried: true,
        })
    }

    /// Carries a punch from one peer to another, if we have links with both.
    fn carry(&self, id: ConnectionId, punch: proto::PunchTo) {
        let from = self.open.get(&id).filter(|one| one.has_links());
        let to = PeerId::from_bytes(&punch.peer).ok();
        let to = to.and_then(|to| self.linked(to));
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

    /// A punch for us. Only peers with links are heard.
    fn punched(&self, id: ConnectionId, punch: &proto::PunchFrom, scope: &Scope) {
        let Some(connection) = self.open.get(&id).filter(|one| one.has_links()) else {
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
        // Punches are for direct ways, and say where we are.
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
        if let Some(gone) = self.open.remove(&id) {
            self.settle(gone.peer());
            if self.of(gone.peer()).is_empty() {
                self.second.remove(&gone.peer());
            }
        }
        self.forget_dials();
    }

    /// Picks which of a peer's connections stays, where that is ours to do, and says so on it. All of them are the same
    /// peer's, who has proven that: nobody else can end any of them.
    fn settle(&self, peer: PeerId) {
        let all = self.of(peer);
        if let [only] = &all[..] {
            only.drain_to(None);
        }
        let Some(stays) = survivor(all.iter().map(candidate)) else {
            return;
        };
        if all.len() < 2 || !all[0].chooses() {
            return;
        }
        let news = all
            .iter()
            .any(|one| (one.id() == stays) == one.is_draining());
        drain_all_but(stays, &all);
        if news && let Some(stays) = self.open.get(&stays) {
            stays.flow().send(Kind::Selected(proto::Selected {}));
        }
    }

    fn stalled(&mut self, id: ConnectionId, scope: &Scope) {
        let Some(connection) = self.open.get(&id) else {
            return;
        };
        let peer = connection.peer();
        tracing::debug!(?connection, "nothing gets through");
        let now = Instant::now();
        let recent = |at: &Instant| now.saturating_duration_since(*at) < SECOND_PATH_PAUSE;
        let works = self.of(peer).iter().any(|one| !one.is_stalled());
        if !works
            && !self.second.get(&peer).is_some_and(recent)
            && let Some(Target::Direct(address)) = connection.dialable()
        {
            self.second.insert(peer, now);
            let (shared, own) = (Arc::clone(&self.shared), self.own.clone());
            let task = dial::second_path(address, peer, shared, own);
            scope.transient(tracing::debug_span!("connection"), Box::pin(task));
        }
        self.settle(peer);
    }

    fn reported(&mut self, id: ConnectionId, report: PeerReport, scope: &Scope) {
        let Some(connection) = self.open.get(&id) else {
            return;
        };
        let all = self.of(connection.peer());
        match report {
            PeerReport::Selected if !connection.chooses() => drain_all_but(id, &all),
            // Only the higher PeerId picks.
            PeerReport::Selected => {}
            PeerReport::Stalled => {
                let is_other = |one: &&Connection| one.id() != id;
                // One that has only just come is not meant: both sides may have tried a second path.
                for other in all
                    .iter()
                    .filter(is_other)
                    .filter(|one| one.flow().age() >= STALL)
                {
                    // Until it shows that it works after all.
                    other.flow().set_stalled(true);
                    check(other);
                }
                self.settle(connection.peer());
            }
            PeerReport::Unanswered => {
                connection.flow().set_stalled(true);
                check(connection);
                self.stalled(id, scope);
            }
            PeerReport::Drain => {
                let others = all.iter().filter(|one| one.id() != id);
                let other = survivor(others.map(candidate)).and_then(|id| self.open.get(&id));
                if let Some(other) = other {
                    connection.drain_to(Some(other));
                }
            }
        }
    }
}

fn candidate(connection: &Connection) -> Candidate {
    Candidate {
        id: connection.id(),
        admitted: connection.flow().number(),
        path: connection.path(),
        stalled: connection.is_stalled(),
    }
}

fn drain_all_but(stays: ConnectionId, all: &[Connection]) {
    let Some(survivor) = all.iter().find(|one| one.id() == stays) else {
        return;
    };
    for one in all {
        let other = (one.id() != stays).then_some(survivor);
        one.drain_to(other);
    }
}

/// The wall clock beside the monotonic one, which stands still while a machine sleeps.
struct Clocks {
    wall: SystemTime,
    steady: Instant,
}

impl Clocks {
    fn new() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }

    /// By how much the wall clock went further than the other since the last call, if that is much.
    fn jumped(&mut self) -> Option<Duration> {
        let now = Self::new();
        let wall = now.wall.duration_since(self.wall).unwrap_or_default();
        let jump = wall.saturating_sub(now.steady.saturating_duration_since(self.steady));
        *self = now;
        (jump >= JUMP).then_some(jump)
    }
}
