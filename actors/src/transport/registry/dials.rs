//! Dials in progress, and who waits for them.

use std::{collections::HashMap, net::SocketAddr};

use libp2p_identity::PeerId;
use tokio::sync::watch;

use crate::transport::{connection::Connection, msg::DialState};

/// Dials in progress: what discovery has in flight at most (32 unanswered, 4 answered), and as many again.
const MAX_DIALS: usize = 72;

/// Dials in progress, by address and expected peer.
#[derive(Default)]
pub(super) struct Dials(HashMap<(SocketAddr, Option<PeerId>), watch::Sender<DialState>>);

impl Dials {
    /// Removes dials that have ended, and those that nobody waits for.
    pub(super) fn forget(&mut self) {
        self.0
            .retain(|_, dial| dial.borrow().is_none() && !dial.is_closed());
    }

    /// Waits for a dial that is already in progress; `None` if there is no such dial.
    pub(super) fn join(
        &self,
        address: SocketAddr,
        expected: Option<PeerId>,
    ) -> Option<watch::Receiver<DialState>> {
        let dial = self.0.get(&(address, expected))?;
        Some(dial.subscribe())
    }

    /// Whether [`MAX_DIALS`] are in progress.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_DIALS
    }

    /// Enters a new dial. The sender is its task's, to report the result.
    pub(super) fn begin(
        &mut self,
        address: SocketAddr,
        expected: Option<PeerId>,
    ) -> (watch::Sender<DialState>, watch::Receiver<DialState>) {
        let (waiting, answer) = watch::channel(None);
        self.0.insert((address, expected), waiting.clone());
        (waiting, answer)
    }

    /// Ends all dials of a peer with a connection to it, whichever side opened that.
    pub(super) fn reached(&self, peer: PeerId, connection: &Connection) {
        let of_peer = self.0.iter().filter(|(key, _)| key.1 == Some(peer));
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
}
