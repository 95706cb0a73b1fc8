//! The writer's thread: many calls a transaction, each under a savepoint of its own.

use std::{collections::HashMap, path::Path};

use bitchat_wire::{
    channel::ChannelId,
    event::EventId,
    identity::{DeviceId, IdentityId},
};
use prometheus_client::metrics::counter::Counter;
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    error::{Fail, StoreError},
    index::Indexes,
    migrate,
    row::{channel_row, identity_of},
    thread::{Job, Queue, Step},
    tx::Tx,
};
use crate::kit::Metrics;

/// A transaction is committed once it has written this many rows, so that its first caller does not wait for ever while
/// others keep the queue filled.
const ROWS: usize = 512;
/// Log heads cached in memory, a few MiB. A larger cache is cleared, and filled again on demand.
const HEADS: usize = 16_384;

/// The writer's metrics.
#[derive(Clone, Default)]
pub(super) struct Counters {
    commits: Counter,
    rows: Counter,
    failures: Counter,
}

impl Counters {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let counters = Self::default();
        metrics.register(|registry| {
            registry.register(
                "store_commits",
                "Transactions committed",
                counters.commits.clone(),
            );
            registry.register("store_rows", "Rows written", counters.rows.clone());
            registry.register(
                "store_failures",
                "Transactions that failed as a whole",
                counters.failures.clone(),
            );
        });
        counters
    }
}

/// The state of a log in the running transaction.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) log: i64,
    pub(super) identity: IdentityId,
    pub(super) next: u64,
    pub(super) head: EventId,
    pub(super) lamport: u64,
    pub(super) closed_at: Option<u64>,
}

/// The context of the writer's jobs.
pub(super) struct Work {
    pub(super) tx: Tx,
    heads: HashMap<(i64, DeviceId), Head>,
    /// Heads that the running job changed, to be dropped if it fails.
    touched: Vec<(i64, DeviceId)>,
    /// Tables of upper rooms that follow the logs.
    pub(super) indexes: Indexes,
    data_version: i64,
    /// A channel was left in the running transaction: its contents are to be erased from the disk.
    pub(super) erase: bool,
    counters: Counters,
}

/// Runs jobs until the queue is closed and empty, then folds the write-ahead log into the database.
pub(super) fn run(
    conn: Connection,
    indexes: Indexes,
    counters: Counters,
    queue: &mut Queue<'_, Work>,
) -> Result<(), StoreError> {
    let mut work = Work {
        tx: Tx::new(conn),
        heads: HashMap::new(),
        touched: Vec::new(),
        indexes,
        data_version: 0,
        erase: false,
        counters,
    };
    while let Some(first) = queue.next() {
        work.batch(first, queue)?;
    }
    // Everything is committed; a write-ahead log that remains is read at the next start.
    work.fold();
    work.tx.conn.close().map_err(|(_, error)| error.into())
}

impl Work {
    /// Runs one transaction: the first job, and more while some are queued and there is room. After an error the connection
    /// must be reopened; the callers have been answered.
    fn batch(
        &mut self,
        first: Box<dyn Job<Self>>,
        queue: &mut Queue<'_, Self>,
    ) -> Result<(), StoreError> {
        let mut jobs = Vec::new();
        let mut fatal = None;
        let end = self.transaction(first, queue, &mut jobs, &mut fatal);
        self.touched.clear();
        self.indexes.undo_all();
        if let Err(error) = &end {
            self.heads.clear();
            self.counters.failures.inc();
            tracing::warn!(%error, calls = jobs.len(), "transaction failed");
            if !self.tx.conn.is_autocommit() {
                let undone = self.tx.conn.execute_batch("ROLLBACK");
                if let Err(error) = undone {
                    fatal.get_or_insert(error.into());
                }
            }
        } else {
            self.counters.commits.inc();
            self.counters.rows.inc_by(self.tx.rows() as u64);
        }
        if std::mem::take(&mut self.erase) && end.is_ok() {
            self.erase_traces();
        }
        for job in jobs {
            job.finish(end.clone());
        }
        fatal.map_or(Ok(()), Err)
    }

    /// Erases what was deleted from all files: the write-ahead log still holds its pages, and copies made before
    /// migrations hold all of it. In the database itself deleted pages are overwritten (`secure_delete`).
    fn erase_traces(&self) {
        self.fold();
        if let Some(path) = self.tx.conn.path()
            && let Err(error) = migrate::remove_copies(Path::new(path))
        {
            tracing::warn!(%error, "cannot remove the copies made before migrations");
        }
    }

    /// Folds the write-ahead log into the database and empties it.
    fn fold(&self) {
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        let busy = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
        match self.tx.conn.query_row(checkpoint, [], busy) {
            Ok(false) => {}
            Ok(true) => tracing::warn!("the write-ahead log is in use and stays"),
            Err(error) => {
                tracing::warn!(%error, "cannot fold the write-ahead log into the database");
            }
        }
    }

    fn transaction(
        &mut self,
        first: Box<dyn Job<Self>>,
        queue: &mut Queue<'_, Self>,
        jobs: &mut Vec<Box<dyn Job<Self>>>,
        fatal: &mut Option<StoreError>,
    ) -> Result<(), StoreError> {
        let mut keep = |result: Result<(), rusqlite::Error>| {
            result.map_err(|error| {
                let fail = Fail::Sqlite(error);
                let is_fatal = fail.is_fatal();
                let error = StoreError::from(fail);
                if is_fatal {
                    *fatal = Some(error.clone());
                }
                error
            })
        };
        jobs.push(first);
        self.tx.reset_rows();
        keep(self.tx.conn.execute_batch("BEGIN IMMEDIATE"))?;
        keep(self.check_cache())?;
        let mut last = 0;
        loop {
            keep(self.statement("SAVEPOINT call"))?;
            self.touched.clear();
            let marks = self.indexes.marks();
            // The job stays in `jobs`, so that only a panic leaves its caller without an answer.
            let Some(job) = jobs.get_mut(last) else { break };
            match job.run(self) {
                Step::Done => {}
                // A full disk may have ended the whole transaction, and not only the statement.
                Step::Failed if !self.tx.conn.is_autocommit() => {
                    keep(self.statement("ROLLBACK TO call"))?;
                    for key in self.touched.drain(..) {
                        self.heads.remove(&key);
                    }
                    self.indexes.undo(&marks);
                }
                Step::Failed => return Err(StoreError::DiskFull),
                Step::Fatal(error) => {
                    *fatal = Some(error.clone());
                    return Err(error);
                }
            }
            keep(self.statement("RELEASE call"))?;
            if self.tx.rows() >= ROWS {
                break;
            }
            let Some(job) = queue.try_next() else { break };
            jobs.push(job);
            last += 1;
        }
        if let Err(fail) = self.indexes.before_commit(&self.tx) {
            if fail.is_fatal() {
                *fatal = Some(fail.into());
                return fatal.clone().map_or(Ok(()), Err);
            }
            return Err(fail.into());
        }
        keep(self.statement("COMMIT"))
    }

    fn statement(&self, sql: &str) -> rusqlite::Result<()> {
        self.tx.conn.prepare_cached(sql)?.execute([]).map(drop)
    }

    /// Clears the cache if another connection wrote to the database: a former life of this thread that was slow to end, or a
    /// tool.
    fn check_cache(&mut self) -> rusqlite::Result<()> {
        let version: i64 = self
            .tx
            .conn
            .prepare_cached("PRAGMA data_version")?
            .query_row([], |row| row.get(0))?;
        if version != self.data_version || self.heads.len() > HEADS {
            self.heads.clear();
            self.data_version = version;
        }
        Ok(())
    }

    /// The row number of a channel.
    pub(super) fn channel(&self, cid: &ChannelId) -> Result<i64, Fail> {
        channel_row(&self.tx.conn, cid)
    }

    /// The head of a device's log, from the cache or the database; `None` if there is no such log.
    pub(super) fn head(&mut self, channel: i64, device: DeviceId) -> Result<Option<Head>, Fail> {
        if let Some(head) = self.heads.get(&(channel, device)) {
            return Ok(Some(head.clone()));
        }
        let found = self
            .tx
            .conn
            .prepare_cached(
                "SELECT log.id, identity, next, head, lamport, fork.seq FROM log
                 LEFT JOIN fork ON fork.channel = log.channel AND fork.device = log.device
                 WHERE log.channel = ?1 AND log.device = ?2",
            )?
            .query_row(params![channel, device.as_bytes()], |row| {
                let identity: [u8; 32] = row.get(1)?;
                let head = (
                    row.get(0)?,
                    row.get::<_, i64>(2)?,
                    EventId(row.get(3)?),
                    row.get::<_, i64>(4)?,
                    row.get::<_, Option<i64>>(5)?,
                );
                Ok((identity, head))
            })
            .optional()?;
        let Some((identity, (log, next, head, lamport, closed_at))) = found else {
            return Ok(None);
        };
        let head = Head {
            log,
            identity: identity_of(&identity)?,
            next: next.unsigned_abs(),
            head,
            lamport: lamport.unsigned_abs(),
            closed_at: closed_at.map(i64::unsigned_abs),
        };
        self.heads.insert((channel, device), head.clone());
        Ok(Some(head))
    }

    /// Caches a log's new head for the jobs that follow.
    pub(super) fn set_head(&mut self, channel: i64, device: DeviceId, head: Head) {
        self.forget_if_failed(channel, device);
        self.heads.insert((channel, device), head);
    }

    /// Drops a log's head from the cache.
    pub(super) fn forget_head(&mut self, channel: i64, device: DeviceId) {
        self.forget_if_failed(channel, device);
        self.heads.remove(&(channel, device));
    }

    /// Drops a channel's heads from the cache.
    pub(super) fn forget_channel(&mut self, channel: i64) {
        self.heads.retain(|(of, _), _| *of != channel);
    }

    fn forget_if_failed(&mut self, channel: i64, device: DeviceId) {
        self.touched.push((channel, device));
    }
}
