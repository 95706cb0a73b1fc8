//! Whose file it is, who may read it, and how it comes to the newest version.

use std::fs;

use rusqlite::Connection;

use super::*;
use crate::migrations::STEPS;

async fn open(folder: &TempDir) -> Result<(), StoreError> {
    let (scope, _) = Scope::new(Metrics::default());
    let end = Store::open(&folder.path().join("db"), &scope, INDEXES).await;
    assert!(scope.stop(PATIENCE).await);
    end.map(drop)
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let folder = Home::new().await.stop().await;
    let path = folder.path().join("db");
    let known = u32::try_from(STEPS.len()).unwrap();
    let conn = Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", known + 1).unwrap();
    conn.close().unwrap();
    let before = fs::read(&path).unwrap();
    let newer = StoreError::Newer {
        found: known + 1,
        known,
    };
    assert_eq!(open(&folder).await, Err(newer));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("db");
    fs::write(&path, "these are my notes, and nothing else. ".repeat(99)).unwrap();
    let before = fs::read(&path).unwrap();
    let end = open(&folder).await;
    assert!(matches!(end, Err(StoreError::Foreign(_))), "{end:?}");
    assert_eq!(fs::read(&path).unwrap(), before);

    fs::remove_file(&path).unwrap();
    let conn = Connection::open(&path).unwrap();
    conn.execute_batch("CREATE TABLE song (name TEXT)").unwrap();
    conn.close().unwrap();
    let before = fs::read(&path).unwrap();
    let end = open(&folder).await;
    assert!(matches!(end, Err(StoreError::Foreign(_))), "{end:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_damaged_database_says_so() {
    let home = Home::new().await;
    let mut pen = Pen::started(&home.store, 1, 2).await;
    let many = (0..500).map(|n| pen.says(&format!("{n}"))).collect();
    home.store.append(CID, many).await.unwrap();
    let folder = home.stop().await;
    let path = folder.path().join("db");
    let mut bytes = fs::read(&path).unwrap();
    // All but the first page, which names the kind of file.
    bytes[4096..].fill(0x5a);
    fs::write(&path, &bytes).unwrap();
    let end = match Home::at(folder).await {
        Err(error) => error,
        Ok(home) => home.store.channels().await.err().unwrap(),
    };
    assert!(matches!(end, StoreError::Corrupt(_)), "{end:?}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_an_error() {
    let (scope, _) = Scope::new(Metrics::default());
    let folder = TempDir::new().unwrap();
    let end = Store::open(&folder.path().join("no/db"), &scope, INDEXES).await;
    assert!(matches!(end, Err(StoreError::Database(_))));
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt;

    let folder = TempDir::new().unwrap();
    // One that was put there with a wider mode is narrowed too.
    let path = folder.path().join("db");
    fs::write(&path, b"").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let home = Home::at(folder).await.unwrap();
    home.store.put_channel(record(CID)).await.unwrap();
    let mut names = Vec::new();
    for entry in fs::read_dir(home.folder.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{entry:?}");
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["db", "db-shm", "db-wal"]);
    home.stop().await;
}

#[tokio::test]
async fn a_database_is_copied_and_then_migrated() {
    let home = Home::new().await;
    home.store.set_value("port", b"1").await.unwrap();
    let folder = home.stop().await;
    let path = folder.path().join("db");
    // A part of a copy from an attempt that was cut off is no obstacle.
    let copy = folder.path().join(format!("db.v{}.bak", STEPS.len()));
    let part = copy.with_extension("bak.part");
    fs::write(&part, b"cut off").unwrap();

    let (scope, _) = Scope::new(Metrics::default());
    let store = Store::open_with(
        &path,
        &scope,
        INDEXES,
        one_more("ALTER TABLE value ADD COLUMN note TEXT"),
    )
    .await
    .unwrap();
    assert_eq!(**store.value("port").await.unwrap().unwrap(), *b"1");
    store
        .tamper(|conn| conn.execute("UPDATE value SET note = 'x'", []))
        .await
        .unwrap()
        .unwrap();
    assert!(scope.stop(PATIENCE).await);
    let version = |path: &Path| -> u32 {
        let conn = Connection::open(path).unwrap();
        conn.pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap()
    };
    assert_eq!(version(&path) as usize, STEPS.len() + 1);
    assert!(!part.exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::metadata(&copy).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    // This program knows one step less, and opens the copy all the same.
    fs::rename(&copy, &path).unwrap();
    let home = Home::at(folder).await.unwrap();
    assert_eq!(**home.store.value("port").await.unwrap().unwrap(), *b"1");
    assert_eq!(home.store.channels().await.unwrap().len(), 1);
    home.stop().await;
}

#[tokio::test]
async fn a_step_that_fails_changes_nothing() {
    let home = Home::new().await;
    home.store.set_value("port", b"1").await.unwrap();
    Pen::started(&home.store, 1, 2).await;
    let folder = home.stop().await;
    let bad = "DROP TABLE value; SELECT nonsense FROM nowhere";
    // Leaves a reference to nothing behind.
    let torn = "DELETE FROM channel";
    for steps in [bad, torn].map(one_more) {
        let (scope, _) = Scope::new(Metrics::default());
        let end = Store::open_with(&folder.path().join("db"), &scope, INDEXES, steps).await;
        assert!(end.is_err());
    }
    let home = Home::at(folder).await.unwrap();
    assert_eq!(**home.store.value("port").await.unwrap().unwrap(), *b"1");
    assert_eq!(home.store.heads(CID).await.unwrap().len(), 1);
    home.stop().await;
}

/// All steps, and one of a later version.
fn one_more(step: &'static str) -> &'static [&'static str] {
    let mut steps = STEPS.to_vec();
    steps.push(step);
    steps.leak()
}
