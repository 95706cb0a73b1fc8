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

/// Joins a channel. `fresh` becomes its device key if it was left before, which `tag` tells. Returns whether the
/// channel is new here; one that was joined already keeps everything but its file.
pub(super) fn join(
    work: &mut Work,
    channel: &ChannelRecord,
    tag: [u8; 32],
    fresh: &DeviceRecord,
) -> Result<bool, Fail> {
    let known = work
        .tx
        .conn
        .prepare_cached("SELECT 1 FROM channel WHERE cid = ?1")?
        .exists([channel.cid.0])?;
    tables::put_channel(work, channel)?;
    if known {
        return Ok(false);
    }
    let was_left = work
        .tx
        .conn
        .prepare_cached("SELECT 1 FROM left_channel WHERE tag = ?1")?
        .exists([tag])?;
    if was_left {
        put_device(work, &channel.cid, fresh)?;
    }
    Ok(true)
}

/// Leaves a channel: forgets everything but that its numbering is lost.
pub(super) fn leave(work: &mut Work, cid: &ChannelId, tag: [u8; 32]) -> Result<(), Fail> {
    tables::remove_channel(work, cid)?;
    work.indexes.left(&work.tx)?;
    work.erase = true;
    work.tx
        .conn
        .prepare_cached("INSERT OR IGNORE INTO left_channel (tag) VALUES (?1)")?
        .execute([tag])?;
    work.tx.wrote(1);
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
            "INSERT OR REPLACE INTO channel_device (channel, seed, created) VALUES (?1, ?2, ?3)",
        )?
        .execute(params![channel, *device.seed, int(device.created)])?;
    work.tx.wrote(1);
    Ok(())
}

/// The device key of a channel's own, if it has one.
pub(super) fn device(conn: &Connection, cid: &ChannelId) -> Result<Option<DeviceRecord>, Fail> {
    Ok(conn
        .prepare_cached(
            "SELECT seed, created FROM channel_device JOIN channel ON channel.id = channel
             WHERE cid = ?1",
        )?
        .query_row([cid.0], |row| {
            Ok(DeviceRecord {
                seed: Zeroizing::new(row.get(0)?),
                created: row.get::<_, i64>(1)?.unsigned_abs(),
            })
        })
        .optional()?)
}
