//! What a member says of itself: of each sort the latest word counts, from whichever of its devices and
//! in whatever order they arrived (`docs/PROTOCOL.md`, 9.3).

use bitchat_wire::{
    event::{Body, Event, EventId, ReadMark},
    identity::DeviceId,
};

/// A place in the channel's order.
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
    /// Takes over what an event of the member says, if it says anything of the sort and nothing later is
    /// known.
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

    /// The name; empty when none was said.
    pub fn name(&self) -> &str {
        self.name.as_ref().map_or("", |(_, name)| name)
    }

    /// The status line; empty when there is none.
    pub fn status(&self) -> &str {
        self.status.as_ref().map_or("", |(_, status)| status)
    }

    /// The event that holds the picture, if there is one.
    pub fn picture(&self) -> Option<EventId> {
        self.picture.as_ref().and_then(|(_, picture)| *picture)
    }

    /// How far the member says it has read.
    pub fn read(&self) -> Option<ReadMark> {
        self.read.as_ref().map(|(_, mark)| *mark)
    }
}

fn put<T>(slot: &mut Option<(Order, T)>, order: Order, value: T) {
    // The same place may be written again, when its first event was never committed.
    if slot.as_ref().is_none_or(|(known, _)| *known <= order) {
        *slot = Some((order, value));
    }
}
