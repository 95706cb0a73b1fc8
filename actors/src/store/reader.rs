//! The reader's thread: each read sees one moment, and none delays a commit.

use bitchat_wire::channel::ChannelId;
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use zeroize::Zeroizing;

use super::{
    api::{ChannelRecord, Delivery, KnownPeer},
    error::{Fail, StoreError},
    row::{channel_row, damaged, device_of, identity_of},
    thread::{Queue, Step},
};

/// Runs reads until the queue is closed and empty.
pub(super) fn run(
    mut conn: Connection,
    queue: &mut Queue<'_, Connection>,
) -> Result<(), StoreError> {
    while let Some(mut job) = queue.next() {
        if job.is_abandoned() {
            continue;
        }
        if let Step::Fatal(error) = job.run(&mut conn) {
            job.finish(Err(error.clone()));
            return Err(error);
        }
        job.finish(Ok(()));
    }
    conn.close().map_err(|(_, error)| error.into())
}

/// Runs `read` in a transaction of its own, so that it sees one moment.
pub(super) fn view<T>(
    conn: &mut Connection,
    read: impl FnOnce(&Connection) -> Result<T, Fail>,
) -> Result<T, Fail> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Deferred)?;
    // Rolled back when dropped: there is nothing to commit.
    read(&tx)
}

pub(super) fn value(conn: &Connection, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Fail> {
    Ok(conn
        .prepare_cached("SELECT bytes FROM value WHERE name = ?1")?
        .query_row([name], |row| row.get(0).map(Zeroizing::new))
        .optional()?)
}

pub(super) fn channels(conn: &Connection) -> Result<Vec<ChannelRecord>, Fail> {
    let mut statement =
        conn.prepare_cached("SELECT cid, file, joined_ms FROM channel ORDER BY joined_ms, id")?;
    let records = statement.query_map([], |row| {
        Ok(ChannelRecord {
            cid: ChannelId(row.get(0)?),
            file: row.get(1)?,
            joined_ms: row.get::<_, i64>(2)?.unsigned_abs(),
        })
    })?;
    Ok(records.collect::<Result<_, _>>()?)
}

pub(super) fn deliveries(conn: &Connection, cid: &ChannelId) -> Result<Vec<Delivery>, Fail> {
    let channel = channel_row(conn, cid)?;
    let mut statement = conn.prepare_cached(
        "SELECT member, identity, author, next FROM delivery
         WHERE channel = ?1 ORDER BY member, author",
    )?;
    let mut rows = statement.query([channel])?;
    let mut marks = Vec::new();
    while let Some(row) = rows.next()? {
        marks.push(Delivery {
            member: device_of(&row.get(0)?)?,
            identity: identity_of(&row.get(1)?)?,
            author: device_of(&row.get(2)?)?,
            next: row.get::<_, i64>(3)?.unsigned_abs(),
        });
    }
    Ok(marks)
}

pub(super) fn known_peers(conn: &Connection, cid: &ChannelId) -> Result<Vec<KnownPeer>, Fail> {
    let channel = channel_row(conn, cid)?;
    let mut statement = conn.prepare_cached(
        "SELECT identity, address, last_ok_ms FROM known_peer
         WHERE channel = ?1 ORDER BY last_ok_ms DESC, id DESC",
    )?;
    let mut rows = statement.query(params![channel])?;
    let mut peers = Vec::new();
    while let Some(row) = rows.next()? {
        let address: String = row.get(1)?;
        peers.push(KnownPeer {
            identity: identity_of(&row.get(0)?)?,
            address: address.parse().map_err(|_| damaged("an address"))?,
            last_ok_ms: row.get::<_, i64>(2)?.unsigned_abs(),
        });
    }
    Ok(peers)
}
