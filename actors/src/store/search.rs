//! Finding texts by their words, and events by the beginning of their id.

use bitchat_wire::{channel::ChannelId, event::EventId};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    api::LogEntry,
    error::{Fail, StoreError},
    history::{ENTRY_COLUMNS, capped, entries},
    row::channel_row,
};

/// Bytes of what is searched for.
const MAX_QUERY: usize = 1_024;
/// Words and phrases in it.
const MAX_TERMS: usize = 32;
/// Hexadecimal digits that an id's beginning has at least.
const MIN_PREFIX: usize = 6;

/// What the user typed as an expression of FTS5: every word must occur, as the beginning of a word at
/// least; what stands in double quotes must occur as it is. Nothing that is typed has any other meaning.
pub(super) fn expression(query: &str) -> Result<String, StoreError> {
    if query.len() > MAX_QUERY {
        return Err(StoreError::Invalid("a search has at most 1,024 bytes"));
    }
    let mut terms = Vec::new();
    // Every second piece stood in quotes, be they closed or not.
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
    // What holds neither letter nor digit is in no index.
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

/// Texts with these words, the last to arrive first.
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

/// When an event arrived; also one that has left its log since it was found.
fn position(conn: &Connection, id: EventId) -> Result<i64, Fail> {
    conn.prepare_cached(
        "SELECT position FROM event WHERE id = ?1
         UNION ALL SELECT position FROM evidence WHERE id = ?1",
    )?
    .query_row([id.0], |row| row.get(0))
    .optional()?
    .ok_or(Fail::Refused(StoreError::NoEvent))
}

/// The events of a channel whose id begins so; at most two, which tells one from several.
pub(super) fn by_prefix(
    conn: &Connection,
    cid: &ChannelId,
    prefix: &str,
) -> Result<Vec<EventId>, Fail> {
    let (low, high) = bounds(prefix).ok_or(StoreError::Invalid(
        "an event is named by 6 to 64 hexadecimal digits of its id",
    ))?;
    let channel = channel_row(conn, cid)?;
    let mut statement = conn.prepare_cached(
        "SELECT id FROM event WHERE id >= ?1 AND id <= ?2 AND channel = ?3 LIMIT 2",
    )?;
    let ids = statement.query_map(params![low, high, channel], |row| row.get(0).map(EventId))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The first and the last id that begin so.
fn bounds(prefix: &str) -> Option<([u8; 32], [u8; 32])> {
    let digits = prefix.len();
    if !(MIN_PREFIX..=64).contains(&digits) || !prefix.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let fill = |with: char| {
        let full: String = prefix
            .chars()
            .chain(std::iter::repeat(with))
            .take(64)
            .collect();
        let mut id = [0; 32];
        hex::decode_to_slice(full, &mut id).ok().map(|()| id)
    };
    Some((fill('0')?, fill('f')?))
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

    #[test]
    fn prefixes_have_bounds() {
        let (low, high) = bounds("aBc123").unwrap();
        assert_eq!((low[..4].to_vec(), low[31]), (vec![0xab, 0xc1, 0x23, 0], 0));
        assert_eq!(
            (high[..4].to_vec(), high[31]),
            (vec![0xab, 0xc1, 0x23, 0xff], 0xff)
        );
        let (low, high) = bounds("abcdef1").unwrap();
        assert_eq!((low[3], high[3]), (0x10, 0x1f));
        for bad in ["", "abcde", "abcdeg", &"a".repeat(65), "\u{e9}\u{e9}\u{e9}"] {
            assert!(bounds(bad).is_none(), "{bad}");
        }
    }
}
