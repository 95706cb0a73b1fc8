//! Reading logs.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::{Certificate, DeviceId, IdentityId},
};
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::{
    api::{LogEntry, LogHead, PageQuery},
    error::{Fail, StoreError},
    kinds,
    profile::Profile,
    references,
    row::{channel_row, device_of, event_of, identity_of, int},
};

/// Entries of a page, or of one answer about what arrived.
const MAX_ENTRIES: usize = 1_000;
/// Bytes of raw events after which such an answer ends too, though it be short of its limit: a thousand
/// of the largest events would be 100 MB.
const MAX_ENTRY_BYTES: usize = 16 << 20;
/// Ids in one answer: what one message on a link carries.
const MAX_IDS: u64 = 256;

/// The columns of an entry.
pub(super) const ENTRY_COLUMNS: &str =
    "position, cid, event.raw, event.signature, log.identity, arrival_ms, event.kind";

/// The tables of an entry. The cross joins tell SQLite to go through the events in the order of an index
/// and to look up the rest, not to go through the logs and sort.
const ENTRY_TABLES: &str = "FROM event CROSS JOIN log ON log.id = event.log
         CROSS JOIN channel ON channel.id = event.channel";

/// Kinds of which each log's last counts: names, read marks, pictures, status lines.
pub(super) const PROFILE_KINDS: [i64; 4] = [3, 8, 9, 10];

/// The last event of a kind in each log. One look-up a log, however many it holds; the literal kind lets
/// SQLite take the index of that kind.
pub(super) fn latest_sql(kind: i64) -> String {
    format!(
        "SELECT raw, signature, identity
         FROM log CROSS JOIN event ON event.log = log.id
         WHERE log.channel = ?1 AND event.kind = {kind} AND event.seq =
             (SELECT max(seq) FROM event AS other WHERE other.log = log.id AND other.kind = {kind})"
    )
}

pub(super) fn heads(conn: &Connection, cid: &ChannelId) -> Result<Vec<LogHead>, Fail> {
    let channel = channel_row(conn, cid)?;
    let mut statement = conn.prepare_cached(
        "SELECT log.device, identity, created, certificate, floor, next, head, lamport, fork.seq
         FROM log LEFT JOIN fork ON fork.channel = log.channel AND fork.device = log.device
         WHERE log.channel = ?1 ORDER BY log.device",
    )?;
    let mut rows = statement.query([channel])?;
    let mut heads = Vec::new();
    while let Some(row) = rows.next()? {
        heads.push(LogHead {
            certificate: Certificate {
                device: device_of(&row.get(0)?)?,
                identity: identity_of(&row.get(1)?)?,
                created: row.get::<_, i64>(2)?.cast_unsigned(),
                signature: row.get(3)?,
            },
            floor: row.get::<_, i64>(4)?.unsigned_abs(),
            next: row.get::<_, i64>(5)?.unsigned_abs(),
            head: EventId(row.get(6)?),
            lamport: row.get::<_, i64>(7)?.unsigned_abs(),
            closed_at: row.get::<_, Option<i64>>(8)?.map(i64::unsigned_abs),
        });
    }
    Ok(heads)
}

pub(super) fn events(
    conn: &Connection,
    cid: &ChannelId,
    device: DeviceId,
    range: &Range<u64>,
    max_bytes: usize,
) -> Result<Vec<Event>, Fail> {
    let Some(log) = log_row(conn, cid, device)? else {
        return Ok(Vec::new());
    };
    let mut statement = conn.prepare_cached(
        "SELECT raw, signature FROM event WHERE log = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq",
    )?;
    let mut rows = statement.query(params![log, int(range.start), int(range.end)])?;
    let mut events = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.next()? {
        let event = event_of(cid, row, 0)?;
        bytes += event.raw().len();
        if bytes > max_bytes && !events.is_empty() {
            break;
        }
        events.push(event);
    }
    Ok(events)
}

pub(super) fn event_ids(
    conn: &Connection,
    cid: &ChannelId,
    device: DeviceId,
    range: &Range<u64>,
) -> Result<Vec<EventId>, Fail> {
    let Some(log) = log_row(conn, cid, device)? else {
        return Ok(Vec::new());
    };
    let end = range.end.min(range.start.saturating_add(MAX_IDS));
    let mut statement = conn.prepare_cached(
        "SELECT id FROM event WHERE log = ?1 AND seq >= ?2 AND seq < ?3 ORDER BY seq",
    )?;
    let ids = statement.query_map(params![log, int(range.start), int(end)], |row| {
        row.get(0).map(EventId)
    })?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(super) fn by_key(
    conn: &Connection,
    cid: &ChannelId,
    key: &str,
) -> Result<Option<EventId>, Fail> {
    let channel = channel_row(conn, cid)?;
    Ok(conn
        .prepare_cached("SELECT event FROM idempotency WHERE channel = ?1 AND key = ?2")?
        .query_row(params![channel, key], |row| row.get(0).map(EventId))
        .optional()?)
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

pub(super) fn page_sql(conversation_only: bool, before: bool) -> String {
    // The literal kind lets SQLite take the index of what was said.
    let said = if conversation_only {
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
        "SELECT {ENTRY_COLUMNS} {ENTRY_TABLES} WHERE event.channel = ?1 {said} {bound}
         ORDER BY event.lamport DESC, event.device DESC, event.seq DESC LIMIT ?2"
    )
}

/// Where an event stands in the channel's order; also one that has left its log since it was shown.
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

pub(super) fn capped(limit: usize) -> i64 {
    int(limit.min(MAX_ENTRIES) as u64)
}

pub(super) fn last_position(conn: &Connection) -> Result<u64, Fail> {
    // The newest that was ever given: the newest event may have left its log.
    let last: Option<i64> = conn
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'event'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(last.unwrap_or(0).unsigned_abs())
}

pub(super) fn forks(conn: &Connection, cid: &ChannelId) -> Result<Vec<(Event, Event)>, Fail> {
    let channel = channel_row(conn, cid)?;
    let mut statement = conn.prepare_cached(
        "SELECT a_raw, a_signature, b_raw, b_signature FROM fork
         WHERE channel = ?1 ORDER BY device",
    )?;
    let mut rows = statement.query([channel])?;
    let mut proofs = Vec::new();
    while let Some(row) = rows.next()? {
        proofs.push((event_of(cid, row, 0)?, event_of(cid, row, 2)?));
    }
    Ok(proofs)
}

pub(super) fn profiles(
    conn: &Connection,
    cid: &ChannelId,
) -> Result<Vec<(IdentityId, Profile)>, Fail> {
    let channel = channel_row(conn, cid)?;
    let mut profiles: BTreeMap<IdentityId, Profile> = BTreeMap::new();
    for kind in PROFILE_KINDS {
        let mut statement = conn.prepare_cached(&latest_sql(kind))?;
        let mut rows = statement.query([channel])?;
        while let Some(row) = rows.next()? {
            let event = event_of(cid, row, 0)?;
            let identity = identity_of(&row.get(2)?)?;
            // Of several devices of one member the latest word counts.
            profiles.entry(identity).or_default().take(&event);
        }
    }
    Ok(profiles.into_iter().collect())
}

fn log_row(conn: &Connection, cid: &ChannelId, device: DeviceId) -> Result<Option<i64>, Fail> {
    let channel = channel_row(conn, cid)?;
    Ok(conn
        .prepare_cached("SELECT id FROM log WHERE channel = ?1 AND device = ?2")?
        .query_row(params![channel, device.as_bytes()], |row| row.get(0))
        .optional()?)
}

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
            kinds::TEXT => references::about(conn, &cid, event.id(), &author)?,
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
