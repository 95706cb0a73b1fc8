//! Pushing our own new events to links (`docs/PROTOCOL.md`, sync). Pure.
//!
//! What is still to be sent to a link is a cursor, not a queue: a slow link's cursor stays where it is. Recent events
//! are kept encoded in a ring. A member whose cursor falls out of it gets a claim of what it lacks, and pulls; it is
//! pushed to again once what it has reaches into the ring.

use std::collections::VecDeque;

use bitchat_wire::{
    event::Event,
    message::{self, MAX_EVENTS},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;

use crate::link::signed;

/// Events of ours that are kept for pushing.
const RING: usize = 4_096;
/// Bytes of the events that are kept for pushing.
const RING_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of events in one message.
const BATCH_BYTES: usize = 64 * 1024;

/// The event at a cursor is no longer in the ring.
#[derive(Debug)]
pub(super) struct FellBehind;

/// Our latest committed events.
#[derive(Default)]
pub(super) struct Ring {
    events: VecDeque<proto::SignedEvent>,
    /// The number after the last event's.
    end: u64,
    bytes: usize,
    /// The last message, with its first number and the number after its last: most links of a mesh want the same one.
    cache: Option<(u64, u64, Bytes)>,
}

impl Ring {
    pub(super) fn starting_at(end: u64) -> Self {
        Self {
            end,
            ..Self::default()
        }
    }

    /// The number after the last event's.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The number of the first event that can be pushed.
    pub(super) fn start(&self) -> u64 {
        self.end - self.events.len() as u64
    }

    /// Adds an event of ours that is on the disk.
    pub(super) fn add(&mut self, event: &Event) {
        if event.header().seq != self.end {
            // After a reload; members pull what is missing.
            self.events.clear();
            self.bytes = 0;
        }
        self.end = event.header().seq + 1;
        self.bytes += event.raw().len();
        self.events.push_back(signed(event));
        while self.events.len() > RING || self.bytes > RING_BYTES {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.event.len();
        }
    }

    /// The next message for a cursor, and the cursor after it; `Ok(None)` if there is nothing to push.
    pub(super) fn next(&mut self, cursor: u64) -> Result<Option<(Bytes, u64)>, FellBehind> {
        if cursor >= self.end {
            return Ok(None);
        }
        let skip = cursor.checked_sub(self.start()).ok_or(FellBehind)?;
        if let Some((from, to, message)) = &self.cache
            && *from == cursor
            && (*to == self.end || self.events.len() as u64 - skip > MAX_EVENTS as u64)
        {
            return Ok(Some((message.clone(), *to)));
        }
        let mut events = Vec::new();
        let mut bytes = 0;
        for event in self
            .events
            .iter()
            .skip(usize::try_from(skip).unwrap_or(usize::MAX))
            .take(MAX_EVENTS)
        {
            if !events.is_empty() && bytes + event.event.len() > BATCH_BYTES {
                break;
            }
            bytes += event.event.len();
            events.push(event.clone());
        }
        let to = cursor + events.len() as u64;
        let message: Bytes = message::encode(Kind::Events(proto::Events {
            events,
            backfill: false,
        }))
        .into();
        self.cache = Some((cursor, to, message.clone()));
        Ok(Some((message, to)))
    }
}
