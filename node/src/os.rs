//! Everything that is specific to Unix: private files and folders, the lock of a home, signals.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use crate::error::Failure;

/// Mode of a folder that only its owner can enter.
const PRIVATE_DIR: u32 = 0o700;
/// Mode of a file that only its owner can read.
const PRIVATE_FILE: u32 = 0o600;
/// How long a starting node waits for the lock: a command that checks for a running node holds it for a moment.
const LOCK_PATIENCE: Duration = Duration::from_millis(1_500);

/// Creates a folder and its missing parents, accessible only to its owner. An existing one must belong to us, and is
/// closed to other users.
pub fn private_dir(path: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(PRIVATE_DIR)
        .create(path)
        .map_err(|e| Failure::io("create the folder", path, &e))?;
    check_private(path, PRIVATE_DIR)
}

/// Refuses a file or folder that another user owns; removes the permissions of other users.
fn check_private(path: &Path, mode: u32) -> Result<(), Failure> {
    let meta = fs::metadata(path).map_err(|e| Failure::io("use", path, &e))?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me {
        return Err(Failure::new(
            "bad_home",
            format!(
                "{} belongs to another user (uid {}, you are {me}): choose your own home with --home DIR",
                path.display(),
                meta.uid()
            ),
        ));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        tracing::warn!(
            "{} was open to other users; it is closed to them now",
            path.display()
        );
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(|e| Failure::io("close to other users", path, &e))?;
    }
    Ok(())
}

/// Reads a private file of at most `cap` bytes; `None` if it does not exist.
pub fn read_private(path: &Path, cap: u64) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Failure::io("read", path, &e)),
    };
    check_private(path, PRIVATE_FILE)?;
    // The full capacity from the start: growing would leave copies of a secret in freed buffers.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(cap + 1).unwrap_or(0)));
    file.take(cap + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::io("read", path, &e))?;
    if bytes.len() as u64 > cap {
        return Err(Failure::new(
            "io",
            format!(
                "{} is too large: it is damaged, or not a file of bitchat",
                path.display()
            ),
        ));
    }
    Ok(Some(bytes))
}

/// Writes a file that only its owner can read, atomically: after a crash it holds the new content or the old.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes, true)
}

/// As [`write_private`], but refuses with the code `exists` to replace a file.
pub fn write_private_new(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    write(path, bytes, false)
}

fn write(path: &Path, bytes: &[u8], replace: bool) -> Result<(), Failure> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = path.file_name() else {
        return Err(Failure::new(
            "io",
            format!("{} is not a file name", path.display()),
        ));
    };
    let mut temporary = name.to_os_string();
    temporary.push(format!(".{:016x}.tmp", rand::random::<u64>()));
    let temporary = Temporary(folder.join(temporary));
    let fail = |e: io::Error| Failure::io("write", path, &e);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(PRIVATE_FILE)
        .open(&temporary.0)
        .map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    drop(file);
    if replace {
        fs::rename(&temporary.0, path).map_err(fail)?;
    } else {
        // Unlike a rename, a hard link fails if the name is taken.
        match fs::hard_link(&temporary.0, path) {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(taken(path));
            }
            // A file system without hard links.
            Err(_) if !path.exists() => fs::rename(&temporary.0, path).map_err(fail)?,
            Err(e) => return Err(fail(e)),
        }
    }
    File::open(folder)
        .and_then(|d| d.sync_all())
        .map_err(fail)?;
    Ok(())
}

/// The failure to replace a file without `--force`.
pub fn taken(path: &Path) -> Failure {
    Failure::new(
        "exists",
        format!(
            "{} already exists: choose another name, or replace it with --force",
            path.display()
        ),
    )
}

/// A file that is removed on drop, if it still exists.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The lock of a home: held by a running node, and released by the system however the process ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "kept open for its lock")] File);

/// Takes the lock; `None` if another process holds it.
pub fn lock(path: &Path) -> Result<Option<Lock>, Failure> {
    let file = lock_file(path)?;
    let deadline = Instant::now() + LOCK_PATIENCE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(Failure::io("lock", path, &e.into())),
        }
    }
}

/// Whether a process holds the lock.
pub fn is_locked(path: &Path) -> bool {
    match File::open(path) {
        Ok(file) => matches!(
            flock(&file, FlockOperation::NonBlockingLockShared),
            Err(rustix::io::Errno::WOULDBLOCK)
        ),
        Err(_) => false,
    }
}

fn lock_file(path: &Path) -> Result<File, Failure> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(PRIVATE_FILE)
        .open(path)
        .map_err(|e| Failure::io("lock", path, &e))
}

/// SIGINT and SIGTERM.
pub struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// Listens for the signals; from now on they do not end the process by themselves.
    pub fn listen() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| {
            signal(kind)
                .map_err(|e| Failure::new("internal", format!("cannot listen for signals: {e}")))
        };
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_folders_are_private() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().join("a/b");
        private_dir(&home).unwrap();
        assert_eq!(mode(&home), 0o700);
        let file = home.join("secret");
        write_private(&file, b"one").unwrap();
        assert_eq!(mode(&file), 0o600);
        write_private(&file, b"two").unwrap();
        assert_eq!(read_private(&file, 3).unwrap().unwrap().as_slice(), b"two");
        assert_eq!(write_private_new(&file, b"x").unwrap_err().code, "exists");
        assert_eq!(fs::read(&file).unwrap(), b"two");
        write_private_new(&home.join("new"), b"x").unwrap();
        assert_eq!(mode(&home.join("new")), 0o600);
        // No temporary file stays behind.
        assert_eq!(fs::read_dir(&home).unwrap().count(), 2);
    }

    #[test]
    fn open_permissions_are_closed() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        private_dir(&home).unwrap();
        assert_eq!(mode(&home), 0o700);
        let file = home.join("key");
        fs::write(&file, "k").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        read_private(&file, 10).unwrap();
        assert_eq!(mode(&file), 0o600);
    }

    #[test]
    fn too_large_is_refused_and_missing_is_none() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("f");
        assert!(read_private(&file, 10).unwrap().is_none());
        write_private(&file, &[0; 11]).unwrap();
        assert!(read_private(&file, 10).is_err());
    }

    #[test]
    fn one_holder_of_the_lock() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("lock");
        assert!(!is_locked(&path));
        let held = lock(&path).unwrap().unwrap();
        assert!(is_locked(&path));
        assert!(lock(&path).unwrap().is_none());
        drop(held);
        assert!(!is_locked(&path));
        assert!(lock(&path).unwrap().is_some());
    }
}
