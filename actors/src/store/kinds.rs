//! What the store understands of events: the numbers in the column `kind`, and the functions by which
//! migrations ask.

use bitchat_wire::event::{Body, Event};
use rusqlite::{Connection, functions::FunctionFlags};

use super::index::unbound;

/// A text; the conversation is made of these.
pub(super) const TEXT: i64 = 2;
/// An edit of a text.
pub(super) const EDIT: i64 = 5;
/// A deletion of a text.
pub(super) const DELETE: i64 = 6;
/// The reactions of an identity to a text.
pub(super) const REACT: i64 = 7;

/// The words that a text or an edit says.
pub(super) fn words(event: &Event) -> Option<String> {
    match Body::of(event) {
        Body::Text(said) | Body::Edit { said, .. } => Some(said.text),
        _ => None,
    }
}

/// Gives a connection the function that migrations use.
pub(super) fn teach(conn: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("event_text", 1, flags, |call| {
        Ok(unbound(call.get(0)?).and_then(|event| words(&event)))
    })
}
