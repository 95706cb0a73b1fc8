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
                        if let Err(error) = store.close_log(cid, pair.0, pair.1).await {
                            tracing::warn!(%error, "cannot keep the proof of a fork");
                        }
                        None
                    });
                }
                Effect::Hint(peer, addresses, local) => {
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
        for new in &events {
            self.note_body(new.identity, &new.event);
        }
        let commit = self.config.store.append(self.config.cid(), events);
        self.commits
            .push_back(Box::pin(async move { (number, commit.await) }));
    }

    pub(super) fn note_body(&mut self, identity: IdentityId, event: &Event) {
        match Body::of(event) {
            Body::Profile { name } => {
                self.names.insert(identity, name);
            }
            Body::Leave => {
                self.left.insert(identity);
            }
            Body::Text(_) | Body::Genesis(_) => {
                self.left.remove(&identity);
            }
            _ => {}
        }
    }

    /// Does a small thing on the side; when too many are under way, it is left undone.
    pub(super) fn read(&mut self, work: impl Future<Output = Option<Input>> + Send + 'static) {
        if self.reads.len() < READS * 8 {
            self.reads.spawn(work);
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

    pub(super) fn note(&self, note: Note) {
        let cid = self.config.cid();
        let event = match note {
            Note::Committed(position) => ChannelEvent::Committed { cid, position },
            Note::Delivered(member, next) => ChannelEvent::Delivered { cid, member, next },
            Note::Member(member, online) => ChannelEvent::Member {
                cid,
                member,
                online,
            },
            Note::Forked(member) => ChannelEvent::Forked { cid, member },
            Note::Refused(why) => return tracing::warn!(why, "refused an event"),
        };
        // Nobody listening is no fault.
        let _ = self.config.events.send(event);
    }
}
