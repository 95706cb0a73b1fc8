//! Does what the machine's effects say.

use super::*;

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
                Effect::Said(token, result) => self.answer(token, result),
                Effect::Keep(marks) => {
                    let kept = self.config.store.set_deliveries(self.config.cid(), marks);
                    // One a second at most; whoever floods us with forks must not keep marks from the disk.
                    self.reads.spawn(async move {
                        // Marks that are not kept are told again at the next link.
                        let _ = kept.await;
                        None
                    });
                }
                Effect::SendIds(link, device, from, to) => self.send_ids(link, device, from, to),
                Effect::Compare(link, ids) => self.compare(link, ids),
                Effect::CompareEvent(event) => self.compare_event(*event),
                Effect::CloseLog(pair) => {
                    let (store, cid) = (self.config.store.clone(), self.config.cid());
                    self.reads.spawn(async move {
                        let device = pair.0.header().device;
                        if let Err(error) = store.close_log(cid, pair.0, pair.1).await {
                            tracing::warn!(%error, "cannot keep the proof of a fork");
                        }
                        let profiles = store.profiles(cid).await.ok()?;
                        Some(Done::Profiles(device, profiles))
                    });
                }
                Effect::Hint(peer, addresses, local, via) => {
                    let (discovery, cid) = (self.config.discovery.clone(), self.config.cid());
                    self.read(async move {
                        discovery
                            .hint(
                                cid,
                                Hint {
                                    peer: Some(peer),
                                    addresses,
                                    source: Source::Pex,
                                    local,
                                    via: Some(via),
                                },
                            )
                            .await;
                        None
                    });
                }
                Effect::Note(note) => self.note(note),
            }
        }
    }

    pub(super) fn commit(&mut self, number: u64, events: Vec<NewEvent>) {
        let said = events.iter().map(|new| (new.identity, new.event.clone()));
        self.unheard.insert(number, said.collect());
        let commit = self.config.store.append(self.config.cid(), events);
        self.commits
            .push_back(Box::pin(async move { (number, commit.await) }));
    }

    pub(super) fn committed(&mut self, machine: &mut Machine, number: u64, positions: Vec<u64>) {
        for (who, event) in self.unheard.remove(&number).unwrap_or_default() {
            self.people.heard(who, &event);
        }
        self.step(machine, Input::Committed(number, positions));
    }

    /// Does a small thing on the side; when too many are under way, it is left undone.
    pub(super) fn read(&mut self, work: impl Future<Output = Option<Input>> + Send + 'static) {
        if self.reads.len() < READS * 8 {
            self.reads
                .spawn(async move { work.await.map(|input| Done::Input(Box::new(input))) });
        }
    }

    /// Something on the side was done.
    pub(super) fn done(&mut self, machine: &mut Machine, done: Done) {
        match done {
            Done::Input(input) => self.step(machine, *input),
            Done::Profiles(device, profiles) => {
                let Some(who) = machine.identity_of(device.as_bytes()) else {
                    return;
                };
                let kept = profiles.into_iter().find(|(of, _)| *of == who);
                self.people
                    .replace(who, kept.map(|(_, profile)| profile).unwrap_or_default());
            }
        }
    }

    pub(super) fn answer(&mut self, token: u64, result: Result<EventId, ChannelError>) {
        match self.answers.remove(&token) {
            // Whoever asked may have gone.
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

    pub(super) fn note(&mut self, note: Note) {
        let cid = self.config.cid();
        let event = match note {
            Note::Committed(position) => ChannelEvent::Committed { cid, position },
            Note::Delivered(member, next) => ChannelEvent::Delivered { cid, member, next },
            Note::Member(member, online) => {
                if !online {
                    self.people.gone(&member);
                }
                ChannelEvent::Member {
                    cid,
                    member,
                    online,
                }
            }
            Note::Typing(member) => {
                self.people.typing(member, Instant::now());
                ChannelEvent::Typing { cid, member }
            }
            Note::Forked(member) => ChannelEvent::Forked { cid, member },
            Note::Refused(why) => return tracing::warn!(why, "refused an event"),
        };
        // Nobody listening is no fault.
        let _ = self.config.events.send(event);
    }
}
