//! Events about texts. Of all events of one kind about a text, only the latest of each identity counts.

use bitchat_wire::{channel::ChannelId, event::EventId, identity::IdentityId};
use rusqlite::{Connection, params};

use super::{
    api::Reference,
    kinds::{DELETE, EDIT, REACT},
    words::Unindexed,
};
use crate::store::{
    Fail,
    index::Inserted,
    row::{event_of, identity_of, int},
    tx::Tx,
};

/// Records an inserted event whose target is `target`, if it is the latest of its kind and identity.
pub(super) fn add(
    tx: &Tx,
    unindexed: &mut Unindexed,
    event: &Inserted<'_>,
    target: EventId,
) -> Result<(), Fail> {
    let &Inserted {
        channel,
        position,
        kind,
        new,
        ..
    } = event;
    let header = new.event.header();
    let counts = tx
        .conn()
        .prepare_cached(
            "INSERT INTO reference
                 (channel, target, kind, identity, position, lamport, device, seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
             ON CONFLICT DO UPDATE SET position = excluded.position, lamport = excluded.lamport,
                 device = excluded.device, seq = excluded.seq
             WHERE (excluded.lamport, excluded.device, excluded.seq) > (lamport, device, seq)",
        )?
        .execute(params![
            channel,
            target.0,
            kind,
            new.identity.as_bytes(),
            int(position),
            int(header.lamport),
            header.device.as_bytes(),
            int(header.seq),
        ])?;
    tx.wrote(counts);
    if counts > 0 && kind != REACT {
        unindexed.changed(channel, target);
    }
    Ok(())
}

/// Finds the latest event of an identity, kind and target again, after some of them were removed.
pub(super) fn recompute(
    tx: &Tx,
    unindexed: &mut Unindexed,
    channel: i64,
    identity: &IdentityId,
    target: [u8; 32],
    kind: i64,
) -> Result<(), Fail> {
    tx.conn()
        .prepare_cached(
            "DELETE FROM reference
             WHERE channel = ?1 AND target = ?2 AND kind = ?3 AND identity = ?4",
        )?
        .execute(params![channel, target, kind, identity.as_bytes()])?;
    tx.conn()
        .prepare_cached(
            "INSERT INTO reference
                 (channel, target, kind, identity, position, lamport, device, seq)
             SELECT event.channel, target, kind, identity, position, event.lamport, event.device, seq
             FROM event CROSS JOIN log ON log.id = event.log
             WHERE event.channel = ?1 AND target = ?2 AND kind = ?3 AND identity = ?4
             ORDER BY event.lamport DESC, event.device DESC, seq DESC LIMIT 1",
        )?
        .execute(params![channel, target, kind, identity.as_bytes()])?;
    tx.wrote(2);
    unindexed.changed(channel, EventId(target));
    Ok(())
}

/// What counts about a text of `author`: at most one edit and one deletion by the author, and the reactions of each
/// identity.
pub(super) fn of_text(
    conn: &Connection,
    cid: &ChannelId,
    target: EventId,
    author: &IdentityId,
) -> Result<Vec<Reference>, Fail> {
    let mut found = Vec::new();
    let own = [(EDIT, Some(author)), (DELETE, Some(author))];
    for (kind, by) in own.into_iter().chain([(REACT, None)]) {
        let mut statement = conn.prepare_cached(if by.is_some() { OWN } else { ALL })?;
        let mut rows = match by {
            Some(by) => statement.query(params![cid.0, target.0, kind, by.as_bytes()])?,
            None => statement.query(params![cid.0, target.0, kind])?,
        };
        while let Some(row) = rows.next()? {
            found.push(Reference {
                event: event_of(cid, row, 0)?,
                author: identity_of(&row.get(2)?)?,
            });
        }
    }
    Ok(found)
}

/// The latest event of a kind about a target, by one identity.
pub(super) const OWN: &str = "SELECT raw, signature, reference.identity
     FROM channel CROSS JOIN reference ON reference.channel = channel.id
         CROSS JOIN event ON event.position = reference.position
     WHERE cid = ?1 AND reference.target = ?2 AND reference.kind = ?3 AND reference.identity = ?4";

/// The latest event of a kind about a target, by each identity.
pub(super) const ALL: &str = "SELECT raw, signature, reference.identity
     FROM channel CROSS JOIN reference ON reference.channel = channel.id
         CROSS JOIN event ON event.position = reference.position
     WHERE cid = ?1 AND reference.target = ?2 AND reference.kind = ?3";
