//! The table of open connections, and which of a peer's several connections stays.

use std::{collections::HashMap, net::SocketAddr};

use bitchat_wire::proto::{self, control::Kind};
use libp2p_identity::PeerId;

use super::doubles::{Candidate, survivor};
use crate::transport::{
    address::PathKind,
    connection::{Connection, ConnectionId},
};

/// All registered connections.
#[derive(Default)]
pub(super) struct Table {
    open: HashMap<ConnectionId, Connection>,
    /// Connections registered so far, which numbers them.
    admitted: u64,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn get(&self, id: ConnectionId) -> Option<&Connection> {
        self.open.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.open.values()
    }

    /// Numbers a connection that is about to be registered.
    pub(super) fn number(&mut self, connection: &Connection) {
        self.admitted += 1;
        connection.flow().admit(self.admitted);
    }

    pub(super) fn insert(&mut self, connection: Connection) {
        self.open.insert(connection.id(), connection);
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.open.remove(&id)
    }

    /// The open connection to a peer or, if none is expected, to an address. Stalled ones do not count: another is made
    /// beside them.
    pub(super) fn find(&self, address: SocketAddr, expected: Option<PeerId>) -> Option<Connection> {
        let wanted = |one: &&Connection| {
            !one.is_closed()
                && !one.is_stalled()
                // A dial of an address asks for a better path than a relay.
                && one.path() != PathKind::Relayed
                && match expected {
                    Some(peer) => one.peer() == peer,
                    None => one.remote() == address,
                }
        };
        let found: Vec<&Connection> = self.open.values().filter(wanted).collect();
        // The survivor if one was picked, so that all callers get the same.
        let staying = found.iter().filter(|one| !one.is_draining());
        let best = survivor(staying.map(|one| candidate(one)))
            .or_else(|| survivor(found.iter().map(|one| candidate(one))))?;
        self.open.get(&best).cloned()
    }

    /// A peer's open connections.
    pub(super) fn of(&self, peer: PeerId) -> Vec<Connection> {
        let of_peer = |one: &&Connection| one.peer() == peer && !one.is_closed();
        self.open.values().filter(of_peer).cloned().collect()
    }

    /// A peer's best connection with links; `None` if it has no links with us. Such a peer may have links with others as
    /// well.
    pub(super) fn linked(&self, peer: PeerId) -> Option<Connection> {
        let all = self.of(peer);
        let linked = all.iter().filter(|one| one.has_links());
        let best = survivor(linked.map(candidate))?;
        self.open.get(&best).cloned()
    }

    /// The best of `all` apart from one.
    pub(super) fn best_but(&self, id: ConnectionId, all: &[Connection]) -> Option<&Connection> {
        let others = all.iter().filter(|one| one.id() != id);
        survivor(others.map(candidate)).and_then(|id| self.open.get(&id))
    }

    /// Picks which of a peer's connections stays, if that is our decision, and announces it there. All of them belong to
    /// one peer, which has proven that: nobody else can end any of them.
    pub(super) fn settle(&self, peer: PeerId) {
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
}

fn candidate(connection: &Connection) -> Candidate {
    Candidate {
        id: connection.id(),
        admitted: connection.flow().number(),
        path: connection.path(),
        stalled: connection.is_stalled(),
    }
}

/// Has the links of all connections but one move there.
pub(super) fn drain_all_but(stays: ConnectionId, all: &[Connection]) {
    let Some(survivor) = all.iter().find(|one| one.id() == stays) else {
        return;
    };
    for one in all {
        let other = (one.id() != stays).then_some(survivor);
        one.drain_to(other);
    }
}
