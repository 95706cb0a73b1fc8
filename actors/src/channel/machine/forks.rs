//! Forks: a device that signs two events with one number is proven to have done so, and its log closed
//! (`docs/PROTOCOL.md`, forks).

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use bitchat_wire::{
    event::Event,
    message::{self, MAX_IDS},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;

use super::outbox::Outbox;
use crate::{
    channel::{
        device::Device,
        effects::{Effect, Notice, Now},
        logs::{Log, Logs},
        pull::Pull,
    },
    link::{LinkId, signed},
};

/// An answer to a suspicion that takes longer counts as lost.
const ANSWER: Duration = Duration::from_secs(5);
/// How often a suspicion is raised before it is dropped.
const TRIES: u8 = 3;
/// Suspicions per link at a time: a peer that lies about heads costs us at most this many ids messages in a few
/// seconds.
const SUSPICIONS: usize = 16;

/// Proven forks, and logs that differ between us and a link.
pub(super) struct Forks {
    proofs: HashMap<Device, (Event, Event)>,
    /// Some link had no room for a proof.
    proofs_wait: bool,
    links: BTreeMap<LinkId, Known>,
}

/// What is known and suspected between us and one link.
#[derive(Default)]
struct Known {
    /// Devices whose forks it knows to be proven.
    proven: HashSet<Device>,
    /// Devices whose logs differ between it and us, until that is settled.
    suspicions: HashMap<Device, Suspicion>,
}

/// A log that differs, and the search for the place.
struct Suspicion {
    since: Instant,
    tries: u8,
}

impl Forks {
    pub(super) fn load(proofs: Vec<(Event, Event)>) -> Self {
        Self {
            proofs: proofs
                .into_iter()
                .map(|pair| (*pair.0.header().device.as_bytes(), pair))
                .collect(),
            proofs_wait: false,
            links: BTreeMap::new(),
        }
    }

    /// Adds a link.
    pub(super) fn up(&mut self, link: LinkId) {
        self.links.insert(link, Known::default());
    }

    /// Removes a link.
    pub(super) fn down(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    /// Sends our ids of `device`'s log to a link whose log differs, to find where they part.
    pub(super) fn suspect(
        &mut self,
        link: LinkId,
        device: Device,
        logs: &mut Logs,
        out: &mut Outbox,
        now: Now,
    ) {
        let closed = |log: &Log| log.closed_at.is_some();
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        if logs.get(&device).is_none_or(closed) {
            return;
        }
        known
            .suspicions
            .retain(|_, suspicion| suspicion.tries < TRIES || now.at < suspicion.since + ANSWER);
        if known.suspicions.len() < SUSPICIONS && !known.suspicions.contains_key(&device) {
            let suspicion = Suspicion {
                since: now.at,
                tries: 1,
            };
            known.suspicions.insert(device, suspicion);
            send_ids(link, device, logs, out);
        }
    }

    /// Raises again the suspicions that got no answer in time: an ids message may get lost, a proven fork must not.
    pub(super) fn retry(&mut self, logs: &mut Logs, out: &mut Outbox, now: Now) {
        if self.next_retry().is_none_or(|at| now.at < at) {
            return;
        }
        let mut due = Vec::new();
        for (link, known) in &mut self.links {
            known.suspicions.retain(|device, suspicion| {
                if now.at < suspicion.since + ANSWER {
                    return true;
                }
                let open = logs.get(device).is_some_and(|log| log.closed_at.is_none());
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
            send_ids(link, device, logs, out);
        }
    }

    /// When a suspicion is due to be raised again.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.links
            .values()
            .flat_map(|known| known.suspicions.values())
            .map(|suspicion| suspicion.since + ANSWER)
            .min()
    }

    /// Sends a link that has a log the proof against it, once. A peer without the log could not judge the proof; its
    /// claim shows when it can.
    pub(super) fn show_proof(&mut self, link: LinkId, device: Device, out: &mut Outbox, now: Now) {
        let Some(proof) = self.proofs.get(&device) else {
            return;
        };
        let Some(known) = self.links.get_mut(&link) else {
            return;
        };
        if known.proven.contains(&device) {
            return;
        }
        if out.send(link, encode(proof)) {
            known.proven.insert(device);
        } else {
            self.proofs_wait = true;
            out.flush_soon(now);
        }
    }

    /// Sends the proofs that found no room before.
    pub(super) fn flush(&mut self, pull: &Pull, out: &mut Outbox, now: Now) {
        if self.proofs_wait {
            self.show_proofs(pull, out, now);
        }
    }

    fn show_proofs(&mut self, pull: &Pull, out: &mut Outbox, now: Now) {
        self.proofs_wait = false;
        let waiting: Vec<(LinkId, Device)> = self
            .links
            .iter()
            .flat_map(|(link, known)| {
                self.proofs
                    .keys()
                    .filter(|device| {
                        !known.proven.contains(*device) && pull.claimed(*link, device) > 0
                    })
                    .map(|device| (*link, *device))
            })
            .collect();
        for (link, device) in waiting {
            self.show_proof(link, device, out, now);
        }
    }

    /// Sends our event where the logs part: the other side has its own, and so the proof.
    pub(super) fn show_difference(
        &self,
        link: LinkId,
        event: &Event,
        logs: &mut Logs,
        out: &mut Outbox,
    ) {
        if let Some(log) = logs.get_mut(event.header().device.as_bytes()) {
            log.suspect = true;
        }
        let events = message::encode(Kind::Events(proto::Events {
            events: vec![signed(event)],
            backfill: false,
        }));
        out.send(link, events.into());
    }

    /// Closes a device's log at two events with one number, both signed by it. `from` is the link that sent the proof;
    /// `None` if we found it ourselves.
    pub(super) fn prove(
        &mut self,
        from: Option<LinkId>,
        pair: (Event, Event),
        logs: &mut Logs,
        pull: &Pull,
        out: &mut Outbox,
        now: Now,
    ) {
        let header = *pair.0.header();
        let device = *header.device.as_bytes();
        let known = self
            .proofs
            .get(&device)
            .is_some_and(|(a, _)| a.header().seq <= header.seq);
        let Some(identity) = logs.identity_of(&device) else {
            return; // it is shown again when we claim to have the log
        };
        if known || !pair.0.forks(&pair.1) {
            return;
        }
        logs.close(&device, header.seq);
        out.push(Effect::CloseLog(Box::new(pair.clone())));
        self.proofs.insert(device, pair);
        for (link, known) in &mut self.links {
            known.suspicions.remove(&device);
            if Some(*link) == from {
                known.proven.insert(device);
            } else {
                known.proven.remove(&device);
            }
        }
        self.show_proofs(pull, out, now);
        out.notify(Notice::Forked(identity));
        out.flush_soon(now);
    }
}

fn send_ids(link: LinkId, device: Device, logs: &mut Logs, out: &mut Outbox) {
    let Some(log) = logs.get_mut(&device) else {
        return;
    };
    log.suspect = true;
    let to = log.committed;
    let from = to.saturating_sub(MAX_IDS as u64);
    out.push(Effect::SendIds(link, device, from, to));
}

fn encode((a, b): &(Event, Event)) -> Bytes {
    message::encode(Kind::Fork(proto::Fork {
        a: Some(signed(a)),
        b: Some(signed(b)),
    }))
    .into()
}
