//! The search index: the words of texts as they are shown now (`docs/PROTOCOL.md`, 9.3).
//!
//! It is brought up to date once a transaction, right before its commit, not with every call: SQLite
//! writes out what a full-text table has gathered whenever a savepoint is made, and each call has one.

use std::collections::BTreeMap;

use bitchat_wire::event::EventId;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    error::Fail,
    kinds::{self, DELETE, EDIT, TEXT},
    row::event_of,
};

/// Texts whose words may have changed in the running transaction.
#[derive(Default)]
pub(super) struct Unindexed(Vec<Change>);

struct Change {
    channel: i64,
    text: EventId,
    /// The text itself came in this transaction, so no words of it can be in the index.
    new: bool,
}

impl Unindexed {
    /// A text was inserted.
    pub(super) fn said(&mut self, channel: i64, text: EventId) {
        self.0.push(Change {
            channel,
            text,
            new: true,
        });
    }

    /// An edit or a deletion of it came or went.
    pub(super) fn changed(&mut self, channel: i64, text: EventId) {
        self.0.push(Change {
            channel,
            text,
            new: false,
        });
    }

    /// How many there are: what [`Unindexed::undo`] goes back to.
    pub(super) fn mark(&self) -> usize {
        self.0.len()
    }

    /// Forgets what came after the mark.
    pub(super) fn undo(&mut self, mark: usize) {
        self.0.truncate(mark);
    }

    /// Brings the index up to date.
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
            let cid = bitchat_wire::channel::ChannelId(row.get(2)?);
            Ok((position, author, cid, event_of(&cid, row, 3)))
        })
        .optional()?;
    // What the change is about may not be here, or be no text.
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
    if let Some(words) = kinds::words(&shown) {
        conn.prepare_cached("INSERT INTO said (rowid, text) VALUES (?1, ?2)")?
            .execute(params![position, words])?;
    }
    Ok(())
}
