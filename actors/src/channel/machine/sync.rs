//! Sync: the logs, what members claim to have of them, events in, events out (`docs/PROTOCOL.md`, sync).

use std::{
    collections::{BTreeMap, HashSet},
    mem,
};

use bitchat_wire::{
    event::Event,
    message::{self, CLAIM_HEAD_LEN, MAX_CLAIMS},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;

use super::{commits::Committed, mesh::Mesh, outbox::Outbox};
use crate::{
    channel::{
        delivery::Marks,
        device::Device,
        effects::{Effect, Notice, Now},
        logs::{Logs, Verdict},
        pull::{AHEAD, Pull, Request},
        push::{FellBehind, Ring},
        rules::Rules,
    },
    link::{LinkId, signed},
    store::{Delivery, LogHead},
};

/// The logs, and how far each link has them.
pub(super) struct Sync {
    me: Device,
    pub(super) logs: Logs,
    pub(super) pull: Pull,
    ring: Ring,
    pub(super) marks: Marks,
    /// Our events below this number were handed to at least one link.
    pub(super) sent_to: u64,
    /// Logs whose heads changed since the last flush.
    changed: HashSet<Device>,
    links: BTreeMap<LinkId, Cursor>,
}

/// Where pushing to a link stands.
struct Cursor {
    /// The number of our next event to push.
    next: u64,
    /// The end of our log as last claimed to a link that is too far behind to be pushed to, and pulls; `None` if it is
    /// pushed to.
    behind: Option<u64>,
}

/// What a member claims to have of one log.
pub(super) struct Claim {
    pub(super) device: Device,
    /// It has all below this number.
    pub(super) next: u64,
    /// The beginning of the last event's id.
    head: Bytes,
    /// Made when the link came up: history, and not something that is on its way to us.
    initial: bool,
}

impl Claim {
    /// Reads a claim; `None` if it names no device.
    pub(super) fn read(claim: proto::Claim, initial: bool) -> Option<Self> {
        Some(Self {
            device: Device::try_from(claim.device.as_ref()).ok()?,
            next: claim.next,
            head: claim.head,
            initial,
        })
    }
}

/// A message with events, while they are taken one by one.
pub(super) struct Arrival {
    link: LinkId,
    /// Whether they answer a request of ours.
    backfill: bool,
    /// The request; `None` for pushed events, and if it was abandoned before.
    request: Option<Request>,
    /// The device at the other end of the link.
    sender: Option<Device>,
    accepted: Vec<Event>,
}

/// What an arrived event shows about its log.
pub(super) enum Finding {
    /// It may fork our event of the same number.
    MayFork(Event),
    /// The sender's log of this device differs from ours somewhere before it.
    Differs(Device),
}

impl Sync {
    pub(super) fn load(
        me: Device,
        rules: Rules,
        heads: Vec<LogHead>,
        deliveries: &[Delivery],
    ) -> Self {
        let logs = Logs::load(heads, rules);
        let ring = Ring::starting_at(logs.next(&me));
        let marks = Marks::load(deliveries);
        Self {
            me,
            logs,
            pull: Pull::default(),
            ring,
            sent_to: marks.highest(&me),
            marks,
            changed: HashSet::new(),
            links: BTreeMap::new(),
        }
    }

    /// Begins again with the logs as the store has them.
    pub(super) fn reload(&mut self, heads: Vec<LogHead>, out: &mut Outbox, now: Now) {
        self.logs.reload(heads);
        self.ring = Ring::starting_at(self.logs.next(&self.me));
        self.pull.reassess(&self.logs, now.at);
        // All that the store has is claimed again: some of it may have got there without our knowing.
        self.changed
            .extend(self.logs.iter().map(|(device, _)| *device));
        out.flush_soon(now);
    }

    /// Adds a link, and claims to it all that we have.
    pub(super) fn up(&mut self, link: LinkId, out: &mut Outbox) {
        let cursor = Cursor {
            next: self.ring.end(),
            behind: None,
        };
        self.links.insert(link, cursor);
        self.pull.up(link);
        self.claim_all(link, out);
    }

    /// Removes a link to `device`.
    pub(super) fn down(&mut self, link: LinkId, device: &Device) {
        self.links.remove(&link);
        self.pull.down(link);
        self.logs.drop_held(link);
        // A device that has written nothing leaves no trace here: any number of them can link and go.
        if self.logs.get(device).is_none() {
            self.marks.forget(device);
        }
    }

    // ---- claims --------------------------------------------------------------------------------------

    fn claim_all(&self, link: LinkId, out: &mut Outbox) {
        let mut claims: Vec<proto::Claim> = self
            .logs
            .iter()
            .filter_map(|(device, _)| self.logs.claim(device))
            .collect();
        loop {
            let rest = claims.split_off(claims.len().min(MAX_CLAIMS));
            let more = !rest.is_empty();
            let have = message::encode(Kind::Have(proto::Have { claims, more }));
            out.send(link, have.into());
            if !more {
                break;
            }
            claims = rest;
        }
    }

    /// Takes a link's claim. True if the link has as much of the log as we do, but with another head.
    pub(super) fn on_claim(
        &mut self,
        link: LinkId,
        claim: &Claim,
        mesh: &Mesh,
        out: &mut Outbox,
        now: Now,
    ) -> bool {
        let Claim { device, next, .. } = *claim;
        self.pull
            .claim(link, device, next, claim.initial, &self.logs, now.at);
        let Some(member) = mesh.get(link) else {
            return false;
        };
        let Some(log) = self.logs.get(&device) else {
            return false; // nothing is kept of logs that we do not know: anyone can name devices without end
        };
        let ours = device == self.me;
        // Nobody has more of our log than we wrote.
        let has = if ours {
            next.min(self.ring.end())
        } else {
            next
        };
        if self.marks.mark(&member.peer, device, has, ours) && ours {
            out.notify(Notice::Delivered(member.peer.identity, has));
            out.flush_soon(now);
        }
        log.committed == next
            && next > 0
            && log.closed_at.is_none()
            && log.committed_head.0.get(..CLAIM_HEAD_LEN) != Some(claim.head.as_ref())
    }

    /// Marks a log that has begun as delivered to members that claimed it before.
    fn mark_begun(&mut self, device: Device, mesh: &Mesh) {
        for (link, member) in mesh.iter() {
            let claimed = self.pull.claimed(link, &device);
            if claimed > 0 {
                self.marks.mark(&member.peer, device, claimed, false);
            }
        }
    }

    // ---- events in -----------------------------------------------------------------------------------

    /// Begins to take events of a link; each goes to [`Sync::offer`], then all to [`Sync::arrived`].
    pub(super) fn arrive(&mut self, link: LinkId, backfill: bool, mesh: &Mesh) -> Arrival {
        Arrival {
            link,
            backfill,
            request: backfill.then(|| self.pull.answered(link)).flatten(),
            sender: mesh.get(link).map(|member| member.device),
            accepted: Vec::new(),
        }
    }

    /// Offers an event to its log.
    pub(super) fn offer(
        &mut self,
        arrival: &mut Arrival,
        event: Event,
        mesh: &Mesh,
        out: &mut Outbox,
        now: Now,
    ) -> Option<Finding> {
        let header = *event.header();
        let device = *header.device.as_bytes();
        let link = arrival.link;
        // A member that sends an event has it.
        let next = header.seq.saturating_add(1);
        self.pull
            .claim(link, device, next, false, &self.logs, now.at);
        let suspect = self.logs.get(&device).is_some_and(|log| log.suspect);
        let copy = event.clone();
        match self.logs.offer(event, link, &mut arrival.accepted) {
            Verdict::Accepted => {
                self.pull.progress(&device, now.at);
                if header.seq == 0 {
                    self.mark_begun(device, mesh);
                }
            }
            Verdict::Known if suspect => return Some(Finding::MayFork(copy)),
            Verdict::Differs => return Some(Finding::MayFork(copy)),
            Verdict::OtherPast => return Some(Finding::Differs(device)),
            // Its author sends in order: what is missing before it will not come by itself.
            Verdict::Early if !arrival.backfill && arrival.sender == Some(device) => {
                self.pull.gap(device, header.seq, now.at)
            }
            Verdict::Refused(why) => {
                tracing::debug!(why, seq = header.seq, "refused an event");
                out.notify(Notice::Refused(why));
            }
            Verdict::Known | Verdict::Early => {}
        }
        None
    }

    /// Ends an arrival; returns the accepted events in the order of their logs, to be committed.
    pub(super) fn arrived(&mut self, arrival: Arrival, now: Now) -> Vec<Event> {
        let Arrival {
            link,
            request,
            mut accepted,
            ..
        } = arrival;
        if !accepted.is_empty() {
            self.logs.retry_held(&mut accepted);
        }
        if let Some(request) = request {
            self.pull.judge(link, &request, &self.logs, now.at);
        }
        accepted
    }

    /// Asks links for what is lacking.
    pub(super) fn ask(&mut self, out: &mut Outbox, now: Now) {
        if !self.pull.is_lacking() {
            return;
        }
        for (link, ranges) in self.pull.plan(&self.logs, now.at) {
            let count = ranges.len();
            let want = message::encode(Kind::Want(proto::Want { ranges }));
            if !out.send(link, want.into()) {
                self.pull.not_sent(link, count, now.at);
            }
        }
    }

    // ---- events out ----------------------------------------------------------------------------------

    /// Passes on and acknowledges what is on the disk now.
    pub(super) fn committed(
        &mut self,
        committed: &Committed,
        mesh: &Mesh,
        out: &mut Outbox,
        now: Now,
    ) {
        let mut devices = HashSet::new();
        for event in &committed.events {
            self.logs.committed(event);
            let device = *event.header().device.as_bytes();
            devices.insert(device);
            if device == self.me {
                self.ring.add(event);
            }
        }
        if let Some(from) = committed.live_from {
            self.forward(&committed.events, from, mesh, out);
        }
        self.acknowledge(&devices, mesh, out, now);
        if devices.contains(&self.me) {
            self.pump_all(mesh, out);
        }
    }

    /// Claims new heads: to the author at once, for its delivery marks; to the others with the next flush.
    fn acknowledge(&mut self, devices: &HashSet<Device>, mesh: &Mesh, out: &mut Outbox, now: Now) {
        for device in devices {
            if let Some(claim) = self.logs.claim(device) {
                for (link, _) in mesh.iter().filter(|(_, member)| member.device == *device) {
                    out.push(Effect::Ack(link, vec![claim.clone()]));
                }
            }
            self.changed.insert(*device);
        }
        out.flush_soon(now);
    }

    /// Claims what changed, tells members that are behind how far we are, and has delivery marks kept.
    pub(super) fn flush(&mut self, mesh: &Mesh, out: &mut Outbox, now: Now) {
        let changed = mem::take(&mut self.changed);
        for (link, member) in mesh.iter() {
            let claims: Vec<_> = changed
                .iter()
                .filter(|device| **device != member.device)
                .filter_map(|device| self.logs.claim(device))
                .collect();
            if !claims.is_empty() {
                out.push(Effect::Ack(link, claims));
            }
        }
        self.urge_all(out, now);
        let mut marks = self.marks.take_changed(&self.me);
        marks.retain(|mark| self.logs.get(mark.member.as_bytes()).is_some());
        if !marks.is_empty() {
            out.push(Effect::KeepMarks(marks));
        }
    }

    /// Pushes our events to a link as far as its credits go.
    pub(super) fn pump(&mut self, link: LinkId, mesh: &Mesh, out: &mut Outbox) {
        while mesh.is_used(link)
            && out.has_room(link)
            && let Some(cursor) = self.links.get_mut(&link)
            && cursor.behind.is_none()
        {
            match self.ring.next(cursor.next) {
                Ok(None) => return,
                Ok(Some((message, next))) => {
                    out.send(link, message);
                    cursor.next = next;
                    self.sent_to = self.sent_to.max(next);
                }
                Err(FellBehind) => {
                    // It may have got what it lacked from others.
                    let has = self.pull.claimed(link, &self.me).min(self.ring.end());
                    if has >= self.ring.start() {
                        cursor.next = has;
                        continue;
                    }
                    // What is new would only wait there for what is lacking.
                    cursor.behind = Some(0);
                    self.urge(link, out);
                    return;
                }
            }
        }
    }

    /// Pushes our events to all links.
    pub(super) fn pump_all(&mut self, mesh: &Mesh, out: &mut Outbox) {
        for (link, _) in mesh.iter() {
            self.pump(link, mesh, out);
        }
    }

    /// Claims our log to a member that is behind, for it to pull at once; false if there was no room.
    fn urge(&mut self, link: LinkId, out: &mut Outbox) -> bool {
        let Some(claim) = self.logs.claim(&self.me) else {
            return true;
        };
        let next = claim.next;
        let have = message::encode(Kind::Have(proto::Have {
            claims: vec![claim],
            more: false,
        }));
        let sent = out.send(link, have.into());
        if sent && let Some(cursor) = self.links.get_mut(&link) {
            cursor.behind = Some(next);
        }
        sent
    }

    fn urge_all(&mut self, out: &mut Outbox, now: Now) {
        let end = self.ring.end();
        let behind: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, cursor)| cursor.behind.is_some_and(|claimed| claimed < end))
            .map(|(link, _)| *link)
            .collect();
        for link in behind {
            if !self.urge(link, out) {
                out.flush_soon(now);
            }
        }
    }

    /// Takes a link's claim to have our log below `next`. A member that was behind is pushed to again when it has got so
    /// far, and is claimed more to when it has nearly all that was claimed.
    pub(super) fn catch_up(&mut self, link: LinkId, next: u64, mesh: &Mesh, out: &mut Outbox) {
        let next = next.min(self.ring.end());
        let Some(cursor) = self.links.get_mut(&link) else {
            return;
        };
        let Some(claimed) = cursor.behind else {
            return;
        };
        if next >= self.ring.start() {
            cursor.behind = None;
            cursor.next = next;
            self.pump(link, mesh, out);
        } else if claimed < self.ring.end() && next.saturating_add(AHEAD) >= claimed {
            self.urge(link, out);
        }
    }

    /// Whether any link is too far behind to be pushed to.
    #[cfg(test)]
    pub(super) fn is_any_behind(&self) -> bool {
        self.links.values().any(|cursor| cursor.behind.is_some())
    }

    /// Passes pushed events on to members that are not linked to their author and do not claim them.
    fn forward(&self, events: &[Event], from: LinkId, mesh: &Mesh, out: &mut Outbox) {
        for (link, member) in mesh.iter() {
            if link == from || member.spare || !out.has_room(link) {
                continue;
            }
            let lacking: Vec<_> = events
                .iter()
                .filter(|event| {
                    let author = event.header().device.as_bytes();
                    member.device != *author
                        && !member.linked_to.contains(author)
                        && self.pull.claimed(link, author) <= event.header().seq
                })
                .map(signed)
                .collect();
            if !lacking.is_empty() {
                let message = message::encode(Kind::Events(proto::Events {
                    events: lacking,
                    backfill: false,
                }));
                out.send(link, message.into());
            }
        }
    }
}
