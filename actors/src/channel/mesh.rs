//! The machine's links: coming, going, doubles, and peer exchange (`docs/PROTOCOL.md`, mesh).

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use bitchat_wire::{
    identity::IdentityId,
    message::{self, MAX_ADDRESSES, MAX_CLAIMS, MAX_LINKED, MAX_UNLINKED},
    proto::{self, bye::Reason, link_message::Kind},
};
use bytes::Bytes;
use libp2p_identity::PeerId;

use super::{
    effects::{Effect, Note, Now, Up},
    logs::{Device, MAX_DEVICES},
    machine::{Linked, Machine, RESERVED_CREDITS},
};
use crate::{link::LinkId, transport::Target, transport::network::is_local};

/// Of where a member says that it can be reached, so much is kept and passed on.
const MAX_REACH: usize = 4;
/// A typing notice is told at most this often.
const TYPING_TOLD: Duration = Duration::from_secs(5);
/// Typing notices of one link are heard at most this often; honest ones are further apart, even if one was
/// late and the next is early.
const TYPING_HEARD: Duration = Duration::from_secs(3);

impl Machine {
    pub(super) fn up(&mut self, up: Up, now: Now) {
        let device = *up.peer.device.as_bytes();
        let identity = up.peer.identity;
        let was_online = self.is_online(&identity);
        let linked = Linked {
            device,
            peer: up.peer,
            peer_id: up.peer_id,
            remote: up.remote,
            dialable: up.dialable,
            reach: Vec::new(),
            told_reach: Vec::new(),
            connection: up.connection,
            client_initiated: up.client_initiated,
            draining: up.draining,
            credits: up.credits,
            cursor: self.ring.end(),
            behind: None,
            told: HashSet::new(),
            linked_to: HashSet::new(),
            proven: HashSet::new(),
            suspicions: HashMap::new(),
            spare: false,
            typed: None,
        };
        self.links.insert(up.link, linked);
        self.pull.up(up.link);
        self.have(up.link);
        self.settle_doubles(up.link, &device);
        if !was_online {
            self.effect(Effect::Note(Note::Member(identity, true)));
        }
        self.tell_link(up.link);
        self.peers_changed = true;
        self.flush_soon(now);
    }

    pub(super) fn down(&mut self, link: LinkId, now: Now) {
        let Some(gone) = self.links.remove(&link) else {
            return;
        };
        self.pull.down(link);
        self.logs.drop_held(link);
        // Whoever says nothing in the log leaves no trace here: devices that link and go are without number.
        if self.logs.get(&gone.device).is_none() {
            self.marks.forget(&gone.device);
        }
        // A spare takes over where its own cursor stands: nothing is lost, doubles are known by number.
        let newest = self
            .links
            .iter()
            .filter(|(_, linked)| linked.device == gone.device)
            .map(|(link, _)| *link)
            .next_back();
        if let Some(link) = newest {
            if let Some(linked) = self.links.get_mut(&link) {
                linked.spare = false;
            }
            self.pump(link);
        } else if !self.is_online(&gone.peer.identity) {
            self.effect(Effect::Note(Note::Member(gone.peer.identity, false)));
        }
        self.peers_changed = true;
        self.flush_soon(now);
    }

    /// Two links of one device: on one connection the TLS client's survives; else, between the same two
    /// runs, the higher PeerId picks the newest that is not on a connection which is to end, and says so, and the
    /// other never closes first; a new run of the device replaces the old one.
    fn settle_doubles(&mut self, new: LinkId, device: &Device) {
        let Some(added) = self.links.get(&new) else {
            return;
        };
        let (peer_id, connection, new_is_clients) =
            (added.peer_id, added.connection, added.client_initiated);
        let new_drains = added.draining;
        let others: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(link, linked)| **link != new && linked.device == *device)
            .map(|(link, _)| *link)
            .collect();
        for other in others {
            let Some(old) = self.links.get(&other) else {
                continue;
            };
            let new_survives = if old.connection == connection {
                new_is_clients || !old.client_initiated
            } else {
                !new_drains || old.draining
            };
            let (survivor, loser) = if new_survives {
                (new, other)
            } else {
                (other, new)
            };
            let (same_run, same_connection) =
                (old.peer_id == peer_id, old.connection == connection);
            // On one connection both know which survives, so it does not matter who closes the other first.
            let we_pick = old.peer_id != peer_id
                || old.connection == connection
                || self.our_peer_id > peer_id;
            if let Some(linked) = self.links.get_mut(&loser) {
                linked.spare = true;
            }
            if let Some(linked) = self.links.get_mut(&survivor) {
                linked.spare = false;
            }
            if we_pick {
                let reason = if same_run && !same_connection {
                    Reason::Moved
                } else {
                    Reason::Duplicate
                };
                self.effect(Effect::Close(loser, reason));
            }
        }
    }

    /// Claims all that we have, once.
    fn have(&mut self, link: LinkId) {
        let mut claims: Vec<proto::Claim> = self
            .logs
            .iter()
            .map(|(device, _)| *device)
            .filter_map(|device| self.logs.claim(&device))
            .collect();
        loop {
            let rest = claims.split_off(claims.len().min(MAX_CLAIMS));
            let more = !rest.is_empty();
            let have = message::encode(Kind::Have(proto::Have { claims, more }));
            self.send(link, have.into());
            if !more {
                break;
            }
            claims = rest;
        }
    }

    /// Tells every link what changed about the others.
    pub(super) fn tell_peers(&mut self) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.tell_link(link);
        }
    }

    /// Tells a link what it does not know yet of the others; what finds no credit is told at a later change.
    fn tell_link(&mut self, link: LinkId) {
        let Some(linked) = self.links.get(&link) else {
            return;
        };
        let others: Vec<&Linked> = self
            .links
            .values()
            .filter(|other| other.device != linked.device && !other.spare)
            .collect();
        let mut news: Vec<proto::Peer> = others
            .iter()
            .filter(|other| !linked.told.contains(&other.device))
            // One place is for ourselves.
            .take(MAX_LINKED - 1)
            .map(|other| describe(other))
            .collect();
        let present: HashSet<Device> = others.iter().map(|other| other.device).collect();
        let gone: Vec<Device> = linked
            .told
            .difference(&present)
            .take(MAX_UNLINKED)
            .copied()
            .collect();
        let reach_is_news = linked.told_reach != self.reach;
        if news.is_empty() && gone.is_empty() && !reach_is_news {
            return;
        }
        let added: Vec<Device> = news
            .iter()
            .filter_map(|peer| peer.device.as_ref().try_into().ok())
            .collect();
        if reach_is_news {
            news.truncate(MAX_LINKED - 1);
            news.push(proto::Peer {
                device: Bytes::copy_from_slice(&self.me),
                identity: Bytes::copy_from_slice(self.local.certificate.identity.as_bytes()),
                peer_id: self.our_peer_id.to_bytes().into(),
                addresses: multiaddrs(&self.reach),
            });
        }
        let unlinked = gone
            .iter()
            .map(|device| Bytes::copy_from_slice(device))
            .collect();
        let peers = message::encode(Kind::Peers(proto::Peers {
            linked: news,
            unlinked,
        }));
        if self.send(link, peers.into())
            && let Some(linked) = self.links.get_mut(&link)
        {
            linked.told.extend(added);
            if reach_is_news {
                linked.told_reach.clone_from(&self.reach);
            }
            for device in gone {
                linked.told.remove(&device);
            }
        }
    }

    /// A member says to whom it is linked.
    pub(super) fn on_peers(&mut self, link: LinkId, peers: proto::Peers, now: Now) {
        let Some(linked) = self.links.get_mut(&link) else {
            return;
        };
        let local = is_local(linked.remote.first().ip());
        let via = linked.peer_id;
        let mut hints = Vec::new();
        let mut moved = None;
        for peer in peers.linked {
            let Ok(device) = Device::try_from(peer.device.as_ref()) else {
                continue;
            };
            if device == linked.device {
                // What it says of itself: where else it can be reached.
                let mut reach: Vec<Target> = peer
                    .addresses
                    .iter()
                    .filter_map(|bytes| Target::from_multiaddr(bytes))
                    .collect();
                reach.truncate(MAX_REACH);
                if reach != linked.reach && peer.peer_id == linked.peer_id.to_bytes() {
                    linked.reach.clone_from(&reach);
                    moved = Some((device, linked.peer_id, reach));
                }
                continue;
            }
            if linked.linked_to.len() < MAX_DEVICES {
                linked.linked_to.insert(device);
            }
            let addresses: Vec<Target> = peer
                .addresses
                .iter()
                .filter_map(|bytes| Target::from_multiaddr(bytes))
                .collect();
            if let Ok(peer_id) = PeerId::from_bytes(&peer.peer_id)
                && !addresses.is_empty()
            {
                hints.push((device, peer_id, addresses));
            }
        }
        for device in peers.unlinked {
            if let Ok(device) = Device::try_from(device.as_ref()) {
                linked.linked_to.remove(&device);
            }
        }
        if let Some((device, peer_id, reach)) = moved {
            // For the time when this link breaks; and for others, who are told anew.
            if !reach.is_empty() {
                self.effect(Effect::Hint(peer_id, reach, local, peer_id));
            }
            for other in self.links.values_mut() {
                other.told.remove(&device);
            }
            self.peers_changed = true;
            self.flush_soon(now);
        }
        for (device, peer_id, addresses) in hints {
            let known =
                device == self.me || self.links.values().any(|linked| linked.device == device);
            if !known {
                self.effect(Effect::Hint(peer_id, addresses, local, via));
            }
        }
    }

    /// Our user is writing: every link hears it that has room, and none twice within [`TYPING_TOLD`].
    pub(super) fn typing(&mut self, now: Now) {
        let lately = |at: Instant| now.at.saturating_duration_since(at) < TYPING_TOLD;
        if self.typed.is_some_and(lately) {
            return;
        }
        self.typed = Some(now.at);
        let message: Bytes = message::encode(Kind::Typing(proto::Typing {})).into();
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, linked)| !linked.spare && linked.credits > RESERVED_CREDITS)
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.send(link, message.clone());
        }
    }

    /// A member is writing, or says so too often.
    pub(super) fn on_typing(&mut self, link: LinkId, now: Now) {
        let Some(linked) = self.links.get_mut(&link) else {
            return;
        };
        let lately = |at: Instant| now.at.saturating_duration_since(at) < TYPING_HEARD;
        if linked.typed.is_some_and(lately) {
            return;
        }
        linked.typed = Some(now.at);
        let identity = linked.peer.identity;
        self.effect(Effect::Note(Note::Typing(identity)));
    }

    pub(super) fn is_online(&self, identity: &IdentityId) -> bool {
        self.links
            .values()
            .any(|linked| linked.peer.identity == *identity)
    }
}

fn describe(linked: &Linked) -> proto::Peer {
    let mut addresses: Vec<Target> = linked
        .dialable
        .then_some(linked.remote)
        .into_iter()
        .collect();
    addresses.extend(
        linked
            .reach
            .iter()
            .filter(|target| **target != linked.remote),
    );
    proto::Peer {
        device: Bytes::copy_from_slice(&linked.device),
        identity: Bytes::copy_from_slice(linked.peer.identity.as_bytes()),
        peer_id: linked.peer_id.to_bytes().into(),
        addresses: multiaddrs(&addresses),
    }
}

fn multiaddrs(targets: &[Target]) -> Vec<Bytes> {
    let multiaddrs = targets.iter().map(|target| target.to_multiaddr().into());
    multiaddrs.take(MAX_ADDRESSES).collect()
}
