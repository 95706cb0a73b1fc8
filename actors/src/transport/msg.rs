//! The registry's mailbox: what it is asked and told.

use std::{net::SocketAddr, time::Duration};

use bitchat_wire::proto::control::Kind;
use libp2p_identity::PeerId;
use tokio::sync::watch;

use super::{
    admission::Ticket,
    api::{Adoption, DialError},
    connection::{Connection, ConnectionId},
};
use crate::kit::{Addr, Reply};

/// What the registry is asked and told.
pub(crate) enum Msg {
    /// Find or make a connection.
    Dial {
        address: SocketAddr,
        expected: Option<PeerId>,
        via: Option<PeerId>,
        reply: Reply<Dialling>,
    },
    /// Shake hands over a byte stream through a relay.
    Adopt(Box<Adoption>, Reply<Result<Connection, DialError>>),
    /// A handshake is done: may the connection live? Then its life begins, which keeps the ticket.
    Register {
        connection: Connection,
        /// The slot of one that another node opened.
        ticket: Option<Ticket>,
        reply: Reply<bool>,
    },
    /// Which are open?
    Connections(Reply<Vec<Connection>>),
    /// Close what a newly barred peer has open.
    Bar {
        peer: PeerId,
        address: Option<SocketAddr>,
        time: Duration,
        reply: Reply<()>,
    },
    /// What we write on that connection is not answered.
    Stalled(ConnectionId),
    /// What the peer says on a connection about it and the others between us.
    Told { id: ConnectionId, word: Word },
    /// A punch, to be carried or for us.
    Punch(ConnectionId, Box<Kind>),
    /// A socket takes no more packets.
    SocketLost,
}

/// What a peer says of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word {
    /// This one stays.
    Selected,
    /// Nothing gets through the others.
    Stalled,
    /// It hears us on this one, but no answers: we may not be heard.
    Unanswered,
    /// This one is to end.
    Drain,
}

/// The answer to a dial.
pub(crate) enum Dialling {
    /// That is how it ended, or it never began.
    Done(Result<Connection, DialError>),
    /// It is under way. When all receivers are gone, it is given up.
    Wait(watch::Receiver<DialState>),
}

/// How a dial stands, for all who wait for it.
pub(crate) type DialState = Option<Result<Connection, DialError>>;

/// Whether the registry lets it in, and lives it from then on. Otherwise it is closed.
pub(crate) async fn register(
    connection: &Connection,
    ticket: Option<Ticket>,
    registry: &Addr<Msg>,
) -> bool {
    let admitted = registry
        .ask(|reply| Msg::Register {
            connection: connection.clone(),
            ticket,
            reply,
        })
        .await
        .unwrap_or(false);
    if !admitted {
        connection.close();
    }
    admitted
}
