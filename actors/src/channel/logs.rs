//! The channel's logs as far as they are known: which events are accepted, held back or refused
//! (`docs/PROTOCOL.md`, events). Pure.

use std::{
    collections::{HashMap, VecDeque},
    mem,
};

use bitchat_wire::{
    event::{Event, EventId, LAMPORT_LIMIT},
    identity::{Certificate, IdentityId},
    proto,
};
use bytes::Bytes;

use super::{device::Device, held::HeldEvents, rules::Rules};
use crate::{link::LinkId, store::LogHead};

/// Ids of a log's latest events that are kept in memory, to tell doubles from forks.
const RECENT: usize = 64;

/// One device's log.
pub(super) struct Log {
    pub(super) certificate: Certificate,
    /// The number of the next event to accept; events being committed count as accepted.
    pub(super) next: u64,
    /// The id of the last accepted event.
    pub(super) head: EventId,
    /// As `next`, but on the disk.
    pub(super) committed: u64,
    /// As `head`, but on the disk.
    pub(super) committed_head: EventId,
    /// The number of the first event at which it is proven to have forked, and from which on nothing belongs to the log;
    /// `None` while it is open.
    pub(super) closed_at: Option<u64>,
    /// Some link's log of this device differs from ours, and the place is being looked for.
    pub(super) suspect: bool,
    lamport: u64,
    recent: VecDeque<(u64, EventId)>,
}

/// What was decided about an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is to be committed, and so may be held ones after it.
    Accepted,
    /// We have it already.
    Known,
    /// It waits for its predecessors, or was dropped for lack of room, and comes again when requested.
    Early,
    /// Its device signed another event with this number, which we have.
    Differs,
    /// It does not follow our head: the logs differ somewhere before it.
    OtherPast,
    /// It breaks a rule, which the string names. Its log goes on as if it had never arrived: its device may have signed
    /// another event with this number that breaks none, and sent that one to others.
    Refused(&'static str),
}

/// All logs of a channel.
#[derive(Default)]
pub(super) struct Logs {
    logs: HashMap<Device, Log>,
    held: HeldEvents,
    /// The highest Lamport time accepted.
    max_lamport: u64,
    rules: Rules,
}

impl Logs {
    /// The logs as the store has them.
    pub(super) fn load(heads: Vec<LogHead>, rules: Rules) -> Self {
        let mut logs = Self {
            max_lamport: rules.clock,
            rules,
            ..Self::default()
        };
        for head in heads {
            logs.max_lamport = logs.max_lamport.max(head.lamport);
            let recent = head.next.checked_sub(1).map(|last| (last, head.head));
            let log = Log {
                certificate: head.certificate,
                next: head.next,
                head: head.head,
                committed: head.next,
                committed_head: head.head,
                closed_at: head.closed_at,
                suspect: false,
                lamport: head.lamport,
                recent: recent.into_iter().collect(),
            };
            logs.logs.insert(*head.certificate.device.as_bytes(), log);
        }
        logs
    }

    /// Begins again with the logs as the store has them.
    pub(super) fn reload(&mut self, heads: Vec<LogHead>) {
        let rules = mem::take(&mut self.rules);
        *self = Self::load(heads, rules);
    }

    pub(super) fn get(&self, device: &Device) -> Option<&Log> {
        self.logs.get(device)
    }

    pub(super) fn get_mut(&mut self, device: &Device) -> Option<&mut Log> {
        self.logs.get_mut(device)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Device, &Log)> {
        self.logs.iter()
    }

    /// Whose log `device`'s is; `None` if we do not know the log.
    pub(super) fn identity_of(&self, device: &Device) -> Option<IdentityId> {
        self.logs.get(device).map(|log| log.certificate.identity)
    }

    /// The number of the next event of `device` to accept.
    pub(super) fn next(&self, device: &Device) -> u64 {
        self.logs.get(device).map_or(0, |log| log.next)
    }

    /// The number at which `device`'s log was closed; `None` if it can grow.
    pub(super) fn end(&self, device: &Device) -> Option<u64> {
        self.logs.get(device)?.closed_at
    }

    /// Whether an event is held back.
    pub(super) fn is_held(&self, device: &Device, seq: u64) -> bool {
        self.held.get(device, seq).is_some()
    }

    /// Whether the next event of a log is held because it waits for our clock. It may never be accepted, and its device
    /// may have signed another with this number, so other links are asked for theirs as well.
    pub(super) fn waits_for_clock(&self, device: &Device, seq: u64) -> bool {
        seq == self.next(device)
            && self
                .held
                .get(device, seq)
                .is_some_and(|event| self.is_ahead(event))
    }

    /// Whether an event's Lamport time is too far ahead to be accepted yet.
    fn is_ahead(&self, event: &Event) -> bool {
        self.rules.is_ahead(event.header(), self.max_lamport)
    }

    /// Starts our clock at `lamport` at least.
    pub(super) fn start_clock(&mut self, lamport: u64) {
        self.rules.clock = lamport;
        self.max_lamport = self.max_lamport.max(lamport);
    }

    /// The Lamport time for the next event that we write.
    pub(super) fn next_lamport(&self) -> u64 {
        (self.max_lamport + 1).min(LAMPORT_LIMIT - 1)
    }

    /// Decides about an event that arrived over a link. If it is accepted, `accepted` gets it and every held one that now
    /// follows, in order.
    pub(super) fn offer(
        &mut self,
        event: Event,
        from: LinkId,
        accepted: &mut Vec<Event>,
    ) -> Verdict {
        let device = *event.header().device.as_bytes();
        let verdict = self.judge(&device, event, from, accepted);
        if verdict == Verdict::Accepted {
            while let Some(held) = self.held.take(&device, self.next(&device)) {
                if self.judge(&device, held.event, held.from, accepted) != Verdict::Accepted {
                    break;
                }
            }
        }
        verdict
    }

    fn judge(
        &mut self,
        device: &Device,
        event: Event,
        from: LinkId,
        accepted: &mut Vec<Event>,
    ) -> Verdict {
        let header = *event.header();
        if self.end(device).is_some_and(|end| header.seq >= end) {
            return Verdict::Refused("its log is closed");
        }
        let next = self.next(device);
        if header.seq < next {
            return match self.logs.get(device).and_then(|log| log.recent(header.seq)) {
                Some(id) if id != event.id() => Verdict::Differs,
                _ => Verdict::Known,
            };
        }
        if header.seq > next || self.is_ahead(&event) {
            self.held.hold(device, event, from);
            return Verdict::Early;
        }
        if let Err(why) = self.rules.check(&header) {
            return Verdict::Refused(why);
        }
        match self.logs.get_mut(device) {
            None => {
                match self.rules.check_first(&event, self.logs.len()) {
                    Ok(certificate) => self.logs.insert(*device, Log::begin(certificate, &event)),
                    Err(why) => return Verdict::Refused(why),
                };
            }
            Some(log) if header.prev != log.head => return Verdict::OtherPast,
            Some(log) => match self.rules.check_next(&header, log.lamport) {
                Ok(()) => log.follow(&event),
                Err(why) => return Verdict::Refused(why),
            },
        }
        self.max_lamport = self.max_lamport.max(header.lamport);
        // Another with this number may have waited.
        self.held.take(device, header.seq);
        accepted.push(event);
        Verdict::Accepted
    }

    /// Appends an event of ours, made to follow our head.
    pub(super) fn append_own(&mut self, event: &Event) {
        let device = *event.header().device.as_bytes();
        self.max_lamport = self.max_lamport.max(event.header().lamport);
        match self.logs.get_mut(&device) {
            Some(log) => log.follow(event),
            None => {
                if let Some(certificate) = event.certificate() {
                    self.logs.insert(device, Log::begin(certificate, event));
                }
            }
        }
    }

    /// Records that an event is on the disk.
    pub(super) fn committed(&mut self, event: &Event) {
        let header = event.header();
        if let Some(log) = self.logs.get_mut(header.device.as_bytes())
            && header.seq >= log.committed
            // Otherwise it was on its way to the disk when the fork was proven, and is evidence now.
            && log.closed_at.is_none_or(|end| header.seq < end)
        {
            log.committed = header.seq + 1;
            log.committed_head = event.id();
        }
    }

    /// Closes a log at `seq`, where a fork is proven.
    pub(super) fn close(&mut self, device: &Device, seq: u64) {
        if let Some(log) = self.logs.get_mut(device) {
            log.closed_at = Some(log.closed_at.map_or(seq, |at| at.min(seq)));
            log.suspect = false;
            log.next = log.next.min(seq);
            log.committed = log.committed.min(seq);
            log.recent.retain(|(at, _)| *at < seq);
        }
        self.held.drop_device(device);
    }

    /// Our claim to have a log, as members get it; `None` if we do not know the log.
    pub(super) fn claim(&self, device: &Device) -> Option<proto::Claim> {
        let log = self.logs.get(device)?;
        let head = if log.committed == 0 {
            Bytes::new()
        } else {
            Bytes::copy_from_slice(&log.committed_head.0[..16])
        };
        Some(proto::Claim {
            device: Bytes::copy_from_slice(device),
            floor: 0,
            next: log.committed,
            head,
        })
    }

    /// Drops the held events that a link sent.
    pub(super) fn drop_held(&mut self, link: LinkId) {
        self.held.drop_link(link);
    }

    /// Offers the held events again that waited only for our clock.
    pub(super) fn retry_held(&mut self, accepted: &mut Vec<Event>) {
        let ready: Vec<_> = self
            .held
            .keys()
            .filter(|(device, seq)| self.next(device) == *seq)
            .copied()
            .collect();
        for (device, seq) in ready {
            if let Some(held) = self.held.take(&device, seq) {
                self.offer(held.event, held.from, accepted);
            }
        }
    }
}

impl Log {
    fn begin(certificate: Certificate, event: &Event) -> Self {
        Self {
            certificate,
            next: 1,
            head: event.id(),
            committed: 0,
            committed_head: EventId::ZERO,
            closed_at: None,
            suspect: false,
            lamport: event.header().lamport,
            recent: VecDeque::from([(0, event.id())]),
        }
    }

    fn follow(&mut self, event: &Event) {
        self.next = event.header().seq + 1;
        self.head = event.id();
        self.lamport = event.header().lamport;
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((event.header().seq, event.id()));
    }

    fn recent(&self, seq: u64) -> Option<EventId> {
        self.recent
            .iter()
            .find(|(at, _)| *at == seq)
            .map(|(_, id)| *id)
    }
}
