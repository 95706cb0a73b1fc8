//! Full-text search.

use bitchat_wire::{channel::ChannelId, event::EventId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    api::LogEntry,
    history::{ENTRY_COLUMNS, capped, entries},
};
use crate::store::{Fail, StoreError, row::channel_row};

/// The longest query, in bytes.
const MAX_QUERY: usize = 1_024;
/// The most words and phrases of a query.
const MAX_TERMS: usize = 32;
/// Translates a query into an expression of FTS5. Every word must occur, at least as the beginning of a word; what is in
/// double quotes must occur as it is. Nothing else in a query has a special meaning.
pub(super) fn expression(query: &str) -> Result<String, StoreError> {
    if query.len() > MAX_QUERY {
        return Err(StoreError::Invalid("a search has at most 1,024 bytes"));
    }
    let mut terms = Vec::new();
    // Every second piece was in quotes, closed or not.
    for (n, piece) in query.split('"').enumerate() {
        let clean: String = piece
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        if n % 2 == 1 {
            terms.push((clean, ""));
        } else {
            terms.extend(clean.split_whitespace().map(|word| (word.to_owned(), "*")));
        }
    }
    // The index holds letters and digits only.
    terms.retain(|(term, _)| term.contains(char::is_alphanumeric));
    if terms.is_empty() {
        return Err(StoreError::Invalid(
            "a search needs a word: letters or digits",
        ));
    }
    if terms.len() > MAX_TERMS {
        return Err(StoreError::Invalid("a search has at most 32 words"));
    }
    let terms: Vec<String> = terms
        .into_iter()
        .map(|(term, prefix)| format!("\"{term}\"{prefix}"))
        .collect();
    Ok(terms.join(" AND "))
}

/// Texts that match a query, the last to arrive first.
pub(super) fn search(
    conn: &Connection,
    cid: Option<&ChannelId>,
    query: &str,
    limit: usize,
    before: Option<EventId>,
) -> Result<Vec<LogEntry>, Fail> {
    let words = expression(query)?;
    let before = match before {
        Some(id) => position(conn, id)?,
        None => i64::MAX,
    };
    let limit = capped(limit);
    let sql = search_sql(cid.is_some());
    let Some(cid) = cid else {
        return entries(conn, &sql, params![words, before, limit]);
    };
    let channel = channel_row(conn, cid)?;
    entries(conn, &sql, params![words, before, limit, channel])
}

pub(super) fn search_sql(of_channel: bool) -> String {
    let channel = if of_channel {
        "AND event.channel = ?4"
    } else {
        ""
    };
    format!(
        "SELECT {ENTRY_COLUMNS}
         FROM said CROSS JOIN event ON event.position = said.rowid
             CROSS JOIN log ON log.id = event.log CROSS JOIN channel ON channel.id = event.channel
         WHERE said MATCH ?1 AND said.rowid < ?2 {channel} ORDER BY said.rowid DESC LIMIT ?3"
    )
}

/// The position of an event; also of one that has left its log since it was found.
fn position(conn: &Connection, id: EventId) -> Result<i64, Fail> {
    conn.prepare_cached(
        "SELECT position FROM event WHERE id = ?1
         UNION ALL SELECT position FROM evidence WHERE id = ?1",
    )?
    .query_row([id.0], |row| row.get(0))
    .optional()?
    .ok_or(Fail::Refused(StoreError::NoEvent))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn words_are_words_and_nothing_else() {
        for (typed, meant) in [
            ("hello", r#""hello"*"#),
            ("  a  b ", r#""a"* AND "b"*"#),
            (r#"a "b c" d"#, r#""a"* AND "b c" AND "d"*"#),
            (r#""open end"#, r#""open end""#),
            ("a OR b", r#""a"* AND "OR"* AND "b"*"#),
            ("text:x NEAR(a b)", r#""text:x"* AND "NEAR(a"* AND "b)"*"#),
            ("-a ^b *", r#""-a"* AND "^b"*"#),
            ("a\0b\n", r#""a"* AND "b"*"#),
            ("it's", r#""it's"*"#),
        ] {
            assert_eq!(expression(typed).unwrap(), meant, "{typed}");
        }
        for bad in ["", " ", "\"\"", "* - ?", "\u{1f44d}"] {
            assert!(expression(bad).is_err(), "{bad:?}");
        }
        assert!(expression(&"x".repeat(1_025)).is_err());
        assert!(expression(&"x ".repeat(33)).is_err());
    }
}
