//! The registry: the permanent actor that owns all connections.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use libp2p_identity::PeerId;
use tokio::sync::watch;

use super::{
    Connection, ConnectionId, DialError, TransportEvent,
    handshake::{self, DialState},
    ledger::Ended,
    shared::Shared,
};
use crate::kit::{Actor, Addr, Inbox, Reply, Scope};

/// Questions that wait. Each is answered at once, so this fills only when very many ask at the same moment; they wait.
pub(super) const MAILBOX: usize = 64;
/// Connections in all. Others can open half of them at most ([`super::admission::MAX_INCOMING`]).
pub(super) const MAX_CONNECTIONS: usize = 512;
/// Dials under way: what discovery has in flight at most (32 unanswered, 4 answered), and as much again.
const MAX_DIALS: usize = 72;

/// What the registry is asked and told.
pub(super) enum Msg {
    /// Find or make a connection.
    Dial {
        address: SocketAddr,
        expected: Option<PeerId>,
        reply: Reply<Dialling>,
    },
    /// A handshake is done: may the connection live?
    Register {
        connection: Connection,
        reply: Reply<bool>,
    },
    /// Which are open?
    Connections(Reply<Vec<Connection>>),
    /// Close what a newly barred peer has open.
    Bar {
        peer: PeerId,
        address: SocketAddr,
        time: Duration,
        reply: Reply<()>,
    },
    /// A socket takes no more packets.
    SocketLost,
}

/// The answer to a dial.
pub(super) enum Dialling {
    /// That is how it ended, or it never began.
    Done(Result<Connection, DialError>),
    /// It is under way. When all receivers are gone, it is given up.
    Wait(watch::Receiver<DialState>),
}

/// A life of the registry fails with its sockets only.
#[derive(Debug, thiserror::Error)]
#[error("a socket failed")]
pub(super) struct SocketLost;

/// One life of the registry.
pub(super) struct Registry {
    shared: Arc<Shared>,
    own: Addr<Msg>,
    open: HashMap<ConnectionId, Connection>,
    dials: HashMap<(SocketAddr, Option<PeerId>), watch::Sender<DialState>>,
}

impl Actor for Registry {
    type Msg = Msg;
    type Error = SocketLost;

    async fn run(mut self, inbox: &mut Inbox<Msg>, scope: &Scope) -> Result<(), SocketLost> {
        for endpoint in self.shared.endpoints() {
            let listen = handshake::listen(
                endpoint,
                Arc::clone(&self.shared),
                self.own.clone(),
                scope.clone(),
            );
            scope.transient(tracing::Span::current(), listen);
        }
        let shared = Arc::clone(&self.shared);
        let end = loop {
            let message = tokio::select! {
                biased;
                () = scope.stop_signal().cancelled() => break Ok(()),
                ended = next_ended(&shared) => {
                    self.open.remove(&ended);
                    self.forget_dials();
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
    pub(super) fn new(shared: Arc<Shared>, own: Addr<Msg>) -> Self {
        Self {
            shared,
            own,
            open: HashMap::new(),
            dials: HashMap::new(),
        }
    }

    /// Never waits. An asker that has gone does not need its answer.
    fn handle(&mut self, message: Msg, scope: &Scope) {
        match message {
            Msg::Dial {
                address,
                expected,
                reply,
            } => {
                let _ = reply.send(self.dial(address, expected, scope));
            }
            Msg::Register { connection, reply } => {
                let admitted = !reply.is_closed() && self.admits(&connection);
                if admitted {
                    self.open.insert(connection.id(), connection);
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
                    .filter(|one| one.peer() == peer || one.remote() == address)
                    .for_each(Connection::close);
                let _ = reply.send(());
            }
            // The loop ends the life instead.
            Msg::SocketLost => {}
        }
    }

    fn admits(&self, connection: &Connection) -> bool {
        !connection.is_closed()
            && self.open.len() < MAX_CONNECTIONS
            && !self
                .shared
                .is_barred(Some(&connection.peer()), &connection.remote())
    }

    fn dial(&mut self, address: SocketAddr, expected: Option<PeerId>, scope: &Scope) -> Dialling {
        if expected == Some(self.shared.tls.peer()) {
            return Dialling::Done(Err(DialError::Ourselves));
        }
        if self.shared.is_barred(expected.as_ref(), &address) {
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
        let Some(endpoint) = self.shared.endpoint_for(address.ip()) else {
            return Dialling::Done(Err(DialError::NoSocket));
        };
        let (waiting, answer) = watch::channel(None);
        self.dials.insert((address, expected), waiting.clone());
        let task = handshake::dial(
            endpoint,
            address,
            expected,
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

    /// The open connection to that peer or, where none is expected, to that address.
    fn find(&self, address: SocketAddr, expected: Option<PeerId>) -> Option<Connection> {
        let wanted = |one: &&Connection| {
            !one.is_closed()
                && match expected {
                    Some(peer) => one.peer() == peer,
                    None => one.remote() == address,
                }
        };
        // The oldest, so that all who ask get the same.
        self.open
            .values()
            .filter(wanted)
            .min_by_key(|one| one.id())
            .cloned()
    }
}
