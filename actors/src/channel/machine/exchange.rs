//! Peer exchange: members announce to each other whom they are linked to, and where those can be reached
//! (`docs/PROTOCOL.md`, mesh).

use std::{collections::HashSet, mem};

use bitchat_wire::{
    message::{self, MAX_ADDRESSES, MAX_LINKED, MAX_UNLINKED},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;
use libp2p_identity::PeerId;

use super::{
    mesh::{Member, Mesh},
    outbox::Outbox,
};
use crate::{
    channel::{
        device::{Device, MAX_DEVICES},
        effects::{Effect, Now},
    },
    link::LinkId,
    transport::{Target, network::is_local},
};

/// Advertised addresses of a member that are kept and passed on; the rest are dropped.
const MAX_REACH: usize = 4;

impl Mesh {
    /// Changes the addresses that we advertise.
    pub(super) fn reachable(&mut self, reach: Vec<Target>, out: &mut Outbox) {
        self.reach = reach;
        // At once: members who announce us to others then have it in time, and it changes only now and then.
        self.announce(out);
    }

    /// Announces what changed since the last flush.
    pub(super) fn flush(&mut self, out: &mut Outbox) {
        if mem::take(&mut self.changed) {
            self.announce(out);
        }
    }

    /// Announces to every link what changed about the others.
    fn announce(&mut self, out: &mut Outbox) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.announce_to(link, out);
        }
    }

    /// Announces to a link what it does not know yet of the others. Without a credit for it, it is sent with a later
    /// change.
    pub(super) fn announce_to(&mut self, link: LinkId, out: &mut Outbox) {
        let Some(member) = self.links.get(&link) else {
            return;
        };
        let others: Vec<&Member> = self
            .links
            .values()
            .filter(|other| other.device != member.device && !other.spare)
            .collect();
        let mut linked: Vec<proto::Peer> = others
            .iter()
            .filter(|other| !member.announced.contains(&other.device))
            // One place is for ourselves.
            .take(MAX_LINKED - 1)
            .map(|other| describe(other))
            .collect();
        let present: HashSet<Device> = others.iter().map(|other| other.device).collect();
        let gone: Vec<Device> = member
            .announced
            .difference(&present)
            .take(MAX_UNLINKED)
            .copied()
            .collect();
        let reach_changed = member.sent_reach != self.reach;
        if linked.is_empty() && gone.is_empty() && !reach_changed {
            return;
        }
        let added: Vec<Device> = linked
            .iter()
            .filter_map(|peer| peer.device.as_ref().try_into().ok())
            .collect();
        if reach_changed {
            linked.push(proto::Peer {
                device: Bytes::copy_from_slice(&self.me),
                identity: Bytes::copy_from_slice(self.identity.as_bytes()),
                peer_id: self.peer_id.to_bytes().into(),
                addresses: multiaddrs(&self.reach),
            });
        }
        let unlinked = gone
            .iter()
            .map(|device| Bytes::copy_from_slice(device))
            .collect();
        let peers = message::encode(Kind::Peers(proto::Peers { linked, unlinked }));
        if out.send(link, peers.into())
            && let Some(member) = self.links.get_mut(&link)
        {
            member.announced.extend(added);
            if reach_changed {
                member.sent_reach.clone_from(&self.reach);
            }
            for device in gone {
                member.announced.remove(&device);
            }
        }
    }

    /// Takes a member's announcement of its links.
    pub(super) fn on_peers(
        &mut self,
        link: LinkId,
        peers: proto::Peers,
        out: &mut Outbox,
        now: Now,
    ) {
        let Some(member) = self.links.get_mut(&link) else {
            return;
        };
        let local = is_local(member.remote.first().ip());
        let via = member.peer_id;
        let mut hints = Vec::new();
        let mut moved = None;
        for peer in peers.linked {
            let Ok(device) = Device::try_from(peer.device.as_ref()) else {
                continue;
            };
            let mut addresses = targets(&peer);
            if device == member.device {
                // About itself: where else it can be reached.
                addresses.truncate(MAX_REACH);
                if addresses != member.reach && peer.peer_id == member.peer_id.to_bytes() {
                    member.reach.clone_from(&addresses);
                    moved = Some((device, member.peer_id, addresses));
                }
                continue;
            }
            if member.linked_to.len() < MAX_DEVICES {
                member.linked_to.insert(device);
            }
            if let Ok(peer_id) = PeerId::from_bytes(&peer.peer_id)
                && !addresses.is_empty()
            {
                hints.push((device, peer_id, addresses));
            }
        }
        for device in peers.unlinked {
            if let Ok(device) = Device::try_from(device.as_ref()) {
                member.linked_to.remove(&device);
            }
        }
        if let Some((device, peer_id, reach)) = moved {
            // Kept for the time when this link breaks, and announced again to the others.
            if !reach.is_empty() {
                out.push(Effect::Hint(peer_id, reach, local, peer_id));
            }
            for other in self.links.values_mut() {
                other.announced.remove(&device);
            }
            self.changed = true;
            out.flush_soon(now);
        }
        for (device, peer_id, addresses) in hints {
            let known =
                device == self.me || self.links.values().any(|member| member.device == device);
            if !known {
                out.push(Effect::Hint(peer_id, addresses, local, via));
            }
        }
    }
}

fn describe(member: &Member) -> proto::Peer {
    let mut addresses: Vec<Target> = member
        .dialable
        .then_some(member.remote)
        .into_iter()
        .collect();
    addresses.extend(
        member
            .reach
            .iter()
            .filter(|target| **target != member.remote),
    );
    proto::Peer {
        device: Bytes::copy_from_slice(&member.device),
        identity: Bytes::copy_from_slice(member.peer.identity.as_bytes()),
        peer_id: member.peer_id.to_bytes().into(),
        addresses: multiaddrs(&addresses),
    }
}

fn targets(peer: &proto::Peer) -> Vec<Target> {
    let addresses = peer.addresses.iter();
    addresses
        .filter_map(|bytes| Target::from_multiaddr(bytes))
        .collect()
}

fn multiaddrs(targets: &[Target]) -> Vec<Bytes> {
    let multiaddrs = targets.iter().map(|target| target.to_multiaddr().into());
    multiaddrs.take(MAX_ADDRESSES).collect()
}
