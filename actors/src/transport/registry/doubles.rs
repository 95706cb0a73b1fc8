//! Which of several connections to one peer survives (`docs/PROTOCOL.md`, doubles). Pure.

use crate::transport::{address::PathKind, connection::ConnectionId};

/// What the choice depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) id: ConnectionId,
    /// The connection's number in the order of registration.
    pub(super) admitted: u64,
    pub(super) path: PathKind,
    /// Nothing gets through it.
    pub(super) stalled: bool,
}

/// The survivor: working before stalled, QUIC before TCP before a relay, then the oldest, so that a new connection of
/// the same kind moves no links.
pub(super) fn survivor(candidates: impl IntoIterator<Item = Candidate>) -> Option<ConnectionId> {
    candidates
        .into_iter()
        .min_by_key(|one| (one.stalled, rank(one.path), one.admitted))
        .map(|one| one.id)
}

fn rank(path: PathKind) -> u8 {
    match path {
        PathKind::Quic => 0,
        // The other side cannot distinguish these two.
        PathKind::Tcp | PathKind::Proxied => 1,
        PathKind::Relayed => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(id: u64, path: PathKind, stalled: bool) -> Candidate {
        Candidate {
            id: ConnectionId(100 - id),
            admitted: id,
            path,
            stalled,
        }
    }

    #[test]
    fn what_works_then_quic_then_the_oldest() {
        use PathKind::{Proxied, Quic, Relayed, Tcp};
        for (candidates, stays) in [
            (vec![], None),
            (vec![one(4, Tcp, true)], Some(4)),
            (vec![one(2, Quic, false), one(1, Quic, false)], Some(1)),
            (vec![one(1, Tcp, false), one(2, Quic, false)], Some(2)),
            (vec![one(1, Quic, true), one(2, Tcp, false)], Some(2)),
            (
                vec![one(1, Relayed, false), one(2, Proxied, false)],
                Some(2),
            ),
            (vec![one(1, Relayed, false), one(2, Tcp, true)], Some(1)),
            (vec![one(1, Quic, true), one(2, Tcp, true)], Some(1)),
            (
                vec![one(3, Quic, true), one(2, Tcp, false), one(9, Quic, false)],
                Some(9),
            ),
        ] {
            assert_eq!(
                survivor(candidates),
                stays.map(|admitted| ConnectionId(100 - admitted))
            );
        }
    }
}
