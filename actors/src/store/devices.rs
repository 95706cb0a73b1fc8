//! Device keys of channels that were joined again (`migrations/0003_device.sql`).

use bitchat_wire::channel::ChannelId;
use rusqlite::{Connection, OptionalExtension, params};
use zeroize::Zeroizing;

use super::{
    api::{ChannelRecord, DeviceRecord},
    error::Fail,
    row::int,
    tables,
    writer::Work,
};

/// The value that is not empty while contents of left channels may still be in some file.
pub(super) const ERASE_PENDING: &str = "erase_pending";

/// Joins a channel. `fresh` becomes its device key if it was left before, which `tag` tells. One that was joined
/// already keeps everything but its file.
pub(super) fn join(
    work: &mut Work,
    channel: &ChannelRecord,
    tag: [u8; 32],
    fresh: &DeviceRecord,
) -> Result<(), Fail> {
    let known = work
        .tx
        .conn
        .prepare_cached("SELECT 1 FROM channel WHERE cid = ?1")?
        .exists([channel.cid.0])?;
    tables::put_channel(work, channel)?;
    if known {
        return Ok(());
    }
    let left: Option<i64> = work
        .tx
        .conn
        .prepare_cached("SELECT lamport FROM left_channel WHERE tag = ?1")?
        .query_row([tag], |row| row.get(0))
        .optional()?;
    if let Some(lamport) = left {
        let lamport = lamport.unsigned_abs();
        let device = DeviceRecord {
            lamport,
            ..fresh.clone()
        };
        put_device(work, &channel.cid, &device)?;
    }
    Ok(())
}

/// Leaves a channel: forgets everything but that its numbering is lost, and its clock. Its contents are erased by
/// [`erase`], which is pending from now on.
pub(super) fn leave(work: &mut Work, cid: &ChannelId, tag: [u8; 32]) -> Result<(), Fail> {
    let channel = work.channel(cid)?;
    work.tx
        .conn
        .prepare_cached(
            "INSERT INTO left_channel (tag, lamport)
                 SELECT ?1, coalesce(max(lamport), 0) FROM log WHERE channel = ?2
             ON CONFLICT DO UPDATE SET lamport = max(lamport, excluded.lamport)",
        )?
        .execute(params![tag, channel])?;
    tables::set_value(work, ERASE_PENDING, b"1")?;
    tables::remove_channel(work, cid)
}

/// Erases what deleted channels leave in the indexes, and after the commit in the other files. It stays pending: until
/// the commit has returned, nothing is done.
pub(super) fn erase(work: &mut Work) -> Result<(), Fail> {
    work.indexes.left(&work.tx)?;
    work.erase = true;
    Ok(())
}

/// Gives a channel a device key of its own, in place of any earlier one.
pub(super) fn put_device(
    work: &mut Work,
    cid: &ChannelId,
    device: &DeviceRecord,
) -> Result<(), Fail> {
    let channel = work.channel(cid)?;
    work.tx
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO channel_device (channel, seed, created, lamport)
             VALUES (?1, ?2, ?3, ?4)",
        )?
        .execute(params![
            channel,
            *device.seed,
            device.created.to_be_bytes(),
            int(device.lamport)
        ])?;
    work.tx.wrote(1);
    Ok(())
}

/// The device key of a channel's own, if it has one.
pub(super) fn device(conn: &Connection, cid: &ChannelId) -> Result<Option<DeviceRecord>, Fail> {
    Ok(conn
        .prepare_cached(
            "SELECT seed, created, lamport FROM channel_device JOIN channel ON channel.id = channel
             WHERE cid = ?1",
        )?
        .query_row([cid.0], |row| {
            Ok(DeviceRecord {
                seed: Zeroizing::new(row.get(0)?),
                created: u64::from_be_bytes(row.get(1)?),
                lamport: row.get::<_, i64>(2)?.unsigned_abs(),
            })
        })
        .optional()?)
}
