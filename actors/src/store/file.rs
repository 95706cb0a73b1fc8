//! The database's files: whose they are, and who may read them.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

use super::error::StoreError;

/// Tells our databases from those of others (`file` and SQLite know it as the application id): "BtCh".
pub(super) const APPLICATION_ID: i32 = 0x4274_4368;

/// Makes the file, or narrows its access, so that its owner alone can read it. SQLite gives the
/// files that it puts beside it the same mode.
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
