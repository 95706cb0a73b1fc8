//! Profiles of members. Of each part of a profile the latest event counts, from any of the member's devices and in any order
//! of arrival (`docs/PROTOCOL.md`, 9.3).

use bitchat_wire::{
    event::{Body, Event, EventId, ReadMark},
    identity::DeviceId,
};

/// A place in the channel's order: Lamport time, device, number.
type Order = (u64, DeviceId, u64);

/// A member's profile in one channel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    name: Option<(Order, String)>,
    status: Option<(Order, String)>,
    picture: Option<(Order, Option<EventId>)>,
    read: Option<(Order, ReadMark)>,
}

impl Profile {
    /// Applies an event of the member, unless it is about something else or a later one is known.
    pub fn take(&mut self, event: &Event) {
        let order = event.header().order();
        match Body::of(event) {
            Body::Profile { name } => put(&mut self.name, order, name),
            Body::Status(line) => put(&mut self.status, order, line),
            Body::Picture(picture) => {
                put(&mut self.picture, order, picture.map(|_| event.id()));
            }
            Body::Read(mark) => put(&mut self.read, order, mark),
            _ => {}
        }
    }

    /// The name; empty if none was published.
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or("", |(_, name)| name)
    }

    /// The status line; empty when there is none.
    pub fn status(&self) -> &str {
        self.status.as_ref().map_or("", |(_, status)| status)
    }

    /// The event that holds the picture; `None` if there is no picture.
    pub fn picture(&self) -> Option<EventId> {
        self.picture.as_ref().and_then(|(_, picture)| *picture)
    }

    /// How far the member has read, as last published; `None` if it never was.
    pub fn read(&self) -> Option<ReadMark> {
        self.read.as_ref().map(|(_, mark)| *mark)
    }
}

fn put<T>(slot: &mut Option<(Order, T)>, order: Order, value: T) {
    // One place may come twice: if its first event was never committed, another event takes the place.
    if slot.as_ref().is_none_or(|(known, _)| *known <= order) {
        *slot = Some((order, value));
    }
}
