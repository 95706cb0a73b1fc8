//! Pushing our own new events to links (`docs/PROTOCOL.md`, sync). Pure.
//!
//! The outbox is a cursor a link, not a queue: a slow link's cursor stays where it is. Recent events are
//! kept encoded in a ring. A member whose cursor falls out of it is told what it lacks and pulls; it is pushed
//! to again when what it has reaches into the ring.

use std::collections::VecDeque;

use bitchat_wire::{
    event::Event,
    message::{self, MAX_EVENTS},
    proto::{self, link_message::Kind},
};
use bytes::Bytes;

/// Own events that are kept for pushing.
const RING: usize = 4_096;
/// Their bytes.
const RING_BYTES: usize = 4 * 1024 * 1024;
/// Events in one message, in bytes.
const BATCH_BYTES: usize = 64 * 1024;

/// What a cursor points at is in the ring no more.
#[derive(Debug)]
pub(super) struct FellBehind;

/// Our latest committed events.
#[derive(Default)]
pub(super) struct Ring {
    events: VecDeque<proto::SignedEvent>,
    /// The number behind the last of them.
    end: u64,
    bytes: usize,
    /// The last message made: a mesh of links mostly wants the very same.
    cache: Option<(u64, u64, Bytes)>,
}

impl Ring {
    pub(super) fn starting_at(end: u64) -> Self {
        Self {
            end,
            ..Self::default()
        }
    }

    /// The number behind the last event.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// The number of the first event that can be pushed.
    pub(super) fn start(&self) -> u64 {
        self.end - self.events.len() as u64
    }

    pub(super) fn add(&mut self, event: &Event) {
        if event.header().seq != self.end {
            // After a reload; what is missing is pulled.
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

    /// The next message for a cursor, and where the cursor then stands. `Ok(None)`: nothing is due.
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

pub(super) fn signed(event: &Event) -> proto::SignedEvent {
    proto::SignedEvent {
        event: event.raw().clone(),
        signature: Bytes::copy_from_slice(event.signature()),
    }
}
