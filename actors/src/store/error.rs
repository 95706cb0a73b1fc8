//! What can go wrong, for callers and inside.

use bitchat_wire::event::EventId;
use rusqlite::{ErrorCode, ffi};

/// Why the store did not do it. Nothing was changed, save where [`StoreError::Gone`] says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database was written by a newer program.
    #[error(
        "the database is of version {found}, this program knows up to {known}: use the newer program, or another home"
    )]
    Newer {
        /// `user_version` found.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// The file is a database of another program, or no database at all.
    #[error("the file is no Bit Chat database ({0}): move it away, or use another home")]
    Foreign(String),
    /// SQLite found the database damaged.
    #[error("the database is damaged ({0}): put back a copy of it")]
    Corrupt(String),
    /// No room on the disk.
    #[error("the disk is full: free some space, then try again")]
    DiskFull,
    /// An event does not follow the last one of its log: the caller's view is stale.
    #[error("event {seq} does not follow the log of its device")]
    Gap {
        /// The refused event's number.
        seq: u64,
    },
    /// The event's log was closed, since its device was proven to have forked it.
    #[error("the log of this device is closed from event {at} on, since it forked")]
    Closed {
        /// The first number that is refused.
        at: u64,
    },
    /// The idempotency key was used: this is what it made.
    #[error("this key was used already")]
    KeyUsed(EventId),
    /// No such channel.
    #[error("no such channel")]
    NoChannel,
    /// No such event in the channel: the cursor of a page names none that was ever there.
    #[error("no such event in this channel")]
    NoEvent,
    /// What was asked makes no sense; the text says why.
    #[error("{0}")]
    Invalid(&'static str),
    /// The writer's queue is full. Ask again when an earlier call was answered.
    #[error("the store is busy: try again")]
    Busy,
    /// The store has stopped, or did not answer in time. A write may have been done all the same: read
    /// before writing again.
    #[error("the store does not answer")]
    Gone,
    /// Anything else that SQLite says.
    #[error("the database failed: {0}")]
    Database(String),
}

/// How a job inside the store ends when it does not end well.
#[derive(Debug)]
pub(crate) enum Fail {
    /// An answer to the caller; the database is well.
    Refused(StoreError),
    /// SQLite's word.
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
    /// Whether the connection can no longer be trusted, and must be opened anew. A damaged page is no
    /// such case: a new connection finds it as damaged, and all that is elsewhere can be had meanwhile.
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

/// SQLite says "full" for writes to a full disk, but "I/O error" where it could not make the shared
/// memory file larger.
fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
        || error
            .sqlite_error()
            .is_some_and(|e| e.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
}
