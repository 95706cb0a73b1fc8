//! Opening the database: checking that it is ours, and configuring SQLite.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{
    error::StoreError,
    file::{APPLICATION_ID, file_error, private_file},
    index::Indexes,
    migrate,
};

/// How long a statement waits for a lock that another process holds, for example while it copies the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements cached a connection; the program has about 40.
const STATEMENTS: usize = 64;
/// A write-ahead log larger than this, in bytes, is truncated to it when it is next reused.
const WAL_LIMIT: i64 = 64 << 20;

/// Opens the database for the writer, and creates or migrates it if necessary.
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
    // Before anything is written, the journal mode included: the file may belong to another program.
    check_owner(&conn)?;
    configure(&conn)?;
    let mode: String =
        conn.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(StoreError::Database(format!(
            "this file system does not support a write-ahead log (journal mode {mode})"
        )));
    }
    // A commit is on the disk when it returns: a power cut loses nothing that was acknowledged.
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "journal_size_limit", WAL_LIMIT)?;
    // Deleted data (above all a channel's secret) is overwritten.
    conn.pragma_update(None, "secure_delete", true)?;
    indexes.functions(&conn)?;
    migrate::migrate(&mut conn, path, steps)?;
    conn.pragma_update(None, "foreign_keys", true)?;
    Ok(conn)
}

/// Opens an existing database read-only.
pub(super) fn reader(path: &Path, indexes: &Indexes) -> Result<Connection, StoreError> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    configure(&conn)?;
    indexes.functions(&conn)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

/// Configures a connection, the writer's or the reader's.
fn configure(conn: &Connection) -> Result<(), StoreError> {
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // A plan does not depend on bound values. Otherwise SQLite plans a statement again whenever it binds a value that
    // decides whether a partial index applies, which costs more than the statement itself.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Accepts databases of ours, and empty ones.
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
