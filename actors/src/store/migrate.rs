//! Migration of a database to the newest version: one step a transaction, after a copy.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, TransactionBehavior};

use super::{
    error::StoreError,
    file::{APPLICATION_ID, file_error, private_file, remove},
};

/// The version of a database: the number of steps applied to it.
pub(super) fn version(conn: &Connection) -> Result<u32, StoreError> {
    Ok(conn.pragma_query_value(None, "user_version", |row| row.get(0))?)
}

/// Applies the steps that `conn` lacks. A database with content is copied first, to
/// `<name>.v<version>.bak` beside it. Foreign keys must be off: a step may have to rebuild a table. The functions of the
/// indexes are registered already.
pub(super) fn migrate(
    conn: &mut Connection,
    path: &Path,
    steps: &[&str],
) -> Result<(), StoreError> {
    let found = version(conn)?;
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    if found == known {
        return Ok(());
    }
    if found > 0 {
        copy(conn, path, found)?;
    }
    conn.pragma_update(None, "foreign_keys", false)?;
    for (step, to) in steps.iter().zip(1_u32..).skip(found as usize) {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.execute_batch(step)?;
        let broken = tx
            .prepare("PRAGMA foreign_key_check")?
            .query([])?
            .next()?
            .is_some();
        if broken {
            return Err(StoreError::Corrupt(format!(
                "references do not hold after the step to version {to}"
            )));
        }
        tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        tx.pragma_update(None, "user_version", to)?;
        tx.commit()?;
        tracing::info!(version = to, "database migrated");
    }
    Ok(())
}

/// Copies the database as it is before a migration. The copy is complete, on the disk and readable by its owner alone
/// before it gets its name.
fn copy(conn: &Connection, path: &Path, found: u32) -> Result<(), StoreError> {
    let done = beside(path, &format!(".v{found}.bak"));
    let part = beside(path, &format!(".v{found}.bak.part"));
    let failed = |e: std::io::Error| file_error(&part, &e);
    remove(&part).map_err(failed)?;
    // SQLite writes into an existing file if it is empty.
    let file = private_file(&part).map_err(failed)?;
    let name = part
        .to_str()
        .ok_or_else(|| StoreError::Database(format!("{}: not UTF-8", part.display())))?;
    if let Err(error) = conn.execute("VACUUM INTO ?1", [name]) {
        // An incomplete copy would only take up space.
        let _ = remove(&part);
        return Err(error.into());
    }
    file.sync_all().map_err(failed)?;
    fs::rename(&part, &done).map_err(failed)
}

/// Removes the copies made before migrations.
pub(super) fn remove_copies(path: &Path) -> std::io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    let prefix = format!("{}.v", name.to_string_lossy());
    let mut failed = Ok(());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(&prefix) && (name.ends_with(".bak") || name.ends_with(".bak.part")) {
            failed = failed.and(remove(&entry.path()));
        }
    }
    failed
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
