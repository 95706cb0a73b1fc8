//! Carries out the machine's effects: commits, sends, closes, notifies.

use std::future::Future;

use bitchat_wire::{event::EventId, proto::bye::Reason};

use super::{Answer, BACKGROUND, Done, Shell};
use crate::{
    channel::{
        api::{ChannelError, ChannelEvent, Signal},
        effects::{Effect, Input, Notice},
        machine::Machine,
    },
    discovery::{Provenance, Sighting},
    store::NewEvent,
};

impl Shell {
    pub(super) fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Commit(number, events) => self.commit(number, events),
                Effect::Send(link, message) => {
                    // The machine spends credits that the mailbox has: a refusal means that the link has ended.
                    if let Some(link) = self.links.get(&link) {
                        link.handle.try_send(message);
                    }
                }
                Effect::Ack(link, claims) => {
                    if let Some(link) = self.links.get(&link) {
                        link.handle.ack(claims);
                    }
                }
                Effect::Close(link, reason) => {
                    if let Some(link) = self.links.get(&link) {
                        link.handle.close(reason);
                    }
                }
                Effect::Appended(token, result) => self.answer(token, result),
                Effect::KeepMarks(marks) => {
                    let kept = self.config.store.set_deliveries(self.config.cid(), marks);
                    // Outside the bound, as it is one a second at most: a flood of forks must not keep marks from the disk.
                    self.background.spawn(async move {
                        // Marks that are not stored come again with the next link.
                        let _ = kept.await;
                        None
                    });
                }
                Effect::SendIds(link, device, from, to) => self.send_ids(link, device, from, to),
                Effect::Compare(link, ids) => self.compare(link, ids),
                Effect::CompareEvent(event) => self.compare_event(*event),
                Effect::CloseLog(pair) => {
                    let (store, cid) = (self.config.store.clone(), self.config.cid());
                    self.background.spawn(async move {
                        let device = pair.0.header().device;
                        if let Err(error) = store.close_log(cid, pair.0, pair.1).await {
                            tracing::warn!(%error, "cannot store the proof of a fork");
                        }
                        Some(Done::Removed(device))
                    });
                }
                Effect::Hint(peer, addresses, local, via) => {
                    let (discovery, cid) = (self.config.discovery.clone(), self.config.cid());
                    let sighting = Sighting {
                        peer: Some(peer),
                        addresses,
                        source: Provenance::Pex,
                        local,
                        via: Some(via),
                    };
                    self.spawn(async move {
                        discovery.sighted(cid, sighting).await;
                        None
                    });
                }
                Effect::Notify(notice) => self.notify(notice),
            }
        }
    }

    fn commit(&mut self, number: u64, events: Vec<NewEvent>) {
        let unread = events.iter().map(|new| (new.identity, new.event.clone()));
        self.unread.insert(number, unread.collect());
        let commit = self.config.store.append(self.config.cid(), events);
        self.commits
            .push_back(Box::pin(async move { (number, commit.await) }));
    }

    pub(super) fn committed(&mut self, machine: &mut Machine, number: u64, positions: Vec<u64>) {
        for (who, event) in self.unread.remove(&number).unwrap_or_default() {
            for reader in &mut self.readers {
                reader.committed(who, &event);
            }
        }
        self.step(machine, Input::Committed(number, positions));
    }

    /// Runs a small task in the background, whose result is an input for the machine. Drops it when too many are running.
    pub(super) fn spawn(&mut self, work: impl Future<Output = Option<Input>> + Send + 'static) {
        if self.background.len() < BACKGROUND {
            self.background
                .spawn(async move { work.await.map(|input| Done::Input(Box::new(input))) });
        }
    }

    /// Handles the result of a background task.
    pub(super) fn done(&mut self, machine: &mut Machine, done: Done) {
        match done {
            Done::Input(input) => self.step(machine, *input),
            Done::Removed(device) => {
                let Some(who) = machine.logs().identity_of(device.as_bytes()) else {
                    return;
                };
                for reader in &mut self.readers {
                    let recomputed = reader.removed(who);
                    self.background.spawn(async move {
                        recomputed.await;
                        None
                    });
                }
            }
        }
    }

    fn answer(&mut self, token: u64, result: Result<EventId, ChannelError>) {
        match self.answers.remove(&token) {
            // The caller may have gone.
            Some(Answer::User(reply)) => drop(reply.send(result)),
            Some(Answer::Leave(reply)) => {
                for link in self.links.values() {
                    link.handle.close(Reason::Left);
                }
                let _ = reply.send(result.map(drop));
            }
            Some(Answer::Nobody) | None => {}
        }
    }

    fn notify(&mut self, notice: Notice) {
        let cid = self.config.cid();
        let event = match notice {
            Notice::Committed(position) => ChannelEvent::Committed { cid, position },
            Notice::Delivered(member, next) => ChannelEvent::Delivered { cid, member, next },
            Notice::Member(member, online) => {
                if !online {
                    for reader in &mut self.readers {
                        reader.gone(member);
                    }
                }
                ChannelEvent::Member {
                    cid,
                    member,
                    online,
                }
            }
            Notice::Typing(member) => {
                for reader in &mut self.readers {
                    reader.signal(member, Signal::Typing);
                }
                ChannelEvent::Typing { cid, member }
            }
            Notice::Forked(member) => ChannelEvent::Forked { cid, member },
            Notice::Refused(why) => return tracing::warn!(why, "refused an event"),
        };
        // No receiver is not an error.
        let _ = self.config.events.send(event);
    }
}
