//! The machine's forks: a device that signs two events with one number is proven and closed
//! (`docs/PROTOCOL.md`, forks).

use bitchat_wire::{
    event::Event,
    message::{self, MAX_IDS},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;

use super::{
    logs::Device,
    machine::{Effect, Machine, Note, Now},
    push::signed,
};
use crate::link::LinkId;

impl Machine {
    /// A link's log of `device` is not ours: the ids tell where they part.
    pub(super) fn suspect(&mut self, link: LinkId, device: Device) {
        let Some(log) = self.logs.get_mut(&device) else {
            return;
        };
        if log.suspect || log.closed_at.is_some() {
            return;
        }
        log.suspect = true;
        let to = log.committed;
        self.effect(Effect::SendIds(
            link,
            device,
            to.saturating_sub(MAX_IDS as u64),
            to,
        ));
    }

    /// Our event where the logs part: the other side has its own, and so the proof.
    pub(super) fn show_difference(&mut self, link: LinkId, event: &Event) {
        if let Some(log) = self.logs.get_mut(event.header().device.as_bytes()) {
            log.suspect = true;
        }
        let events = message::encode(Kind::Events(proto::Events {
            events: vec![signed(event)],
            backfill: false,
        }));
        self.send(link, events.into());
    }

    /// Two events of one device with one number, both signed by it.
    pub(super) fn proven(&mut self, pair: (Event, Event), now: Now) {
        let header = *pair.0.header();
        let device = *header.device.as_bytes();
        let known = self
            .proofs
            .get(&device)
            .is_some_and(|(a, _)| a.header().seq <= header.seq);
        let Some(identity) = self.identity_of(&device) else {
            return;
        };
        if known || !pair.0.forks(&pair.1) {
            return;
        }
        self.logs.close(&device, header.seq);
        let proof = encode(&pair);
        self.effect(Effect::CloseLog(Box::new(pair.clone())));
        self.proofs.insert(device, pair);
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.send(link, proof.clone());
        }
        self.effect(Effect::Note(Note::Forked(identity)));
        self.flush_soon(now);
    }
}

pub(super) fn encode((a, b): &(Event, Event)) -> Bytes {
    message::encode(Kind::Fork(proto::Fork {
        a: Some(signed(a)),
        b: Some(signed(b)),
    }))
    .into()
}
