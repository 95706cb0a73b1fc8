//! Events that arrived before their predecessors, or too far ahead of our clock, and wait. Pure.

use std::collections::{BTreeMap, HashMap};

use bitchat_wire::event::Event;

use super::device::Device;
use crate::link::LinkId;

/// Small events held in total: the ranges in flight, with some to spare.
pub(super) const MAX_HELD: usize = 2_048;
/// Raw bytes of the events held in total.
const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;

/// The events that wait, by device and number.
#[derive(Default)]
pub(super) struct HeldEvents {
    events: BTreeMap<(Device, u64), Held>,
    bytes: usize,
    /// Bytes held per link.
    by_link: HashMap<LinkId, usize>,
}

/// An event that waits, and the link that sent it.
pub(super) struct Held {
    pub(super) event: Event,
    pub(super) from: LinkId,
}

impl HeldEvents {
    /// An event that is held.
    pub(super) fn get(&self, device: &Device, seq: u64) -> Option<&Event> {
        self.events.get(&(*device, seq)).map(|held| &held.event)
    }

    /// The devices and numbers of all events.
    pub(super) fn keys(&self) -> impl Iterator<Item = &(Device, u64)> {
        self.events.keys()
    }

    /// Holds an event. When there is no room, the link that holds the most makes it, so that a flood displaces nothing
    /// that other links sent.
    pub(super) fn hold(&mut self, device: &Device, event: Event, from: LinkId) {
        let size = size(&event);
        let key = (*device, event.header().seq);
        if let Some(held) = self.events.get(&key) {
            // Of two with one number, the one that our clock reaches first.
            if held.event.header().lamport <= event.header().lamport {
                return;
            }
            self.take(device, key.1);
        }
        while self.bytes + size > MAX_HELD_BYTES {
            let most = self.by_link.iter().max_by_key(|(_, bytes)| **bytes);
            let Some(link) = most.map(|(link, _)| *link).filter(|link| *link != from) else {
                return;
            };
            // The furthest ahead is missed the least.
            let last = self.events.iter().rev().find(|(_, held)| held.from == link);
            let Some((device, seq)) = last.map(|(key, _)| *key) else {
                return;
            };
            self.take(&device, seq);
        }
        self.bytes += size;
        *self.by_link.entry(from).or_insert(0) += size;
        self.events.insert(key, Held { event, from });
    }

    /// Removes an event.
    pub(super) fn take(&mut self, device: &Device, seq: u64) -> Option<Held> {
        let held = self.events.remove(&(*device, seq))?;
        let size = size(&held.event);
        self.bytes -= size;
        if let Some(bytes) = self.by_link.get_mut(&held.from) {
            *bytes -= size;
            if *bytes == 0 {
                self.by_link.remove(&held.from);
            }
        }
        Some(held)
    }

    /// Drops all events of a device.
    pub(super) fn drop_device(&mut self, device: &Device) {
        let stale: Vec<_> = self
            .events
            .range((*device, 0)..=(*device, u64::MAX))
            .map(|(key, _)| *key)
            .collect();
        for (_, seq) in stale {
            self.take(device, seq);
        }
    }

    /// Drops all events that a link sent.
    pub(super) fn drop_link(&mut self, link: LinkId) {
        if self.by_link.contains_key(&link) {
            let stale: Vec<_> = self
                .events
                .iter()
                .filter(|(_, held)| held.from == link)
                .map(|(key, _)| *key)
                .collect();
            for (device, seq) in stale {
                self.take(&device, seq);
            }
        }
    }
}

/// The bytes that an event counts for. Small ones count for more than they have, so that no more than [`MAX_HELD`] are
/// held.
fn size(event: &Event) -> usize {
    event.raw().len().max(MAX_HELD_BYTES / MAX_HELD)
}
