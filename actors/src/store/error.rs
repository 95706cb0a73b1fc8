//! Errors, for callers and inside the store.

use bitchat_wire::event::EventId;
use rusqlite::{ErrorCode, ffi};

/// Why a call failed. Nothing was changed, with the exception that [`StoreError::Gone`] describes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database was written by a newer program.
    #[error(
        "the database has version {found}, and this program supports up to {known}: use the newer program, or another home"
    )]
    Newer {
        /// The database's `user_version`.
        found: u32,
        /// The newest version that this program supports.
        known: u32,
    },
    /// The file is a database of another program, or not a database.
    #[error("the file is not a Bit Chat database ({0}): move it away, or use another home")]
    Foreign(String),
    /// SQLite found the database damaged.
    #[error("the database is damaged ({0}): restore a copy of it")]
    Corrupt(String),
    /// No space left on the disk.
    #[error("the disk is full: free some space, then try again")]
    DiskFull,
    /// An event does not follow the last one of its log: the caller's view of the log is stale.
    #[error("event {seq} does not follow the log of its device")]
    Gap {
        /// The refused event's number.
        seq: u64,
    },
    /// The event's log was closed, because its device was proven to have forked it.
    #[error("the log of this device is closed from event {at} on, because it forked")]
    Closed {
        /// The first number that is refused.
        at: u64,
    },
    /// The idempotency key was used before, for this event.
    #[error("this key was already used")]
    KeyUsed(EventId),
    /// The channel is not in the store.
    #[error("no such channel")]
    NoChannel,
    /// The cursor of a query names an event that was never in the channel.
    #[error("no such event in this channel")]
    NoEvent,
    /// The arguments are invalid; the text says why.
    #[error("{0}")]
    Invalid(&'static str),
    /// The writer's queue is full. Retry when an earlier call has been answered.
    #[error("the store is busy: try again")]
    Busy,
    /// The store has stopped, or did not answer in time. A write may still have been done: read before writing
    /// again.
    #[error("the store does not answer")]
    Gone,
    /// Any other error of SQLite.
    #[error("the database failed: {0}")]
    Database(String),
}

/// How a job inside the store fails.
#[derive(Debug)]
pub(crate) enum Fail {
    /// The call is refused; the database is fine.
    Refused(StoreError),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Fail {
    /// Whether the connection can no longer be trusted and must be reopened. A damaged page is not such a case: a new
    /// connection would find it damaged as well, and everything else stays readable.
    pub(super) fn is_fatal(&self) -> bool {
        let Self::Sqlite(error) = self else {
            return false;
        };
        if is_full(error) {
            return false;
        }
        matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::NotADatabase
                    | ErrorCode::ReadOnly
                    | ErrorCode::FileLockingProtocolFailed
                    | ErrorCode::InternalMalfunction
                    | ErrorCode::OutOfMemory
            )
        )
    }
}

impl From<Fail> for StoreError {
    fn from(fail: Fail) -> Self {
        match fail {
            Fail::Refused(error) => error,
            Fail::Sqlite(error) => error.into(),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        if is_full(&error) {
            return Self::DiskFull;
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(error.to_string()),
            Some(ErrorCode::NotADatabase) => Self::Foreign(error.to_string()),
            _ => Self::Database(error.to_string()),
        }
    }
}

/// Whether the disk is full. SQLite returns "full" for writes, but "I/O error" if it could not grow the shared memory file.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error
            .sqlite_error()
            .is_some_and(|e| e.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}
