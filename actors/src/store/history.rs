//! Reading logs.

use std::ops::Range;

use bitchat_wire::{
    channel::ChannelId,
    event::{Event, EventId},
    identity::{Certificate, DeviceId},
};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    api::LogHead,
    error::{Fail, StoreError},
    row::{channel_row, device_of, event_of, identity_of, int},
};

/// The fewest hexadecimal digits by which an event is found.
const MIN_PREFIX: usize = 6;
/// The most ids in one answer: as many as one message on a link carries.
const MAX_IDS: u64 = 256;

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

/// The events of a channel whose id begins with `prefix`; at most two, which is enough to tell one from several.
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

/// The first and the last id with this beginning; `None` if it is not 6 to 64 hexadecimal digits.
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

pub(super) fn last_position(conn: &Connection) -> Result<u64, Fail> {
    // Not the newest event's position: that event may have left its log.
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

fn log_row(conn: &Connection, cid: &ChannelId, device: DeviceId) -> Result<Option<i64>, Fail> {
    let channel = channel_row(conn, cid)?;
    Ok(conn
        .prepare_cached("SELECT id FROM log WHERE channel = ?1 AND device = ?2")?
        .query_row(params![channel, device.as_bytes()], |row| row.get(0))
        .optional()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

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
