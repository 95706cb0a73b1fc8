//! A node's disk: the events of the commits that ended.

use std::collections::{BTreeMap, HashMap};

use bitchat_wire::event::{Event, EventId};

use crate::{
    channel::device::Device,
    store::{LogHead, NewEvent, StoreError},
};

/// What is on a node's disk.
#[derive(Default, Clone)]
pub(super) struct Disk {
    pub(super) logs: BTreeMap<Device, Vec<Event>>,
    pub(super) closed: HashMap<Device, u64>,
    pub(super) proofs: Vec<(Event, Event)>,
    pub(super) position: u64,
}

impl Disk {
    /// The logs' heads, as the store would return them.
    pub(super) fn heads(&self) -> Vec<LogHead> {
        let head = |events: &Vec<Event>| {
            let last = events.last().unwrap();
            let certificate = events[0].certificate().unwrap();
            let closed_at = self.closed.get(certificate.device.as_bytes()).copied();
            LogHead {
                certificate,
                floor: 0,
                next: events.len() as u64,
                head: last.id(),
                lamport: last.header().lamport,
                closed_at,
            }
        };
        self.logs
            .values()
            .filter(|events| !events.is_empty())
            .map(head)
            .collect()
    }

    /// Appends all events, or none; returns their positions.
    pub(super) fn append(&mut self, events: &[NewEvent]) -> Result<Vec<u64>, StoreError> {
        let mut ends: BTreeMap<Device, (u64, EventId)> = BTreeMap::new();
        for new in events {
            let header = *new.event.header();
            let device = *header.device.as_bytes();
            let log = self
                .logs
                .get(&device)
                .map(Vec::as_slice)
                .unwrap_or_default();
            let last = log.last().map_or(EventId::ZERO, Event::id);
            let end = ends.entry(device).or_insert((log.len() as u64, last));
            let closed = self.closed.get(&device).is_some_and(|at| header.seq >= *at);
            if (header.seq, header.prev) != *end || closed {
                return Err(StoreError::Gap { seq: header.seq });
            }
            *end = (header.seq + 1, new.event.id());
        }
        let positions = events.iter().map(|new| {
            let device = *new.event.header().device.as_bytes();
            self.logs.entry(device).or_default().push(new.event.clone());
            self.position += 1;
            self.position
        });
        Ok(positions.collect())
    }

    /// Closes a log at a proven fork.
    pub(super) fn close(&mut self, a: Event, b: Event) {
        let (device, seq) = (*a.header().device.as_bytes(), a.header().seq);
        self.closed.insert(device, seq);
        if let Some(log) = self.logs.get_mut(&device) {
            log.truncate(usize::try_from(seq).unwrap());
        }
        self.proofs.push((a, b));
    }

    /// The events `from..to` of a log.
    pub(super) fn read(&self, device: &Device, from: u64, to: u64) -> Vec<Event> {
        let log = self.logs.get(device).map(Vec::as_slice).unwrap_or_default();
        log.iter()
            .skip(from as usize)
            .take(to.saturating_sub(from) as usize)
            .cloned()
            .collect()
    }
}
