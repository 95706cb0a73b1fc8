//! The machine's forks: a device that signs two events with one number is proven and closed
//! (`docs/PROTOCOL.md`, forks).

use std::time::{Duration, Instant};

use bitchat_wire::{
    event::Event,
    message::{self, MAX_IDS},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;

use super::{
    effects::{Effect, Note, Now},
    logs::{Device, Log},
    machine::Machine,
    push::signed,
};
use crate::link::LinkId;

/// An answer to a suspicion that takes longer got lost on the way.
const ANSWER: Duration = Duration::from_secs(5);
/// A suspicion that leads nowhere is raised so often.
const TRIES: u8 = 3;
/// Suspicions of one link at a time: who lies about heads costs us this many ids messages in a few seconds.
const SUSPICIONS: usize = 16;

/// A link's log of some device is not ours.
pub(super) struct Suspicion {
    since: Instant,
    tries: u8,
}

impl Machine {
    /// A link's log of `device` is not ours: the ids tell where they part.
    pub(super) fn suspect(&mut self, link: LinkId, device: Device, now: Now) {
        let closed = |log: &Log| log.closed_at.is_some();
        let Some(linked) = self.links.get_mut(&link) else {
            return;
        };
        if self.logs.get(&device).is_none_or(closed) {
            return;
        }
        linked
            .suspicions
            .retain(|_, suspicion| suspicion.tries < TRIES || now.at < suspicion.since + ANSWER);
        if linked.suspicions.len() < SUSPICIONS && !linked.suspicions.contains_key(&device) {
            let suspicion = Suspicion {
                since: now.at,
                tries: 1,
            };
            linked.suspicions.insert(device, suspicion);
            self.ask_where(link, device);
        }
    }

    fn ask_where(&mut self, link: LinkId, device: Device) {
        let Some(log) = self.logs.get_mut(&device) else {
            return;
        };
        log.suspect = true;
        let to = log.committed;
        let from = to.saturating_sub(MAX_IDS as u64);
        self.effect(Effect::SendIds(link, device, from, to));
    }

    /// Raises suspicions again that had no answer: an ids message may get lost, a proven fork must not.
    pub(super) fn suspect_again(&mut self, now: Now) {
        let mut due = Vec::new();
        for (link, linked) in &mut self.links {
            linked.suspicions.retain(|device, suspicion| {
                if now.at < suspicion.since + ANSWER {
                    return true;
                }
                let open = self
                    .logs
                    .get(device)
                    .is_some_and(|log| log.closed_at.is_none());
                let again = open && suspicion.tries < TRIES;
                if again {
                    suspicion.since = now.at;
                    suspicion.tries += 1;
                    due.push((*link, *device));
                }
                again
            });
        }
        for (link, device) in due {
            self.ask_where(link, device);
        }
    }

    /// When a suspicion is due to be raised again.
    pub(super) fn next_suspicion(&self) -> Option<Instant> {
        self.links
            .values()
            .flat_map(|linked| linked.suspicions.values())
            .map(|suspicion| suspicion.since + ANSWER)
            .min()
    }

    /// Shows a link that has a log the proof against it, once. Whoever does not have the log could not judge
    /// the proof, and shows by its claim when it can.
    pub(super) fn show_proof(&mut self, link: LinkId, device: Device, now: Now) {
        let Some(proof) = self.proofs.get(&device) else {
            return;
        };
        let Some(linked) = self.links.get(&link) else {
            return;
        };
        if linked.proven.contains(&device) {
            return;
        }
        let proof = encode(proof);
        if self.send(link, proof) {
            if let Some(linked) = self.links.get_mut(&link) {
                linked.proven.insert(device);
            }
        } else {
            self.proofs_wait = true;
            self.flush_soon(now);
        }
    }

    /// Shows what found no room before.
    pub(super) fn show_proofs(&mut self, now: Now) {
        self.proofs_wait = false;
        let waiting: Vec<(LinkId, Device)> = self
            .links
            .iter()
            .flat_map(|(link, linked)| {
                self.proofs
                    .keys()
                    .filter(|device| {
                        !linked.proven.contains(*device) && self.pull.claimed(*link, device) > 0
                    })
                    .map(|device| (*link, *device))
            })
            .collect();
        for (link, device) in waiting {
            self.show_proof(link, device, now);
        }
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

    /// Two events of one device with one number, both signed by it; `from` whom the proof came, if from anyone.
    pub(super) fn proven(&mut self, from: Option<LinkId>, pair: (Event, Event), now: Now) {
        let header = *pair.0.header();
        let device = *header.device.as_bytes();
        let known = self
            .proofs
            .get(&device)
            .is_some_and(|(a, _)| a.header().seq <= header.seq);
        let Some(identity) = self.identity_of(&device) else {
            return; // it is shown again when we claim to have the log
        };
        if known || !pair.0.forks(&pair.1) {
            return;
        }
        self.logs.close(&device, header.seq);
        self.effect(Effect::CloseLog(Box::new(pair.clone())));
        self.proofs.insert(device, pair);
        for (link, linked) in &mut self.links {
            linked.suspicions.remove(&device);
            if Some(*link) == from {
                linked.proven.insert(device);
            } else {
                linked.proven.remove(&device);
            }
        }
        self.show_proofs(now);
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
