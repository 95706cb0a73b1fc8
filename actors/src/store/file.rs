//! The database's files: what marks them as ours, and who may read them.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

use super::error::StoreError;

/// Marks our databases (SQLite's application id, which `file` shows): "BtCh".
pub(super) const APPLICATION_ID: i32 = 0x4274_4368;

/// Creates the file, or narrows its mode, so that only its owner can read it. SQLite gives the files beside it the same
/// mode.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// The error of a failed access to `path`.
pub(super) fn file_error(path: &Path, error: &io::Error) -> StoreError {
    if error.kind() == io::ErrorKind::StorageFull {
        return StoreError::DiskFull;
    }
    StoreError::Database(format!("{}: {error}", path.display()))
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
