//! The search index: the words of texts as they are shown now (`docs/PROTOCOL.md`, 9.3).
//!
//! It is updated once a transaction, right before the commit, and not with each call: SQLite writes out what a full-text table
//! has buffered whenever a savepoint is made, and each call has one.

use std::collections::BTreeMap;

use bitchat_wire::{channel::ChannelId, event::EventId};
use rusqlite::{Connection, OptionalExtension, params};

use super::kinds::{DELETE, EDIT, TEXT, text_of};
use crate::store::{Fail, row::event_of};

/// Texts that may be shown differently after the running transaction.
#[derive(Default)]
pub(super) struct Unindexed(Vec<Change>);

struct Change {
    channel: i64,
    text: EventId,
    /// The text was inserted in this transaction, so it cannot be in the index yet.
    new: bool,
}

impl Unindexed {
    /// Queues a text that was inserted.
    pub(super) fn inserted(&mut self, channel: i64, text: EventId) {
        self.0.push(Change {
            channel,
            text,
            new: true,
        });
    }

    /// Queues a text of which an edit or deletion was inserted or removed.
    pub(super) fn changed(&mut self, channel: i64, text: EventId) {
        self.0.push(Change {
            channel,
            text,
            new: false,
        });
    }

    /// The length of the queue, for [`Unindexed::undo`].
    pub(super) fn mark(&self) -> usize {
        self.0.len()
    }

    /// Drops what was queued after the mark.
    pub(super) fn undo(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    /// Brings the index up to date, and empties the queue.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<(), Fail> {
        let mut texts: BTreeMap<(i64, [u8; 32]), bool> = BTreeMap::new();
        for change in self.0.drain(..) {
            *texts
                .entry((change.channel, change.text.0))
                .or_insert(false) |= change.new;
        }
        for ((channel, text), new) in texts {
            index(conn, channel, EventId(text), new)?;
        }
        Ok(())
    }
}

/// Rewrites the index without the words of deleted texts. A deletion alone only marks them: FTS5 drops them when it
/// merges, which may be never.
pub(super) fn forget_deleted(conn: &Connection) -> Result<(), Fail> {
    // The first one may only finish a merge that is under way, whose output can hold such words.
    for _ in 0..2 {
        conn.prepare_cached("INSERT INTO said (said) VALUES ('optimize')")?
            .execute([])?;
    }
    Ok(())
}

/// Indexes a text as it is shown now, or not at all if it was deleted.
fn index(conn: &Connection, channel: i64, text: EventId, new: bool) -> Result<(), Fail> {
    let found = conn
        .prepare_cached(
            "SELECT event.position, log.identity, cid, event.raw, event.signature
             FROM event CROSS JOIN log ON log.id = event.log
                 CROSS JOIN channel ON channel.id = event.channel
             WHERE event.id = ?1 AND event.channel = ?2 AND event.kind = ?3",
        )?
        .query_row(params![text.0, channel, TEXT], |row| {
            let (position, author): (i64, [u8; 32]) = (row.get(0)?, row.get(1)?);
            let cid = ChannelId(row.get(2)?);
            Ok((position, author, cid, event_of(&cid, row, 3)))
        })
        .optional()?;
    // The target of an edit or deletion may not have arrived yet, or not be a text.
    let Some((position, author, cid, event)) = found else {
        return Ok(());
    };
    if !new {
        conn.prepare_cached("DELETE FROM said WHERE rowid = ?1")?
            .execute([position])?;
    }
    let latest = |kind: i64| {
        conn.prepare_cached(
            "SELECT raw, signature FROM reference CROSS JOIN event
                 ON event.position = reference.position
             WHERE reference.channel = ?1 AND reference.target = ?2 AND reference.kind = ?3
                 AND reference.identity = ?4",
        )?
        .query_row(params![channel, text.0, kind, author], |row| {
            Ok(event_of(&cid, row, 0))
        })
        .optional()
    };
    if latest(DELETE)?.is_some() {
        return Ok(());
    }
    let shown = latest(EDIT)?.unwrap_or(event)?;
    if let Some(text) = text_of(&shown) {
        conn.prepare_cached("INSERT INTO said (rowid, text) VALUES (?1, ?2)")?
            .execute(params![position, text])?;
    }
    Ok(())
}
