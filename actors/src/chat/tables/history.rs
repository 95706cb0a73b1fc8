//! Reading events with what counts about them, and profiles.

use std::collections::{BTreeMap, HashMap};

use bitchat_wire::{channel::ChannelId, event::EventId, identity::IdentityId};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::{
    super::profile::Profile,
    api::{LogEntry, PageQuery},
    kinds, references,
};
use crate::store::{
    Fail, StoreError,
    row::{channel_row, event_of, identity_of, int},
};

/// The most entries of one answer.
const MAX_ENTRIES: usize = 1_000;
/// The most bytes of raw events in one answer, except for a single larger entry: a thousand of the largest events would
/// be 100 MB.
const MAX_ENTRY_BYTES: usize = 16 << 20;
/// The columns of an entry.
pub(super) const ENTRY_COLUMNS: &str =
    "position, cid, event.raw, event.signature, log.identity, arrival_ms, event.kind";

/// The tables of an entry. The cross joins make SQLite scan the events in the order of an index and look up the rest,
/// instead of scanning the logs and sorting.
const ENTRY_TABLES: &str = "FROM event CROSS JOIN log ON log.id = event.log
         CROSS JOIN channel ON channel.id = event.channel";

/// The last event of a kind in each log. One look-up a log, however many events it holds; the literal kind lets SQLite use
/// the index of that kind.
pub(super) fn latest_sql(kind: i64) -> String {
    format!(
        "SELECT raw, signature, identity
         FROM log CROSS JOIN event ON event.log = log.id
         WHERE log.channel = ?1 AND event.kind = {kind} AND event.seq =
             (SELECT max(seq) FROM event AS other WHERE other.log = log.id AND other.kind = {kind})"
    )
}

pub(super) fn entry(
    conn: &Connection,
    cid: &ChannelId,
    id: EventId,
) -> Result<Option<LogEntry>, Fail> {
    let channel = channel_row(conn, cid)?;
    let sql =
        format!("SELECT {ENTRY_COLUMNS} {ENTRY_TABLES} WHERE event.id = ?1 AND event.channel = ?2");
    Ok(entries(conn, &sql, params![id.0, channel])?.pop())
}

pub(super) fn page(
    conn: &Connection,
    cid: &ChannelId,
    query: PageQuery,
) -> Result<Vec<LogEntry>, Fail> {
    let channel = channel_row(conn, cid)?;
    let limit = capped(query.limit);
    let sql = page_sql(query.conversation_only, query.before.is_some());
    let mut page = match query.before {
        None => entries(conn, &sql, params![channel, limit])?,
        Some(id) => {
            let (lamport, device, seq) = place(conn, channel, id)?;
            entries(conn, &sql, params![channel, limit, lamport, device, seq])?
        }
    };
    page.reverse();
    Ok(page)
}

/// A page, the latest first: all events or texts only, with or without a bound.
pub(super) fn page_sql(conversation_only: bool, before: bool) -> String {
    // The literal kind lets SQLite use the index of texts.
    let kind = if conversation_only {
        "AND event.kind = 2"
    } else {
        ""
    };
    let bound = if before {
        "AND (event.lamport, event.device, event.seq) < (?3, ?4, ?5)"
    } else {
        ""
    };
    format!(
        "SELECT {ENTRY_COLUMNS} {ENTRY_TABLES} WHERE event.channel = ?1 {kind} {bound}
         ORDER BY event.lamport DESC, event.device DESC, event.seq DESC LIMIT ?2"
    )
}

/// The place of an event in the channel's order; also of one that has left its log since it was shown.
fn place(conn: &Connection, channel: i64, id: EventId) -> Result<(i64, [u8; 32], i64), Fail> {
    conn.prepare_cached(
        "SELECT lamport, device, seq FROM event WHERE id = ?1 AND channel = ?2
         UNION ALL
         SELECT lamport, device, seq FROM evidence WHERE id = ?1 AND channel = ?2",
    )?
    .query_row(params![id.0, channel], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?))
    })
    .optional()?
    .ok_or(Fail::Refused(StoreError::NoEvent))
}

pub(super) fn since(
    conn: &Connection,
    cid: Option<&ChannelId>,
    position: u64,
    limit: usize,
) -> Result<Vec<LogEntry>, Fail> {
    let (after, limit) = (int(position), capped(limit));
    let sql = since_sql(cid.is_some());
    let Some(cid) = cid else {
        return entries(conn, &sql, params![after, limit]);
    };
    let channel = channel_row(conn, cid)?;
    entries(conn, &sql, params![after, limit, channel])
}

/// Events in the order of arrival, of one channel or of all.
pub(super) fn since_sql(of_channel: bool) -> String {
    let channel = if of_channel {
        "AND event.channel = ?3"
    } else {
        ""
    };
    format!(
        "SELECT {ENTRY_COLUMNS} {ENTRY_TABLES}
         WHERE position > ?1 {channel} ORDER BY position LIMIT ?2"
    )
}

/// The limit of an answer.
pub(super) fn capped(limit: usize) -> i64 {
    int(limit.min(MAX_ENTRIES) as u64)
}

pub(super) fn profiles(
    conn: &Connection,
    cid: &ChannelId,
) -> Result<Vec<(IdentityId, Profile)>, Fail> {
    let channel = channel_row(conn, cid)?;
    let mut profiles: BTreeMap<IdentityId, Profile> = BTreeMap::new();
    for kind in kinds::PROFILE {
        let mut statement = conn.prepare_cached(&latest_sql(kind))?;
        let mut rows = statement.query([channel])?;
        while let Some(row) = rows.next()? {
            let event = event_of(cid, row, 0)?;
            let identity = identity_of(&row.get(2)?)?;
            // A member may have several devices: of each part of the profile the latest counts.
            profiles.entry(identity).or_default().take(&event);
        }
    }
    Ok(profiles.into_iter().collect())
}

/// Runs a query for [`ENTRY_COLUMNS`] and adds the references of texts. Ends before [`MAX_ENTRY_BYTES`] are passed.
pub(super) fn entries(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
) -> Result<Vec<LogEntry>, Fail> {
    let mut statement = conn.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut authors: HashMap<[u8; 32], IdentityId> = HashMap::new();
    let mut entries = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let cid = ChannelId(row.get(1)?);
        let event = event_of(&cid, row, 2)?;
        bytes += event.raw().len();
        let author: [u8; 32] = row.get(4)?;
        let author = match authors.get(&author) {
            Some(known) => *known,
            None => {
                // Checking a key costs more than reading a row.
                let identity = identity_of(&author)?;
                authors.insert(author, identity);
                identity
            }
        };
        let references = match row.get(6)? {
            kinds::TEXT => references::of_text(conn, &cid, event.id(), &author)?,
            _ => Vec::new(),
        };
        bytes += references
            .iter()
            .map(|reference| reference.event.raw().len())
            .sum::<usize>();
        if bytes > MAX_ENTRY_BYTES && !entries.is_empty() {
            break;
        }
        entries.push(LogEntry {
            position: row.get::<_, i64>(0)?.unsigned_abs(),
            cid,
            event,
            author,
            arrival_ms: row.get::<_, i64>(5)?.unsigned_abs(),
            references,
        });
    }
    Ok(entries)
}
