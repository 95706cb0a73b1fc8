//! The machine's sync: claims, events in, events out (`docs/PROTOCOL.md`, sync).

use bitchat_wire::{
    event::Event,
    message::{self, CLAIM_HEAD_LEN},
    proto::{self, link_message::Kind},
};

use super::{
    effects::{Effect, Note, Now},
    logs::{Device, Verdict},
    machine::{Machine, RESERVED_CREDITS},
    pull::AHEAD,
    push::{FellBehind, signed},
};
use crate::link::{Inbound, LinkId};

impl Machine {
    pub(super) fn message(&mut self, link: LinkId, message: Inbound, now: Now) {
        if !self.links.contains_key(&link) {
            return; // it was closed while the message was on its way up
        }
        match message {
            Inbound::Events { events, backfill } => self.on_events(link, events, backfill, now),
            Inbound::Claims { claims, initial } => {
                for claim in claims {
                    self.on_claim(link, &claim, initial, now);
                }
            }
            Inbound::Peers(peers) => self.on_peers(link, peers, now),
            Inbound::Ids(ids) => self.effect(Effect::Compare(link, ids)),
            Inbound::Fork(pair) => self.proven(Some(link), *pair, now),
            Inbound::Typing => self.on_typing(link, now),
        }
    }

    fn on_claim(&mut self, link: LinkId, claim: &proto::Claim, initial: bool, now: Now) {
        let Ok(device) = Device::try_from(claim.device.as_ref()) else {
            return;
        };
        if claim.next > 0 {
            self.show_proof(link, device, now);
        }
        self.pull
            .claim(link, device, claim.next, initial, &self.logs, now.at);
        let Some(linked) = self.links.get(&link) else {
            return;
        };
        let ours = device == self.me;
        // Nobody has more of our log than we wrote.
        let next = if ours {
            claim.next.min(self.ring.end())
        } else {
            claim.next
        };
        // Of logs that we do not know nothing is kept: anyone can name devices without end.
        let known = self.logs.get(&device).is_some();
        if known && self.marks.mark(&linked.peer.clone(), device, next, ours) && ours {
            let member = linked.peer.identity;
            self.effect(Effect::Note(Note::Delivered(member, next)));
            self.flush_soon(now);
        }
        if let Some(log) = self.logs.get(&device)
            && log.committed == claim.next
            && claim.next > 0
            && log.closed_at.is_none()
            && log.committed_head.0.get(..CLAIM_HEAD_LEN) != Some(claim.head.as_ref())
        {
            self.suspect(link, device, now);
        }
        if ours {
            self.catches_up(link, next);
        }
    }

    /// A log has begun: who claimed to have it before counts now.
    fn mark_begun(&mut self, device: Device) {
        for (link, linked) in &self.links {
            let claimed = self.pull.claimed(*link, &device);
            if claimed > 0 {
                self.marks.mark(&linked.peer, device, claimed, false);
            }
        }
    }

    fn on_events(&mut self, link: LinkId, events: Vec<Event>, backfill: bool, now: Now) {
        let asked = if backfill {
            self.pull.answered(link)
        } else {
            None
        };
        let sender = self.links.get(&link).map(|linked| linked.device);
        let mut accepted = Vec::new();
        for event in events {
            let header = *event.header();
            let device = *header.device.as_bytes();
            // Who sends an event has it.
            let next = header.seq.saturating_add(1);
            self.pull
                .claim(link, device, next, false, &self.logs, now.at);
            let suspect = self.logs.get(&device).is_some_and(|log| log.suspect);
            let copy = event.clone();
            match self.logs.offer(event, link, &mut accepted) {
                Verdict::Accepted => {
                    self.pull.progress(&device, now.at);
                    if header.seq == 0 {
                        self.mark_begun(device);
                    }
                }
                Verdict::Known if suspect => self.effect(Effect::CompareEvent(Box::new(copy))),
                Verdict::Differs => self.effect(Effect::CompareEvent(Box::new(copy))),
                Verdict::OtherPast => self.suspect(link, device, now),
                // Its author sends in order: what is missing before it will not come by itself.
                Verdict::Early if !backfill && sender == Some(device) => {
                    self.pull.gap(device, header.seq, now.at)
                }
                Verdict::Refused(why) => {
                    tracing::debug!(why, seq = header.seq, "refused an event");
                    self.effect(Effect::Note(Note::Refused(why)));
                }
                Verdict::Known | Verdict::Early => {}
            }
        }
        if !accepted.is_empty() {
            self.logs.retry_held(&mut accepted);
        }
        if let Some(asked) = asked {
            self.pull.judge(link, &asked, &self.logs, now.at);
        }
        self.accept(accepted, (!backfill).then_some(link), now);
    }

    /// Asks for what is lacking, of whom there is to ask.
    pub(super) fn ask(&mut self, now: Now) {
        if !self.pull.is_lacking() {
            return;
        }
        for (link, ranges) in self.pull.plan(&self.logs, now.at) {
            let count = ranges.len();
            let want = message::encode(Kind::Want(proto::Want { ranges }));
            if !self.send(link, want.into()) {
                self.pull.not_sent(link, count, now.at);
            }
        }
    }

    /// Pushes our events to a link as far as its credits go.
    pub(super) fn pump(&mut self, link: LinkId) {
        loop {
            let Some(linked) = self.links.get(&link) else {
                return;
            };
            if linked.spare || linked.behind.is_some() || linked.credits <= RESERVED_CREDITS {
                return;
            }
            match self.ring.next(linked.cursor) {
                Ok(None) => return,
                Ok(Some((message, cursor))) => {
                    self.send(link, message);
                    self.move_cursor(link, cursor);
                    self.sent_to = self.sent_to.max(cursor);
                }
                Err(FellBehind) => {
                    // It may have got what it lacked from others.
                    let has = self.pull.claimed(link, &self.me).min(self.ring.end());
                    if has >= self.ring.start() {
                        self.move_cursor(link, has);
                        continue;
                    }
                    // What is new would only wait there for what is lacking.
                    self.set_behind(link, Some(0));
                    self.urge(link);
                    return;
                }
            }
        }
    }

    /// Tells a member that is behind what we have, for it to pull that at once; false if there was no room.
    fn urge(&mut self, link: LinkId) -> bool {
        let Some(claim) = self.logs.claim(&self.me) else {
            return true;
        };
        let next = claim.next;
        let have = message::encode(Kind::Have(proto::Have {
            claims: vec![claim],
            more: false,
        }));
        let sent = self.send(link, have.into());
        if sent {
            self.set_behind(link, Some(next));
        }
        sent
    }

    /// Members that are behind hear how far we are now.
    pub(super) fn urge_all(&mut self, now: Now) {
        let end = self.ring.end();
        let behind: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, linked)| linked.behind.is_some_and(|told| told < end))
            .map(|(link, _)| *link)
            .collect();
        for link in behind {
            if !self.urge(link) {
                self.flush_soon(now);
            }
        }
    }

    /// A member has our log below `next`. One that was behind is pushed to again when it has got so far, and
    /// hears more when it has nearly all that it was told of.
    fn catches_up(&mut self, link: LinkId, next: u64) {
        let Some(told) = self.links.get(&link).and_then(|linked| linked.behind) else {
            return;
        };
        if next >= self.ring.start() {
            self.set_behind(link, None);
            self.move_cursor(link, next);
            self.pump(link);
        } else if told < self.ring.end() && next.saturating_add(AHEAD) >= told {
            self.urge(link);
        }
    }

    fn set_behind(&mut self, link: LinkId, behind: Option<u64>) {
        if let Some(linked) = self.links.get_mut(&link) {
            linked.behind = behind;
        }
    }

    pub(super) fn pump_all(&mut self) {
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.pump(link);
        }
    }

    fn move_cursor(&mut self, link: LinkId, cursor: u64) {
        if let Some(linked) = self.links.get_mut(&link) {
            linked.cursor = cursor;
        }
    }

    /// Passes live events on to members that are not linked to their author and do not claim them.
    pub(super) fn forward(&mut self, events: &[Event], from: LinkId) {
        let targets: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(link, linked)| {
                **link != from && !linked.spare && linked.credits > RESERVED_CREDITS
            })
            .map(|(link, _)| *link)
            .collect();
        for link in targets {
            let Some(linked) = self.links.get(&link) else {
                continue;
            };
            let lacking: Vec<_> = events
                .iter()
                .filter(|event| {
                    let author = event.header().device.as_bytes();
                    linked.device != *author
                        && !linked.linked_to.contains(author)
                        && self.pull.claimed(link, author) <= event.header().seq
                })
                .map(signed)
                .collect();
            if !lacking.is_empty() {
                let message = message::encode(Kind::Events(proto::Events {
                    events: lacking,
                    backfill: false,
                }));
                self.send(link, message.into());
            }
        }
    }
}
