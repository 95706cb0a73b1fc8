//! The kinds of events that these tables know, and the function by which migrations read a text.

use bitchat_wire::event::{Body, Event};
use rusqlite::{Connection, functions::FunctionFlags};

use crate::store::index::unbound;

/// A text ([`Body::kind`]).
pub(super) const TEXT: i64 = 2;
/// An edit of a text.
pub(super) const EDIT: i64 = 5;
/// A deletion of a text.
pub(super) const DELETE: i64 = 6;
/// The reactions of an identity to a text.
pub(super) const REACT: i64 = 7;
/// The kinds of which the latest of each log counts: names, read marks, pictures, status lines.
pub(super) const PROFILE: [i64; 4] = [3, 8, 9, 10];

/// The text that a text or an edit has its target show; `None` for all other events.
pub(super) fn text_of(event: &Event) -> Option<String> {
    match Body::of(event) {
        Body::Text(said) | Body::Edit { said, .. } => Some(said.text),
        _ => None,
    }
}

/// Registers `event_text(raw)`, which migrations use.
pub(super) fn functions(conn: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_DIRECTONLY;
    conn.create_scalar_function("event_text", 1, flags, |call| {
        Ok(unbound(call.get(0)?).and_then(|event| text_of(&event)))
    })
}

#[cfg(test)]
mod tests {
    use bitchat_wire::event::{EventId, Said};

    use super::*;

    #[test]
    fn kinds_are_those_of_the_bodies() {
        let (target, said) = (EventId::ZERO, Said::plain("x"));
        let name = String::new();
        let emoji = Vec::new();
        for (kind, body) in [
            (TEXT, Body::Text(said.clone())),
            (EDIT, Body::Edit { target, said }),
            (DELETE, Body::Delete { target }),
            (REACT, Body::React { target, emoji }),
            (PROFILE[0], Body::Profile { name }),
            (PROFILE[2], Body::Picture(None)),
            (PROFILE[3], Body::Status(String::new())),
        ] {
            assert_eq!(i64::from(body.kind()), kind, "{body:?}");
        }
    }
}
