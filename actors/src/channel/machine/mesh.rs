//! The channel's links: who is at the other end, which of two links of one device is used, who is online, who
//! types (`docs/PROTOCOL.md`, mesh). What they exchange about each other is in `exchange`.

use std::{
    collections::{BTreeMap, HashSet},
    time::{Duration, Instant},
};

use bitchat_wire::{
    identity::{Certificate, IdentityId},
    message,
    proto::{self, bye::Reason, link_message::Kind},
};
use bytes::Bytes;
use libp2p_identity::PeerId;

use super::outbox::Outbox;
use crate::{
    channel::{
        device::Device,
        effects::{Effect, Notice, Now, Up},
    },
    link::LinkId,
    transport::{ConnectionId, Target},
};

/// Shortest time between two typing notices that we send.
const TYPING_SENT: Duration = Duration::from_secs(5);
/// Shortest time between two typing notices of one link that we pass on to users; those of an honest member are
/// further apart, even if one was late and the next is early.
const TYPING_RECEIVED: Duration = Duration::from_secs(3);

/// All links, and us as the members see us.
pub(super) struct Mesh {
    pub(super) me: Device,
    pub(super) identity: IdentityId,
    pub(super) peer_id: PeerId,
    /// Addresses of ours that are advertised: circuits through relays.
    pub(super) reach: Vec<Target>,
    pub(super) links: BTreeMap<LinkId, Member>,
    /// The links changed since the last flush.
    pub(super) changed: bool,
    /// When we last sent that our user is typing.
    typed: Option<Instant>,
}

/// A member's device at the other end of a link.
pub(super) struct Member {
    pub(super) device: Device,
    pub(super) peer: Certificate,
    pub(super) peer_id: PeerId,
    pub(super) remote: Target,
    /// Whether others can dial it at `remote`, as far as we know.
    pub(super) dialable: bool,
    connection: ConnectionId,
    client_initiated: bool,
    /// The connection was already draining when the link came up.
    draining: bool,
    /// Another link of the same device is used instead; this one waits to be closed.
    pub(super) spare: bool,
    /// When its last typing notice was passed on.
    typed: Option<Instant>,
    /// Other addresses that it advertises.
    pub(super) reach: Vec<Target>,
    /// Our own advertised addresses, as last sent to it.
    pub(super) sent_reach: Vec<Target>,
    /// Devices that we announced to it as linked to us.
    pub(super) announced: HashSet<Device>,
    /// Devices that it announced as linked to it.
    pub(super) linked_to: HashSet<Device>,
}

impl Mesh {
    pub(super) fn new(me: &Certificate, peer_id: PeerId) -> Self {
        Self {
            me: *me.device.as_bytes(),
            identity: me.identity,
            peer_id,
            reach: Vec::new(),
            links: BTreeMap::new(),
            changed: false,
            typed: None,
        }
    }

    /// A link's member.
    pub(super) fn get(&self, link: LinkId) -> Option<&Member> {
        self.links.get(&link)
    }

    /// All links, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (LinkId, &Member)> {
        self.links.iter().map(|(link, member)| (*link, member))
    }

    /// Whether a link is there to be used.
    pub(super) fn is_used(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(|member| !member.spare)
    }

    /// Whether any device of an identity is linked.
    pub(super) fn is_online(&self, identity: &IdentityId) -> bool {
        self.links
            .values()
            .any(|member| member.peer.identity == *identity)
    }

    /// Adds a link. To be followed by [`Mesh::introduce`].
    pub(super) fn up(&mut self, up: Up) {
        let member = Member {
            device: *up.peer.device.as_bytes(),
            peer: up.peer,
            peer_id: up.peer_id,
            remote: up.remote,
            dialable: up.dialable,
            connection: up.connection,
            client_initiated: up.client_initiated,
            draining: up.draining,
            spare: false,
            typed: None,
            reach: Vec::new(),
            sent_reach: Vec::new(),
            announced: HashSet::new(),
            linked_to: HashSet::new(),
        };
        self.links.insert(up.link, member);
    }

    /// Decides between a new link and older ones of its device, notifies users of a member that was offline, and
    /// exchanges peers with it.
    pub(super) fn introduce(&mut self, link: LinkId, out: &mut Outbox, now: Now) {
        let Some(member) = self.links.get(&link) else {
            return;
        };
        let (device, identity) = (member.device, member.peer.identity);
        let was_online = self
            .links
            .iter()
            .any(|(other, member)| *other != link && member.peer.identity == identity);
        self.settle_doubles(link, &device, out);
        if !was_online {
            out.notify(Notice::Member(identity, true));
        }
        self.announce_to(link, out);
        self.changed = true;
        out.flush_soon(now);
    }

    /// Removes a link.
    pub(super) fn down(&mut self, link: LinkId) -> Option<Member> {
        self.links.remove(&link)
    }

    /// Picks the link that takes over for one that ended, or notifies users that its member is offline.
    pub(super) fn succeed(&mut self, gone: &Member, out: &mut Outbox, now: Now) -> Option<LinkId> {
        let newest = self
            .links
            .iter_mut()
            .rfind(|(_, member)| member.device == gone.device)
            .map(|(link, member)| {
                member.spare = false;
                *link
            });
        if newest.is_none() && !self.is_online(&gone.peer.identity) {
            out.notify(Notice::Member(gone.peer.identity, false));
        }
        self.changed = true;
        out.flush_soon(now);
        newest
    }

    /// Two links of one device: on one connection the TLS client's survives; else, between the same two
    /// runs, the side with the higher PeerId picks the newest that is not on a draining connection, and closes the other,
    /// while the side with the lower one never closes first; a new run of the device replaces the old one.
    fn settle_doubles(&mut self, new: LinkId, device: &Device, out: &mut Outbox) {
        let Some(added) = self.links.get(&new) else {
            return;
        };
        let (peer_id, connection, new_is_clients) =
            (added.peer_id, added.connection, added.client_initiated);
        let new_drains = added.draining;
        let others: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(link, member)| **link != new && member.device == *device)
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
            let we_pick =
                old.peer_id != peer_id || old.connection == connection || self.peer_id > peer_id;
            if let Some(member) = self.links.get_mut(&loser) {
                member.spare = true;
            }
            if let Some(member) = self.links.get_mut(&survivor) {
                member.spare = false;
            }
            if we_pick {
                let reason = if same_run && !same_connection {
                    Reason::Moved
                } else {
                    Reason::Duplicate
                };
                out.push(Effect::Close(loser, reason));
            }
        }
    }

    /// Sends a typing notice to every link that has room, at most one per [`TYPING_SENT`].
    pub(super) fn typing(&mut self, out: &mut Outbox, now: Now) {
        let lately = |at: Instant| now.at.saturating_duration_since(at) < TYPING_SENT;
        if self.typed.is_some_and(lately) {
            return;
        }
        self.typed = Some(now.at);
        let message: Bytes = message::encode(Kind::Typing(proto::Typing {})).into();
        for (link, member) in &self.links {
            if !member.spare && out.has_room(*link) {
                out.send(*link, message.clone());
            }
        }
    }

    /// Notifies users that a member types, at most once per [`TYPING_RECEIVED`] of each link.
    pub(super) fn on_typing(&mut self, link: LinkId, out: &mut Outbox, now: Now) {
        let Some(member) = self.links.get_mut(&link) else {
            return;
        };
        let lately = |at: Instant| now.at.saturating_duration_since(at) < TYPING_RECEIVED;
        if member.typed.is_some_and(lately) {
            return;
        }
        member.typed = Some(now.at);
        out.notify(Notice::Typing(member.peer.identity));
    }
}
