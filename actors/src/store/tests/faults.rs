//! A full disk.

use rusqlite::Connection;

use super::*;

fn large(pen: &mut Pen) -> NewEvent {
    pen.says(&"x".repeat(30_000))
}

/// Appends until the disk is full; the pen ends where the log does.
async fn fill(store: &Store, pen: &mut Pen) -> usize {
    for n in 0..10_000 {
        let before = pen.clone();
        match store.append(CID, vec![large(pen)]).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error, StoreError::DiskFull);
                *pen = before;
                return n;
            }
        }
    }
    panic!("it never got full");
}

async fn assert_whole(home: &Home, pen: &Pen) {
    let check: String = home
        .store
        .tamper(|conn: &Connection| conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(check, "ok");
    let heads = home.store.heads(CID).await.unwrap();
    assert_eq!((heads[0].next, heads[0].head), (pen.next, pen.head));
}

#[tokio::test]
async fn a_full_database_says_so_and_recovers() {
    let home = Home::new().await;
    let store = &home.store;
    let mut pen = Pen::started(store, 1, 2).await;
    let limit = |pages: u32| {
        store.tamper(move |conn| {
            conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
        })
    };
    limit(300).await.unwrap().unwrap();
    let kept = fill(store, &mut pen).await;
    assert!(kept > 0);
    // All that is in flight fails, in whatever transactions: nothing has a gap behind it.
    let mut ahead = pen.clone();
    let calls: Vec<_> = (0..50)
        .map(|_| store.append(CID, vec![large(&mut ahead)]))
        .collect();
    for call in calls {
        let end = call.await;
        assert!(
            matches!(end, Err(StoreError::DiskFull | StoreError::Gap { .. })),
            "{end:?}"
        );
    }
    limit(1_000_000).await.unwrap().unwrap();
    store.append(CID, vec![large(&mut pen)]).await.unwrap();
    assert_whole(&home, &pen).await;
    assert_eq!(home.scope.metrics().kit.restarts_of("store-writer"), 0);
    let home = home.reopen().await;
    assert_whole(&home, &pen).await;
    home.stop().await;
}

/// A file system of 2 MiB, where there is the right to mount one.
#[cfg(target_os = "linux")]
struct SmallDisk(TempDir);

#[cfg(target_os = "linux")]
impl SmallDisk {
    fn new() -> Option<Self> {
        let folder = TempDir::new().unwrap();
        let mount = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(folder.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(folder)),
            Ok(output) => {
                crate::skip::skip(String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(error) => {
                crate::skip::skip(format_args!("mount: {error}"));
                None
            }
        }
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg(self.0.path())
            .status();
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_says_so_and_recovers() {
    let Some(disk) = SmallDisk::new() else { return };
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![0; 700 << 10]).unwrap();
    let home = Home::at(TempDir::new_in(disk.0.path()).unwrap())
        .await
        .unwrap();
    home.store.put_channel(record(CID)).await.unwrap();
    let mut pen = Pen::started(&home.store, 1, 2).await;
    let kept = fill(&home.store, &mut pen).await;
    assert!(kept > 0);
    // Full is full: asking again changes nothing, and what is there can be read.
    let again = home.store.append(CID, vec![large(&mut pen.clone())]).await;
    assert_eq!(again, Err(StoreError::DiskFull));
    assert_eq!(home.texts().await.len(), kept);

    std::fs::remove_file(&ballast).unwrap();
    home.store.append(CID, vec![large(&mut pen)]).await.unwrap();
    assert_whole(&home, &pen).await;
    let home = home.reopen().await;
    assert_whole(&home, &pen).await;
    drop(home.stop().await);
}
