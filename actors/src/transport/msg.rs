//! The messages of the registry's mailbox.

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

/// A message to the registry.
pub(crate) enum Msg {
    /// Finds a connection, or dials.
    Dial {
        address: SocketAddr,
        expected: Option<PeerId>,
        via: Option<PeerId>,
        reply: Reply<Dialling>,
    },
    /// Performs the handshake over a byte stream through a relay.
    Adopt(Box<Adoption>, Reply<Result<Connection, DialError>>),
    /// Registers a connection whose handshake is done. If it is accepted, the registry starts its life, which keeps the
    /// ticket.
    Register {
        connection: Connection,
        /// The admission slot of an incoming connection; `None` for one that we opened.
        ticket: Option<Ticket>,
        reply: Reply<bool>,
    },
    /// Lists the open connections.
    Connections(Reply<Vec<Connection>>),
    /// Bars a peer and closes its connections.
    Bar {
        peer: PeerId,
        address: Option<SocketAddr>,
        time: Duration,
        reply: Reply<()>,
    },
    /// Data that we wrote on this connection is not answered.
    Stalled(ConnectionId),
    /// A peer's report about this connection and the others between us.
    Reported {
        id: ConnectionId,
        report: PeerReport,
    },
    /// A punch message, to be forwarded or for us.
    Punch(ConnectionId, Box<Kind>),
    /// A socket has failed.
    SocketLost,
}

/// What a peer reports about the connections between us.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PeerReport {
    /// This connection is the one that stays.
    Selected,
    /// Nothing gets through the other connections.
    Stalled,
    /// The peer receives our data on this connection but no answers to its own: perhaps we do not receive it.
    Unanswered,
    /// This connection is to end.
    Drain,
}

/// The reply to a dial.
pub(crate) enum Dialling {
    /// The dial's result, or the reason why none was begun.
    Done(Result<Connection, DialError>),
    /// The dial is in progress. Once all receivers are gone, it is abandoned.
    Wait(watch::Receiver<DialState>),
}

/// The state of a dial, as its callers see it; `None` while it is in progress.
pub(crate) type DialState = Option<Result<Connection, DialError>>;

/// Registers a connection; returns whether the registry accepted it. If not, the connection is closed.
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
