//! Carries out the machines' effects, as the shell does: disks, links, and the messages on them.

use std::time::Duration;

use bitchat_wire::{
    event::Event,
    message,
    proto::{self, link_message::Kind},
};
use bytes::Bytes;
use rand::RngExt;

use super::{
    author::CID,
    rogue::Script,
    world::{Happening, World},
};
use crate::{
    channel::{
        ChannelError,
        device::Device,
        effects::{Effect, Input, Notice},
    },
    link::{Inbound, LinkId, signed},
    store::{NewEvent, StoreError},
};

impl World {
    pub(super) fn perform(&mut self, node: usize, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit(number, events) => {
                    let life = self.nodes[node].life;
                    self.nodes[node].commits.push((number, events));
                    let after = Duration::from_micros(self.rng.random_range(100..5_000));
                    self.schedule(after, Happening::Disk { node, life });
                }
                Effect::Send(link, message) => self.carry(node, link, message),
                Effect::Ack(link, claims) => self.carry(
                    node,
                    link,
                    message::encode(Kind::Ack(proto::Ack { claims })).into(),
                ),
                Effect::Close(link, _) => self.cut(node, link),
                Effect::Appended(token, result) => {
                    if let (Some(()), Ok(id)) = (self.nodes[node].waiting.remove(&token), result) {
                        self.nodes[node].acknowledged.push(id);
                    }
                }
                Effect::SendIds(link, device, from, to) => {
                    let ids = self.nodes[node].disk.read(&device, from, to);
                    let ids = ids
                        .iter()
                        .map(|event| Bytes::copy_from_slice(&event.id().0))
                        .collect();
                    let ids = Kind::Ids(proto::Ids {
                        device: Bytes::copy_from_slice(&device),
                        from,
                        ids,
                    });
                    self.carry(node, link, message::encode(ids).into());
                }
                Effect::Compare(link, ids) => {
                    let device = Device::try_from(ids.device.as_ref()).unwrap();
                    let ours = self.nodes[node].disk.read(
                        &device,
                        ids.from,
                        ids.from + ids.ids.len() as u64,
                    );
                    let differs = ours
                        .iter()
                        .zip(&ids.ids)
                        .find(|(ours, theirs)| ours.id().0[..] != theirs[..]);
                    if let Some((ours, _)) = differs {
                        let ours = ours.clone();
                        self.input(node, Input::FirstDifference(link, ours));
                    }
                }
                Effect::CompareEvent(theirs) => {
                    let (device, seq) = (*theirs.header().device.as_bytes(), theirs.header().seq);
                    let ours = self.nodes[node].disk.read(&device, seq, seq + 1);
                    if let Some(ours) = ours.into_iter().next().filter(|ours| ours.forks(&theirs)) {
                        self.input(node, Input::Proven(Box::new((ours, *theirs))));
                    }
                }
                Effect::CloseLog(pair) => self.nodes[node].disk.close(pair.0, pair.1),
                Effect::Notify(Notice::Forked(_)) => self.nodes[node].forks_seen += 1,
                Effect::KeepMarks(_) | Effect::Hint(..) | Effect::Notify(_) => {}
            }
        }
    }

    /// Sends a message over a link, and returns its credit when it arrives.
    pub(super) fn carry(&mut self, node: usize, link: LinkId, message: Bytes) {
        let Some(&(other, theirs)) = self.nodes[node].links.get(&link) else {
            return;
        };
        let delay = Duration::from_millis(5);
        self.schedule(delay, Happening::Credit { node, link });
        self.schedule(
            delay,
            Happening::Deliver {
                node: other,
                link: theirs,
                message,
            },
        );
    }

    pub(super) fn deliver(&mut self, node: usize, link: LinkId, message: &Bytes) {
        let Some(&(from, _)) = self.nodes[node].links.get(&link) else {
            return;
        };
        let honest = self.is_honest(from);
        let kind = match message::decode(message) {
            Ok(Some(kind)) => kind,
            refused => {
                assert!(!honest, "refused: {refused:?}");
                // A kind of a later version is ignored; bytes that are not a message end the link.
                if refused.is_err() {
                    self.cut(node, link);
                }
                return;
            }
        };
        if let Some(rogue) = &mut self.nodes[node].rogue {
            return rogue.receive(kind);
        }
        let Some(inbound) = self.read(node, link, kind, honest) else {
            return;
        };
        self.input(node, Input::Message(link, inbound));
    }

    /// Verifies a message as a link's reader does; `None` if it does not reach the channel.
    fn read(&mut self, node: usize, link: LinkId, kind: Kind, honest: bool) -> Option<Inbound> {
        // Signatures cost time, and honest members do not forge.
        let verify = |event: proto::SignedEvent| match honest {
            true => Event::from_store(&CID, event.event, &event.signature),
            false => Event::verify(&CID, event.event, &event.signature),
        };
        Some(match kind {
            Kind::Want(want) => {
                for range in want.ranges {
                    self.serve(node, link, &range);
                }
                return None;
            }
            Kind::Events(batch) => {
                if !batch.backfill {
                    self.pushed += batch.events.len() as u64;
                }
                let Ok(events) = batch.events.into_iter().map(verify).collect() else {
                    self.cut(node, link);
                    return None;
                };
                Inbound::Events {
                    events,
                    backfill: batch.backfill,
                }
            }
            Kind::Ids(_) if self.lose_ids > 0 => {
                self.lose_ids -= 1;
                return None;
            }
            Kind::Fork(proto::Fork {
                a: Some(a),
                b: Some(b),
            }) => match (verify(a), verify(b)) {
                (Ok(a), Ok(b)) if a.forks(&b) => Inbound::Fork(Box::new((a, b))),
                _ => {
                    assert!(!honest, "a fork that proves nothing");
                    self.cut(node, link);
                    return None;
                }
            },
            other => {
                let message = Inbound::unsigned(other);
                assert!(message.is_some() || !honest, "an unexpected kind");
                return message;
            }
        })
    }

    fn serve(&mut self, node: usize, link: LinkId, range: &proto::Range) {
        let device = Device::try_from(range.device.as_ref()).unwrap();
        // Sometimes an answer is shorter than requested, as it is when events are large.
        let most = self.rng.random_range(1..=256);
        let to = range.to.min(range.from + most);
        let events = self.nodes[node].disk.read(&device, range.from, to);
        let events = events.iter().map(signed).collect();
        let answer = Kind::Events(proto::Events {
            events,
            backfill: true,
        });
        self.carry(node, link, message::encode(answer).into());
    }

    /// Carries out a node's next commit.
    pub(super) fn disk_works(&mut self, node: usize) {
        if self.nodes[node].commits.is_empty() {
            return;
        }
        let (number, events) = self.nodes[node].commits.remove(0);
        match self.append(node, &events) {
            Ok(positions) => self.input(node, Input::Committed(number, positions)),
            Err(error) => self.reload(node, ChannelError::Store(error)),
        }
    }

    pub(super) fn append(
        &mut self,
        node: usize,
        events: &[NewEvent],
    ) -> Result<Vec<u64>, StoreError> {
        let me = self.nodes[node].local.key.id();
        if self.refuse == Some(node) && events.iter().all(|new| new.event.header().device != me) {
            self.refuse = None;
            return Err(StoreError::Database("broken for once".into()));
        }
        self.nodes[node].disk.append(events)
    }

    /// Reloads a machine as the shell does: later commits that do not build on the refused one are carried out.
    pub(super) fn reload(&mut self, node: usize, error: ChannelError) {
        let now = self.clock();
        while !self.nodes[node].commits.is_empty() {
            let (number, events) = self.nodes[node].commits.remove(0);
            if let Ok(positions) = self.append(node, &events) {
                self.input(node, Input::Committed(number, positions));
            }
        }
        let it = &mut self.nodes[node];
        let heads = it.disk.heads();
        if let Some(machine) = &mut it.machine {
            let effects = machine.reload(heads, &error, now);
            self.perform(node, effects);
        }
    }

    /// Has a hostile member send something on some of its links, not the same on all.
    pub(super) fn mischief(&mut self, node: usize, script: &mut Script<'_>) {
        let mut links: Vec<_> = self.nodes[node].links.keys().copied().collect();
        links.sort_unstable();
        let chosen = script.byte();
        for (n, link) in links.into_iter().enumerate() {
            if chosen >> (n % 8) & 1 == 1
                && let Some(rogue) = &mut self.nodes[node].rogue
            {
                let message = rogue.message(script);
                self.carry(node, link, message);
            }
        }
    }
}
