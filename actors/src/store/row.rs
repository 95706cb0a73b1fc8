//! Values in rows, for the tables of all rooms.

use bitchat_wire::{
    channel::ChannelId,
    event::Event,
    identity::{DeviceId, IdentityId},
};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};

use super::error::{Fail, StoreError};

/// The row number of a channel.
pub(crate) fn channel_row(conn: &Connection, cid: &ChannelId) -> Result<i64, Fail> {
    conn.prepare_cached("SELECT id FROM channel WHERE cid = ?1")?
        .query_row([&cid.0], |row| row.get(0))
        .optional()?
        .ok_or(Fail::Refused(StoreError::NoChannel))
}

/// Converts to SQLite's signed integers. Stored numbers and times never exceed them; a larger bound of a query means "no
/// bound".
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Reads an identity.
pub(crate) fn identity_of(bytes: &[u8; 32]) -> Result<IdentityId, Fail> {
    IdentityId::from_bytes(bytes).map_err(|_| damaged("an identity"))
}

/// Reads a device.
pub(crate) fn device_of(bytes: &[u8; 32]) -> Result<DeviceId, Fail> {
    DeviceId::from_bytes(bytes).map_err(|_| damaged("a device"))
}

/// The error of a value that cannot be read back.
pub(crate) fn damaged(what: &str) -> Fail {
    Fail::Refused(StoreError::Corrupt(format!("{what} is not readable")))
}

/// The event whose bytes and signature are in the columns `at` and `at + 1`.
pub(crate) fn event_of(cid: &ChannelId, row: &Row<'_>, at: usize) -> Result<Event, Fail> {
    let raw = Bytes::from(row.get::<_, Vec<u8>>(at)?);
    let signature: [u8; 64] = row.get(at + 1)?;
    Event::from_store(cid, raw, &signature).map_err(|_| damaged("an event"))
}
