//! The store: SQLite behind one writer thread and one read-only connection. An engine: it keeps logs of events and knows
//! nothing of what they mean to people.
//!
//! **Owns** the profile's database: values of the node, channels, logs of events, delivery marks, proofs of forks,
//! remembered addresses. The migrations that shape it are in `migrations/`. Rooms above keep tables of their own in the
//! same database: an index, handed over at the start, writes them in the transaction of the events that they follow, and
//! `Store::read` reads them.
//!
//! **Mailboxes.** The writer's takes 1,024 calls, the reader's 256. [`Store::append`] and [`Store::set_deliveries`] queue
//! their call before they return, and fail with [`StoreError::Busy`] if the queue is full, because waiting would lose the
//! order of calls; all others wait for room.
//!
//! **The writer** gathers all queued calls into one transaction, and commits when its queue is empty or 512 rows are
//! written. There is no timer: a lone call is committed at once, and while one commit waits for the disk the next
//! transaction gathers. Each call has a savepoint: one that is refused undoes no other. Answers are sent after `COMMIT`
//! has returned with `synchronous = FULL`, so what was acknowledged survives a power cut, and a caller that has its
//! answer finds the change when it reads. If the commit fails (a full disk), all calls of the transaction fail, and
//! nothing has changed.
//!
//! **The reader** has a connection and a thread of its own, so that a long search delays no commit. Each answer shows one
//! moment.
//!
//! **Life.** Both threads are supervised as permanent actors: a thread that fails or panics is restarted with back-off, on
//! a new connection and with new indexes. The calls of the transaction that failed get an error; those still queued are
//! kept, unless the database cannot even be opened. When the scope stops, the queued calls are done, later ones get
//! [`StoreError::Gone`], the write-ahead log is folded into the database, and only then has the scope stopped.
//!
//! These are plain threads: under tokio's paused clock every time-out fires at once while they still work. Do not use
//! paused time together with a store.

mod api;
mod devices;
mod error;
mod file;
mod handle;
mod history;
pub(crate) mod index;
mod logs;
mod migrate;
mod open;
mod reader;
pub(crate) mod row;
mod tables;
mod thread;
pub(crate) mod tx;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

pub use api::*;
pub(crate) use error::Fail;
pub use error::StoreError;
pub use handle::Store;
pub use index::IndexFactory;
