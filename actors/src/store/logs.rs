//! Writing logs: appending events, and closing a log that forked.

use bitchat_wire::{
    channel::ChannelId,
    event::{Body, Event, EventId},
    identity::DeviceId,
};
use rusqlite::{OptionalExtension, params};

use super::{
    api::NewEvent,
    error::{Fail, StoreError},
    index::{self, Inserted, Removed},
    row::int,
    writer::{Head, Work},
};

/// The longest idempotency key, in bytes.
const MAX_KEY: usize = 256;

/// Appends events, each to the log of its device.
pub(super) fn append(
    work: &mut Work,
    cid: &ChannelId,
    events: &[NewEvent],
) -> Result<Vec<u64>, Fail> {
    let channel = work.channel(cid)?;
    let mut positions = Vec::with_capacity(events.len());
    let mut changed: Vec<(DeviceId, Head)> = Vec::new();
    for new in events {
        if let Some(key) = &new.key {
            take_key(work, channel, key, new.event.id())?;
        }
        let device = new.event.header().device;
        // A call is about one log, or a few at most.
        let at = match changed.iter().position(|(of, _)| *of == device) {
            Some(at) => at,
            None => {
                let head = match work.head(channel, device)? {
                    Some(head) => head,
                    None => new_log(work, channel, new)?,
                };
                changed.push((device, head));
                changed.len() - 1
            }
        };
        let head = &mut changed[at].1;
        check(head, new)?;
        positions.push(insert(work, channel, head.log, new)?);
        let header = new.event.header();
        head.next = header.seq + 1;
        head.head = new.event.id();
        head.lamport = header.lamport;
    }
    for (device, head) in changed {
        write_head(work, &head)?;
        work.set_head(channel, device, head);
    }
    Ok(positions)
}

/// Checks that an event continues its log.
fn check(head: &Head, new: &NewEvent) -> Result<(), Fail> {
    let header = new.event.header();
    if let Some(at) = head.closed_at.filter(|at| header.seq >= *at) {
        return Err(StoreError::Closed { at }.into());
    }
    if new.identity != head.identity {
        return Err(StoreError::Invalid("the event's log is of another identity").into());
    }
    // The head of an empty log is zeros, as the first event names it.
    let first = head.next == 0;
    let follows = header.seq == head.next
        && header.prev == head.head
        && (first || header.lamport > head.lamport);
    if !follows {
        return Err(StoreError::Gap { seq: header.seq }.into());
    }
    Ok(())
}

/// Inserts the row of a log, made from the certificate in its first event.
fn new_log(work: &mut Work, channel: i64, new: &NewEvent) -> Result<Head, Fail> {
    let header = new.event.header();
    let closed_at = fork_of(work, channel, header.device)?;
    if let Some(at) = closed_at.filter(|at| header.seq >= *at) {
        return Err(StoreError::Closed { at }.into());
    }
    if header.seq > 0 {
        return Err(StoreError::Gap { seq: header.seq }.into());
    }
    let certificate = new.event.certificate().ok_or(StoreError::Invalid(
        "the first event of a log holds no certificate",
    ))?;
    work.tx
        .conn
        .prepare_cached(
            "INSERT INTO log (channel, device, identity, created, certificate, head)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            channel,
            header.device.as_bytes(),
            certificate.identity.as_bytes(),
            // Any 64 bits, kept as they are.
            certificate.created.cast_signed(),
            certificate.signature,
            EventId::ZERO.0,
        ])?;
    work.tx.wrote(1);
    Ok(Head {
        log: work.tx.conn.last_insert_rowid(),
        identity: certificate.identity,
        next: 0,
        head: EventId::ZERO,
        lamport: 0,
        closed_at,
    })
}

fn fork_of(work: &Work, channel: i64, device: DeviceId) -> Result<Option<u64>, Fail> {
    let seq: Option<i64> = work
        .tx
        .conn
        .prepare_cached("SELECT seq FROM fork WHERE channel = ?1 AND device = ?2")?
        .query_row(params![channel, device.as_bytes()], |row| row.get(0))
        .optional()?;
    Ok(seq.map(i64::unsigned_abs))
}

fn insert(work: &mut Work, channel: i64, log: i64, new: &NewEvent) -> Result<u64, Fail> {
    let header = new.event.header();
    let body = Body::of(&new.event);
    let (kind, target) = (index::kind(&body), body.target());
    work.tx
        .conn
        .prepare_cached(
            "INSERT INTO event
                 (channel, log, seq, device, lamport, kind, arrival_ms, id, raw, signature, target)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            channel,
            log,
            int(header.seq),
            header.device.as_bytes(),
            int(header.lamport),
            kind,
            int(new.arrival_ms),
            new.event.id().0,
            &new.event.raw()[..],
            new.event.signature(),
            target.map(|target| target.0),
        ])?;
    work.tx.wrote(1);
    let position = work.tx.conn.last_insert_rowid().unsigned_abs();
    let inserted = Inserted {
        channel,
        position,
        kind,
        target,
        new,
    };
    work.indexes.inserted(&work.tx, &inserted)?;
    Ok(position)
}

fn take_key(work: &mut Work, channel: i64, key: &str, id: EventId) -> Result<(), Fail> {
    if key.len() > MAX_KEY {
        return Err(StoreError::Invalid("an idempotency key has at most 256 bytes").into());
    }
    let made: Option<[u8; 32]> = work
        .tx
        .conn
        .prepare_cached("SELECT event FROM idempotency WHERE channel = ?1 AND key = ?2")?
        .query_row(params![channel, key], |row| row.get(0))
        .optional()?;
    if let Some(made) = made {
        return Err(StoreError::KeyUsed(EventId(made)).into());
    }
    work.tx
        .conn
        .prepare_cached("INSERT INTO idempotency (channel, key, event) VALUES (?1, ?2, ?3)")?
        .execute(params![channel, key, id.0])?;
    work.tx.wrote(1);
    Ok(())
}

fn write_head(work: &mut Work, head: &Head) -> Result<(), Fail> {
    work.tx
        .conn
        .prepare_cached("UPDATE log SET next = ?2, head = ?3, lamport = ?4 WHERE id = ?1")?
        .execute(params![
            head.log,
            int(head.next),
            head.head.0,
            int(head.lamport)
        ])?;
    work.tx.wrote(1);
    Ok(())
}

/// Stores a proof of a fork and closes the log there. Does nothing if a proof with the same or a lower number is known.
pub(super) fn close(work: &mut Work, cid: &ChannelId, a: &Event, b: &Event) -> Result<(), Fail> {
    if !a.forks(b) {
        return Err(StoreError::Invalid("the two events prove no fork").into());
    }
    let channel = work.channel(cid)?;
    let device = a.header().device;
    let seq = a.header().seq;
    if fork_of(work, channel, device)?.is_some_and(|known| known <= seq) {
        return Ok(());
    }
    // A head that is cached from here on includes the fork, and must be dropped if this call fails.
    work.forget_head(channel, device);
    // In one order, so that all members store the same proof.
    let (a, b) = if a.id() < b.id() { (a, b) } else { (b, a) };
    work.tx
        .conn
        .prepare_cached(
            "INSERT OR REPLACE INTO fork
                 (channel, device, seq, a_raw, a_signature, b_raw, b_signature)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            channel,
            device.as_bytes(),
            int(seq),
            &a.raw()[..],
            a.signature(),
            &b.raw()[..],
            b.signature(),
        ])?;
    work.tx.wrote(1);
    if let Some(mut head) = work.head(channel, device)?
        && head.next > seq
    {
        let targets = targets_of(work, head.log, seq)?;
        let moved = move_to_evidence(work, head.log, seq)?;
        work.tx.wrote(moved);
        let removed = Removed {
            channel,
            identity: &head.identity,
            targets: &targets,
        };
        work.indexes.removed(&work.tx, &removed)?;
        (head.head, head.lamport) = last_before(work, head.log, seq)?;
        head.next = seq;
        write_head(work, &head)?;
    }
    work.forget_head(channel, device);
    Ok(())
}

/// The targets of the events of a log from `seq` on, with the kinds of the events.
fn targets_of(work: &Work, log: i64, seq: u64) -> Result<Vec<([u8; 32], i64)>, Fail> {
    let mut statement = work.tx.conn.prepare_cached(
        "SELECT DISTINCT target, kind FROM event
         WHERE log = ?1 AND seq >= ?2 AND target IS NOT NULL",
    )?;
    let rows = statement.query_map(params![log, int(seq)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Moves the events of a log from `seq` on to the evidence.
fn move_to_evidence(work: &Work, log: i64, seq: u64) -> Result<usize, Fail> {
    work.tx
        .conn
        .prepare_cached(
            "INSERT INTO evidence
                 (position, channel, device, seq, lamport, arrival_ms, id, raw, signature)
             SELECT position, channel, device, seq, lamport, arrival_ms, id, raw, signature
             FROM event WHERE log = ?1 AND seq >= ?2",
        )?
        .execute(params![log, int(seq)])?;
    Ok(work
        .tx
        .conn
        .prepare_cached("DELETE FROM event WHERE log = ?1 AND seq >= ?2")?
        .execute(params![log, int(seq)])?)
}

/// The id and Lamport time of the event before `seq`; zeros if there is none.
fn last_before(work: &Work, log: i64, seq: u64) -> Result<(EventId, u64), Fail> {
    let Some(before) = seq.checked_sub(1) else {
        return Ok((EventId::ZERO, 0));
    };
    let (id, lamport): ([u8; 32], i64) = work
        .tx
        .conn
        .prepare_cached("SELECT id, lamport FROM event WHERE log = ?1 AND seq = ?2")?
        .query_row(params![log, int(before)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok((EventId(id), lamport.unsigned_abs()))
}
