//! What the store understands of events: the numbers in the column `kind`, and the functions by which
//! migrations ask.

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, Event, EventId},
};
use bytes::Bytes;
use rusqlite::{Connection, functions::FunctionFlags, types::Value};

/// A text; the conversation is made of these.
pub(super) const TEXT: i64 = 2;
/// An edit of a text.
pub(super) const EDIT: i64 = 5;
/// A deletion of a text.
pub(super) const DELETE: i64 = 6;
/// The reactions of an identity to a text.
pub(super) const REACT: i64 = 7;

/// The number of an event's kind, and what it is about.
pub(super) fn of(event: &Event) -> (i64, Option<EventId>) {
    let body = Body::of(event);
    let kind = match &body {
        Body::Genesis(_) => 1,
        Body::Text(_) => TEXT,
        Body::Profile { .. } => 3,
        Body::Leave => 4,
        Body::Edit { .. } => EDIT,
        Body::Delete { .. } => DELETE,
        Body::React { .. } => REACT,
        Body::Read(_) => 8,
        Body::Picture(_) => 9,
        Body::Status(_) => 10,
        _ => 0,
    };
    (kind, body.target())
}

/// The words that a text or an edit says.
pub(super) fn words(event: &Event) -> Option<String> {
    match Body::of(event) {
        Body::Text(said) | Body::Edit { said, .. } => Some(said.text),
        _ => None,
    }
}

/// Gives a connection the functions that migrations use.
pub(super) fn teach(conn: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("event_kind", 1, flags, |call| {
        Ok(event(call.get(0)?).map_or(0, |event| of(&event).0))
    })?;
    conn.create_scalar_function("event_target", 1, flags, |call| {
        let target = event(call.get(0)?).and_then(|event| of(&event).1);
        Ok(target.map_or(Value::Null, |id| Value::Blob(id.0.to_vec())))
    })?;
    conn.create_scalar_function("event_text", 1, flags, |call| {
        Ok(event(call.get(0)?).and_then(|event| words(&event)))
    })
}

/// An event of which only the body matters: neither its channel nor its signature is looked at.
fn event(raw: Vec<u8>) -> Option<Event> {
    Event::from_store(&ChannelId([0; 32]), Bytes::from(raw), &[0; 64]).ok()
}
