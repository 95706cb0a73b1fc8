//! Events on their way to the disk, and the user's requests that wait for them.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::Arc,
};

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
};

use super::outbox::Outbox;
use crate::{
    channel::{
        ChannelError,
        effects::{Effect, Notice, Now},
        logs::Logs,
    },
    link::{LinkId, LocalDevice},
    store::NewEvent,
};

/// Commits under way.
pub(super) struct Commits {
    cid: ChannelId,
    local: Arc<LocalDevice>,
    batches: BTreeMap<u64, Batch>,
    next_batch: u64,
    /// Idempotency keys of our events under way, each with the later requests of the same key.
    keys: HashMap<String, Vec<u64>>,
}

/// Events of one commit.
struct Batch {
    events: Vec<Event>,
    /// The request that an event answers, by its token.
    answers: Vec<(u64, EventId)>,
    key: Option<String>,
    /// The link that pushed them to us; `None` if we asked for them or wrote them.
    live_from: Option<LinkId>,
}

/// Events that are on the disk now.
pub(super) struct Committed {
    pub(super) events: Vec<Event>,
    /// The link that pushed them to us; `None` if we asked for them or wrote them.
    pub(super) live_from: Option<LinkId>,
}

impl Commits {
    pub(super) fn new(cid: ChannelId, local: Arc<LocalDevice>) -> Self {
        Self {
            cid,
            local,
            batches: BTreeMap::new(),
            next_batch: 0,
            keys: HashMap::new(),
        }
    }

    /// Number of commits under way.
    pub(super) fn in_flight(&self) -> usize {
        self.batches.len()
    }

    /// Writes an event to our log at the user's request.
    pub(super) fn append(
        &mut self,
        token: u64,
        body: &[u8],
        key: Option<String>,
        logs: &mut Logs,
        out: &mut Outbox,
        now: Now,
    ) {
        let me = *self.local.certificate.device.as_bytes();
        if logs.end(&me).is_some() {
            return out.push(Effect::Appended(token, Err(ChannelError::Closed)));
        }
        if let Some(waiting) = key.as_ref().and_then(|key| self.keys.get_mut(key)) {
            // The same is being committed already: one event, two answers.
            return waiting.push(token);
        }
        let (seq, prev) = logs
            .get(&me)
            .map_or((0, EventId::ZERO), |log| (log.next, log.head));
        let authored = Event::author(
            &self.cid,
            &self.local.key,
            0,
            seq,
            prev,
            logs.next_lamport(),
            now.wall_ms,
            body,
        );
        let Ok(event) = authored else {
            return out.push(Effect::Appended(
                token,
                Err(ChannelError::TooLong(body.len())),
            ));
        };
        logs.append_own(&event);
        if let Some(key) = &key {
            self.keys.insert(key.clone(), Vec::new());
        }
        let batch = Batch {
            answers: vec![(token, event.id())],
            events: vec![event],
            key,
            live_from: None,
        };
        self.commit(batch, logs, out, now);
    }

    /// Commits events of members, accepted into their logs.
    pub(super) fn accept(
        &mut self,
        events: Vec<Event>,
        live_from: Option<LinkId>,
        logs: &Logs,
        out: &mut Outbox,
        now: Now,
    ) {
        if !events.is_empty() {
            let batch = Batch {
                events,
                answers: Vec::new(),
                key: None,
                live_from,
            };
            self.commit(batch, logs, out, now);
        }
    }

    fn commit(&mut self, batch: Batch, logs: &Logs, out: &mut Outbox, now: Now) {
        let number = self.next_batch;
        self.next_batch += 1;
        let events = batch
            .events
            .iter()
            .map(|event| NewEvent {
                event: event.clone(),
                arrival_ms: now.wall_ms,
                key: batch.key.clone(),
                // An event is accepted only into a log that we know.
                identity: logs
                    .identity_of(event.header().device.as_bytes())
                    .unwrap_or(self.local.certificate.identity),
            })
            .collect();
        self.batches.insert(number, batch);
        out.push(Effect::Commit(number, events));
    }

    /// Ends a commit: notifies users of the events' positions and answers the requests that waited. `None` if there is
    /// no such commit.
    pub(super) fn committed(
        &mut self,
        number: u64,
        positions: &[u64],
        out: &mut Outbox,
    ) -> Option<Committed> {
        let batch = self.batches.remove(&number)?;
        for position in positions {
            out.notify(Notice::Committed(*position));
        }
        let waiting = batch.key.and_then(|key| self.keys.remove(&key));
        let waiting = waiting.unwrap_or_default();
        for (token, id) in batch.answers {
            out.push(Effect::Appended(token, Ok(id)));
            for token in &waiting {
                out.push(Effect::Appended(*token, Ok(id)));
            }
        }
        Some(Committed {
            events: batch.events,
            live_from: batch.live_from,
        })
    }

    /// Answers all requests under way with an error, and forgets the commits.
    pub(super) fn fail(&mut self, error: &ChannelError, out: &mut Outbox) {
        let answers = mem::take(&mut self.batches)
            .into_values()
            .flat_map(|batch| batch.answers)
            .map(|(token, _)| token);
        let waiting = mem::take(&mut self.keys).into_values().flatten();
        for token in answers.chain(waiting) {
            out.push(Effect::Appended(token, Err(error.clone())));
        }
    }

    /// Answers a commit's requests with the event that the store has under their idempotency key.
    pub(super) fn key_was_used(&mut self, number: u64, id: EventId, out: &mut Outbox) {
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        let waiting = batch
            .key
            .take()
            .and_then(|key| self.keys.remove(&key))
            .unwrap_or_default();
        let answers = mem::take(&mut batch.answers)
            .into_iter()
            .map(|(token, _)| token);
        for token in answers.chain(waiting) {
            out.push(Effect::Appended(token, Ok(id)));
        }
    }
}
