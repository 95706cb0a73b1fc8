//! The channel's protocol as a pure state machine: inputs and the time in, effects out. The shell in
//! `actor` does what the effects say; the simulator in `sim` does the same in a world of its own.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::{Certificate, IdentityId},
};
use bytes::Bytes;
use libp2p_identity::PeerId;

use super::{
    ChannelError,
    delivery::Marks,
    effects::{Effect, Input, Note, Now},
    forks::Suspicion,
    logs::{Device, Logs},
    pull::Pull,
    push::Ring,
};
use crate::{
    link::{Accept, LinkId, LocalDevice},
    store::{Delivery, LogHead, NewEvent},
    transport::{ConnectionId, Target},
};

/// Changes that may wait (claims to members that are not the author, peer exchange, delivery marks to be
/// kept) wait so long for company, or a mesh of N would say N cubed things.
const BATCH: Duration = Duration::from_secs(1);
/// Link messages that only peer exchange, wants and forks may use, so that pushing never starves them.
pub(super) const RESERVED_CREDITS: usize = 16;

/// A linked device.
pub(super) struct Linked {
    pub(super) device: Device,
    pub(super) peer: Certificate,
    pub(super) peer_id: PeerId,
    pub(super) remote: Target,
    pub(super) dialable: bool,
    /// Where else it can be reached, as it says.
    pub(super) reach: Vec<Target>,
    /// The same of us, as it was told.
    pub(super) told_reach: Vec<Target>,
    pub(super) connection: ConnectionId,
    pub(super) client_initiated: bool,
    /// Its connection was to end already when it came up.
    pub(super) draining: bool,
    pub(super) credits: usize,
    /// The number of our next event to push.
    pub(super) cursor: u64,
    /// It is too far behind to be pushed to, and pulls: what we told it last that we have.
    pub(super) behind: Option<u64>,
    /// Devices that it was told we are linked to.
    pub(super) told: HashSet<Device>,
    /// Devices that it says it is linked to.
    pub(super) linked_to: HashSet<Device>,
    /// Devices whose forks it knows to be proven.
    pub(super) proven: HashSet<Device>,
    /// Devices of which it has another log than we do, until that is settled.
    pub(super) suspicions: HashMap<Device, Suspicion>,
    /// Another link of the same device is used instead; this one waits to be closed.
    pub(super) spare: bool,
    /// When it last was heard typing.
    pub(super) typed: Option<Instant>,
}

/// A channel's state.
pub(super) struct Machine {
    pub(super) cid: ChannelId,
    pub(super) local: Arc<LocalDevice>,
    pub(super) me: Device,
    pub(super) our_peer_id: PeerId,
    /// Through whom others can reach us.
    pub(super) reach: Vec<Target>,
    pub(super) logs: Logs,
    pub(super) pull: Pull,
    pub(super) ring: Ring,
    pub(super) links: BTreeMap<LinkId, Linked>,
    pub(super) marks: Marks,
    pub(super) proofs: HashMap<Device, (Event, Event)>,
    /// Some link had no room for a proof.
    pub(super) proofs_wait: bool,
    /// Our events below this number were handed to at least one link.
    pub(super) sent_to: u64,
    /// When we last told that our user is typing.
    pub(super) typed: Option<Instant>,
    batches: BTreeMap<u64, Batch>,
    next_batch: u64,
    keys: HashMap<String, Vec<u64>>,
    /// Logs whose heads changed since the last flush.
    changed: HashSet<Device>,
    pub(super) peers_changed: bool,
    flush_at: Option<Instant>,
    effects: Vec<Effect>,
}

/// Events on their way to the disk.
struct Batch {
    events: Vec<Event>,
    answers: Vec<(u64, EventId)>,
    key: Option<String>,
    /// On which link they came, live.
    live_from: Option<LinkId>,
}

impl Machine {
    pub(super) fn new(
        cid: ChannelId,
        local: Arc<LocalDevice>,
        accept: Accept,
        our_peer_id: PeerId,
        heads: Vec<LogHead>,
        kept: &[Delivery],
        proofs: Vec<(Event, Event)>,
    ) -> Self {
        let me = *local.certificate.device.as_bytes();
        let logs = Logs::load(heads, accept);
        let ring = Ring::starting_at(logs.next(&me));
        let mut machine = Self {
            cid,
            me,
            our_peer_id,
            reach: Vec::new(),
            sent_to: 0,
            typed: None,
            pull: Pull::default(),
            links: BTreeMap::new(),
            marks: Marks::load(kept),
            proofs: proofs
                .into_iter()
                .map(|pair| (*pair.0.header().device.as_bytes(), pair))
                .collect(),
            proofs_wait: false,
            batches: BTreeMap::new(),
            next_batch: 0,
            keys: HashMap::new(),
            changed: HashSet::new(),
            peers_changed: false,
            flush_at: None,
            effects: Vec::new(),
            logs,
            ring,
            local,
        };
        machine.sent_to = machine.marks.highest(&machine.me);
        machine
    }

    /// Takes one input, and returns what is to be done.
    pub(super) fn handle(&mut self, input: Input, now: Now) -> Vec<Effect> {
        match input {
            Input::Up(up) => self.up(*up, now),
            Input::Down(link) => self.down(link, now),
            Input::Message(link, message) => self.message(link, message, now),
            Input::Room(link, credits) => {
                if let Some(linked) = self.links.get_mut(&link) {
                    linked.credits += credits;
                    self.pump(link);
                }
            }
            Input::Say { token, body, key } => self.say(token, &body, key, now),
            Input::Typing => self.typing(now),
            Input::Committed(batch, positions) => self.committed(batch, &positions, now),
            Input::FirstDifference(link, event) => self.show_difference(link, &event),
            Input::Proven(pair) => self.proven(None, *pair, now),
            Input::Reachable(reach) => {
                self.reach = reach;
                // At once: it is in time for what those say who tell others of us, and changes now and then only.
                self.tell_peers();
            }
            Input::Tick => {}
        }
        self.ask(now);
        if self.next_suspicion().is_some_and(|at| now.at >= at) {
            self.suspect_again(now);
        }
        if self.flush_at.is_some_and(|at| now.at >= at) {
            self.flush(now);
        }
        mem::take(&mut self.effects)
    }

    /// When [`Input::Tick`] is due, if nothing else happens.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        self.flush_at
            .into_iter()
            .chain(self.pull.next_wake(now))
            .chain(self.next_suspicion())
            .min()
    }

    /// Commits under way.
    pub(super) fn in_flight(&self) -> usize {
        self.batches.len()
    }

    /// The store refused a commit: whatever was not committed is forgotten here, and comes again from
    /// whoever has it. Questions of the user are answered with the error. No commit may be in flight.
    pub(super) fn reload(
        &mut self,
        heads: Vec<LogHead>,
        error: &ChannelError,
        now: Now,
    ) -> Vec<Effect> {
        for batch in mem::take(&mut self.batches).into_values() {
            for (token, _) in batch.answers {
                self.effects.push(Effect::Said(token, Err(error.clone())));
            }
        }
        for token in mem::take(&mut self.keys).into_values().flatten() {
            self.effects.push(Effect::Said(token, Err(error.clone())));
        }
        let accept = mem::take(&mut self.logs.accept);
        self.logs = Logs::load(heads, accept);
        self.ring = Ring::starting_at(self.logs.next(&self.me));
        self.pull.reassess(&self.logs, now.at);
        // Whatever the store has is claimed again: some of it may have got there without our knowing.
        self.changed
            .extend(self.logs.iter().map(|(device, _)| *device));
        self.flush_soon(now);
        self.pump_all();
        mem::take(&mut self.effects)
    }

    /// The store knew an idempotency key that we did not: its event is the answer.
    pub(super) fn key_was_used(&mut self, number: u64, id: EventId) {
        let Some(batch) = self.batches.get_mut(&number) else {
            return;
        };
        let waiting = batch
            .key
            .take()
            .and_then(|key| self.keys.remove(&key))
            .unwrap_or_default();
        let tokens = mem::take(&mut batch.answers)
            .into_iter()
            .map(|(token, _)| token)
            .chain(waiting);
        self.effects
            .extend(tokens.map(|token| Effect::Said(token, Ok(id))));
    }

    // ---- what the user says ----------------------------------------------------------------------

    fn say(&mut self, token: u64, body: &[u8], key: Option<String>, now: Now) {
        if self.logs.end(&self.me).is_some() {
            return self
                .effects
                .push(Effect::Said(token, Err(ChannelError::Closed)));
        }
        if let Some(waiting) = key.as_ref().and_then(|key| self.keys.get_mut(key)) {
            // The same is being committed already: one event, two answers.
            return waiting.push(token);
        }
        let (seq, prev) = self
            .logs
            .get(&self.me)
            .map_or((0, EventId::ZERO), |log| (log.next, log.head));
        let authored = Event::author(
            &self.cid,
            &self.local.key,
            0,
            seq,
            prev,
            self.logs.next_lamport(),
            now.wall_ms,
            body,
        );
        match authored {
            Ok(event) => {
                self.logs.append_own(&event);
                if let Some(key) = &key {
                    self.keys.insert(key.clone(), Vec::new());
                }
                let answers = vec![(token, event.id())];
                self.commit(
                    Batch {
                        events: vec![event],
                        answers,
                        key,
                        live_from: None,
                    },
                    now,
                );
            }
            Err(_) => self
                .effects
                .push(Effect::Said(token, Err(ChannelError::TooLong(body.len())))),
        }
    }

    // ---- commits -----------------------------------------------------------------------------------

    pub(super) fn accept(&mut self, events: Vec<Event>, live_from: Option<LinkId>, now: Now) {
        if !events.is_empty() {
            self.commit(
                Batch {
                    events,
                    answers: Vec::new(),
                    key: None,
                    live_from,
                },
                now,
            );
        }
    }

    fn commit(&mut self, batch: Batch, now: Now) {
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
                identity: self
                    .identity_of(event.header().device.as_bytes())
                    .unwrap_or(self.local.certificate.identity),
            })
            .collect();
        self.batches.insert(number, batch);
        self.effects.push(Effect::Commit(number, events));
    }

    fn committed(&mut self, number: u64, positions: &[u64], now: Now) {
        let Some(batch) = self.batches.remove(&number) else {
            return;
        };
        let mut devices = HashSet::new();
        for event in &batch.events {
            self.logs.committed(event);
            let device = *event.header().device.as_bytes();
            devices.insert(device);
            if device == self.me {
                self.ring.add(event);
            }
        }
        self.effects.extend(
            positions
                .iter()
                .map(|position| Effect::Note(Note::Committed(*position))),
        );
        for (token, id) in batch.answers {
            self.effects.push(Effect::Said(token, Ok(id)));
            for token in batch
                .key
                .iter()
                .filter_map(|key| self.keys.get(key))
                .flatten()
            {
                self.effects.push(Effect::Said(*token, Ok(id)));
            }
        }
        if let Some(key) = &batch.key {
            self.keys.remove(key);
        }
        if let Some(from) = batch.live_from {
            self.forward(&batch.events, from);
        }
        self.acknowledge(&devices, now);
        if devices.contains(&self.me) {
            self.pump_all();
        }
    }

    /// The author hears of it at once, for its delivery marks; the others with the next flush.
    fn acknowledge(&mut self, devices: &HashSet<Device>, now: Now) {
        for device in devices {
            if let Some(claim) = self.logs.claim(device) {
                let authors = self
                    .links
                    .iter()
                    .filter(|(_, linked)| linked.device == *device);
                self.effects
                    .extend(authors.map(|(link, _)| Effect::Ack(*link, vec![claim.clone()])));
            }
            self.changed.insert(*device);
        }
        self.flush_soon(now);
    }

    pub(super) fn flush_soon(&mut self, now: Now) {
        self.flush_at.get_or_insert(now.at + BATCH);
    }

    fn flush(&mut self, now: Now) {
        self.flush_at = None;
        if self.proofs_wait {
            self.show_proofs(now);
        }
        let changed = mem::take(&mut self.changed);
        for (link, linked) in &self.links {
            let news: Vec<_> = changed
                .iter()
                .filter(|device| **device != linked.device)
                .filter_map(|device| self.logs.claim(device))
                .collect();
            if !news.is_empty() {
                self.effects.push(Effect::Ack(*link, news));
            }
        }
        self.urge_all(now);
        let mut keep = self.marks.take_changed(&self.me);
        keep.retain(|mark| self.logs.get(mark.member.as_bytes()).is_some());
        if !keep.is_empty() {
            self.effects.push(Effect::Keep(keep));
        }
        if mem::take(&mut self.peers_changed) {
            self.tell_peers();
        }
    }

    pub(super) fn identity_of(&self, device: &Device) -> Option<IdentityId> {
        self.logs.get(device).map(|log| log.certificate.identity)
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.effects.push(effect);
    }

    /// Sends a message that must not be lost on the way to a link, if there is a credit for it.
    pub(super) fn send(&mut self, link: LinkId, message: Bytes) -> bool {
        let Some(linked) = self.links.get_mut(&link) else {
            return false;
        };
        if linked.credits == 0 {
            return false;
        }
        linked.credits -= 1;
        self.effects.push(Effect::Send(link, message));
        true
    }
}
