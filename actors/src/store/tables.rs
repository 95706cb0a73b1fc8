//! Writing everything but the logs: values, channels, delivery marks, addresses.

use bitchat_wire::channel::ChannelId;
use rusqlite::{Connection, params};

use super::{
    api::{ChannelRecord, Delivery, KnownPeer},
    error::{Fail, StoreError},
    row::int,
    writer::Work,
};

/// Addresses kept for one member of a channel.
const PEERS_A_MEMBER: i64 = 8;
/// Addresses kept for one channel.
const PEERS_A_CHANNEL: i64 = 1_024;

pub(super) fn set_value(work: &mut Work, name: &str, bytes: &[u8]) -> Result<(), Fail> {
    work.tx
        .conn
        .prepare_cached(
            "INSERT INTO value (name, bytes) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET bytes = excluded.bytes",
        )?
        .execute(params![name, bytes])?;
    work.tx.wrote(1);
    Ok(())
}

pub(super) fn put_channel(work: &mut Work, channel: &ChannelRecord) -> Result<(), Fail> {
    // The time of the first joining stays.
    work.tx
        .conn
        .prepare_cached(
            "INSERT INTO channel (cid, file, joined_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET file = excluded.file",
        )?
        .execute(params![channel.cid.0, channel.file, int(channel.joined_ms)])?;
    work.tx.wrote(1);
    Ok(())
}

pub(super) fn remove_channel(work: &mut Work, cid: &ChannelId) -> Result<(), Fail> {
    let channel = work.channel(cid)?;
    // Everything that refers to the row is deleted with it.
    work.tx
        .conn
        .prepare_cached("DELETE FROM channel WHERE id = ?1")?
        .execute([channel])?;
    // SQLite may use the row number again.
    work.forget_channel(channel);
    work.tx.wrote(1);
    Ok(())
}

pub(super) fn set_deliveries(
    work: &mut Work,
    cid: &ChannelId,
    marks: &[Delivery],
) -> Result<(), Fail> {
    let channel = work.channel(cid)?;
    for mark in marks {
        let written = work
            .tx
            .conn
            .prepare_cached(
                "INSERT INTO delivery (channel, member, author, identity, next)
                 VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET next = excluded.next, identity = excluded.identity
                 WHERE excluded.next > next",
            )?
            .execute(params![
                channel,
                mark.member.as_bytes(),
                mark.author.as_bytes(),
                mark.identity.as_bytes(),
                int(mark.next),
            ])?;
        work.tx.wrote(written);
    }
    Ok(())
}

pub(super) fn remember_peer(
    work: &mut Work,
    cid: &ChannelId,
    peer: &KnownPeer,
) -> Result<(), Fail> {
    if peer.address.port() == 0 {
        return Err(StoreError::Invalid(
            "port 0 is not an address at which a member can be reached",
        )
        .into());
    }
    let channel = work.channel(cid)?;
    work.tx
        .conn
        .prepare_cached(
            "INSERT INTO known_peer (channel, identity, address, last_ok_ms)
             VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET last_ok_ms = max(last_ok_ms, excluded.last_ok_ms)",
        )?
        .execute(params![
            channel,
            peer.identity.as_bytes(),
            peer.address.to_string(),
            int(peer.last_ok_ms),
        ])?;
    work.tx.wrote(1);
    forget_old_peers(&work.tx.conn, channel, peer)?;
    Ok(())
}

fn forget_old_peers(conn: &Connection, channel: i64, peer: &KnownPeer) -> Result<(), Fail> {
    conn.prepare_cached(
        "DELETE FROM known_peer WHERE id IN (
             SELECT id FROM known_peer WHERE channel = ?1 AND identity = ?2
             ORDER BY last_ok_ms DESC, id DESC LIMIT -1 OFFSET ?3)",
    )?
    .execute(params![channel, peer.identity.as_bytes(), PEERS_A_MEMBER])?;
    conn.prepare_cached(
        "DELETE FROM known_peer WHERE id IN (
             SELECT id FROM known_peer WHERE channel = ?1
             ORDER BY last_ok_ms DESC, id DESC LIMIT -1 OFFSET ?2)",
    )?
    .execute(params![channel, PEERS_A_CHANNEL])?;
    Ok(())
}
