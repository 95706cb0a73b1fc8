//! Opening the database: whose file it is, who may read it, and how SQLite is to behave.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    error::StoreError,
    file::{APPLICATION_ID, file_error, private_file},
    index::Indexes,
    migrate,
};

/// How long a statement waits for a lock that another process holds, such as a copy being made.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept a connection; there are about 40 of them.
const STATEMENTS: usize = 64;
/// A write-ahead log that grew beyond this (in bytes) is cut back to it when it is next reused.
const WAL_LIMIT: i64 = 64 << 20;

/// Opens the database for the writer: makes it or migrates it first, if need be.
pub(super) fn writer(
    path: &Path,
    steps: &[&str],
    indexes: &Indexes,
) -> Result<Connection, StoreError> {
    private_file(path).map_err(|e| file_error(path, &e))?;
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // Before anything is written, also the journal mode: the file may be somebody else's.
    check_owner(&conn)?;
    behave(&conn)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Database(format!(
            "this file system allows no write-ahead log (journal mode {mode})"
        )));
    }
    // A commit is on the disk when it returns: a power cut takes nothing that was acknowledged.
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    // What is deleted (a channel's secret, above all) is overwritten.
    conn.pragma_update(None, "secure_delete", true)?;
    indexes.functions(&conn)?;
    migrate::migrate(&mut conn, path, steps)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(conn)
}

/// Opens the database, which exists, for reading alone.
pub(super) fn reader(path: &Path, indexes: &Indexes) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    behave(&conn)?;
    indexes.functions(&conn)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// What holds for both connections.
fn behave(conn: &Connection) -> Result<(), StoreError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A plan does not depend on what is bound. Else SQLite plans a statement anew whenever a value is bound that
    // could decide whether an index over part of a table serves, which costs more than the statement itself.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Accepts our databases, and those where nothing is yet.
fn check_owner(conn: &Connection) -> Result<(), StoreError> {
    let id: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id == APPLICATION_ID {
        return Ok(());
    }
    let objects: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if id == 0 && objects == 0 && migrate::version(conn)? == 0 {
        return Ok(());
    }
    Err(StoreError::Foreign(format!(
        "its application id is {id:#010x}"
    )))
}
