//! The store: SQLite behind one writer thread and one read-only connection.
//!
//! **Owns** the profile's database: values of the node, channels, logs of events, delivery marks,
//! proofs of forks, remembered addresses. The migrations that shape it are in `migrations/`.
//!
//! **Mailboxes.** The writer's takes 1,024 calls, the reader's 256. [`Store::append`] and
//! [`Store::set_deliveries`] queue their call before they return and say [`StoreError::Busy`] when there
//! is no room, for waiting would lose the order of calls; all others wait for room.
//!
//! **The writer** puts all calls that wait into one transaction, and commits when its queue is empty or
//! 512 rows are written. There is no timer: a lone call is committed at once, and while one commit
//! waits for the disk the next transaction gathers. Each call has a savepoint: one that is refused takes
//! nobody else's work with it. Answers go out after `COMMIT` has returned with `synchronous = FULL`, so
//! what was acknowledged survives a power cut, and whoever was answered finds it by reading. When the
//! commit fails (a full disk), all calls of the transaction hear that, and nothing has changed.
//!
//! The words of texts are kept in a search index, which each transaction brings up to date right before
//! its commit: what is acknowledged is found.
//!
//! **The reader** has a connection and a thread of its own, so that a long search holds up no commit.
//! Each answer is a view of one moment.
//!
//! **Life.** Both threads are supervised as permanent actors: a thread that fails or panics is started
//! anew with back-off, on a new connection. Calls of the transaction that failed hear an error; those
//! still in the queue are kept, unless the database cannot even be opened. When the scope stops, what
//! is queued is done, later calls get [`StoreError::Gone`], the write-ahead log is folded into the
//! database, and only then has the scope stopped.
//!
//! These are plain threads: under tokio's paused clock every time-out fires at once, while they work on.
//! Do not use paused time together with a store.

mod api;
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
