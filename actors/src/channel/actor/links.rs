//! Events of the channel's links, and where others can reach us.

use bitchat_wire::{identity::IdentityId, link::TlsSide};

use super::{Link, Shell};
use crate::{
    channel::{
        api::PathView,
        effects::{Input, Up},
        machine::Machine,
    },
    link::{LINK_MAILBOX, LinkEvent, LinkUp},
    transport::{Relay, Target},
};

impl Shell {
    pub(super) fn link_event(&mut self, machine: &mut Machine, event: LinkEvent) {
        match event {
            LinkEvent::Up(up) => {
                let LinkUp {
                    handle,
                    peer,
                    initiator,
                    source,
                    ..
                } = *up;
                let (link, connection) = (handle.id(), handle.connection().clone());
                // A link that moves to another connection keeps the source of the one before.
                let before = |link: &&Link| link.identity == peer.identity;
                let former = || self.links.values().find(before)?.source.clone();
                let source = source.or_else(former);
                self.links.insert(
                    link,
                    Link {
                        handle,
                        identity: peer.identity,
                        source,
                    },
                );
                let up = Up {
                    link,
                    peer,
                    peer_id: connection.peer(),
                    remote: connection.dialable().unwrap_or_else(|| connection.target()),
                    dialable: connection.dialable().is_some(),
                    connection: connection.id(),
                    client_initiated: initiator == (connection.side() == TlsSide::Client),
                    draining: connection.is_draining(),
                    credits: LINK_MAILBOX,
                };
                self.step(machine, Input::Up(Box::new(up)));
            }
            LinkEvent::Message { link, message } => {
                self.step(machine, Input::Message(link, message))
            }
            LinkEvent::Closed { link, reason } => {
                tracing::debug!(?link, %reason, "link closed");
                self.links.remove(&link);
                self.step(machine, Input::Down(link));
            }
        }
    }

    /// Our circuit addresses through those relays.
    pub(super) fn reach(&self, relays: &[Relay]) -> Vec<Target> {
        let peer = self.config.transport.peer_id();
        let circuit = |relay: &Relay| Target::Circuit {
            relay: *relay,
            peer,
        };
        relays.iter().map(circuit).collect()
    }

    /// Passes on to the machine how many messages each link's writer has taken.
    pub(super) fn room(&mut self, machine: &mut Machine) {
        let taken: Vec<_> = self
            .links
            .iter()
            .map(|(id, link)| (*id, link.handle.take_credits()))
            .filter(|(_, taken)| *taken > 0)
            .collect();
        for (link, credits) in taken {
            self.step(machine, Input::Room(link, credits));
        }
    }

    /// The path of a member's best link; `None` without a link.
    pub(super) fn path(&self, id: &IdentityId) -> Option<PathView> {
        let best = self
            .links
            .values()
            .filter(|link| link.identity == *id)
            .min_by_key(|link| {
                // While a link moves there are two, and the old one may be on a dead connection.
                let connection = link.handle.connection();
                let leaves = connection.is_draining() || connection.is_stalled();
                (leaves, connection.rtt())
            })?;
        let connection = best.handle.connection();
        Some(PathView {
            kind: connection.path(),
            address: connection.target(),
            via: connection.relay(),
            source: best.source.as_ref().map(|way| way.source.clone()),
            took: best.source.as_ref().map(|way| way.took),
            rtt_ms: connection.rtt().as_secs_f64() * 1_000.0,
        })
    }
}
