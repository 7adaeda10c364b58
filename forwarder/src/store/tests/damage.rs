//! A log that is torn or damaged, a disk that is full or fails.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use common::disk::LogFile;

use super::*;

#[tokio::test]
async fn a_log_torn_at_any_byte_opens_with_all_that_was_whole() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let path = folder.path().join("wal/00000000000000000001.wal");
    let mut ends = Vec::new();
    for sequence in 1..=3 {
        store.append(small(sequence)).await.unwrap();
        ends.push(fs::metadata(&path).unwrap().len());
    }
    store.close().await;
    drop(store);
    let whole = fs::read(&path).unwrap();
    for at in 0..=whole.len() {
        let torn = tempfile::tempdir().unwrap();
        fs::create_dir_all(torn.path().join("wal")).unwrap();
        fs::copy(folder.path().join("checkpoint"), torn.path().join("checkpoint")).unwrap();
        fs::write(torn.path().join("wal/00000000000000000001.wal"), &whole[..at]).unwrap();
        let store = open(torn.path());
        let kept = ends.iter().filter(|end| **end <= at as u64).count();
        assert_eq!(unsealed_rows(&store), kept, "torn at {at}");
        assert_eq!(store.counters().quarantined_files, 0, "torn at {at}");
        // It goes on from there, and a second opening finds nothing torn.
        assert_eq!(store.append(small(kept as u64 + 1)).await.unwrap(), kept as u64 + 1);
        store.close().await;
        drop(store);
        let store = open(torn.path());
        assert_eq!((unsealed_rows(&store), store.counters().torn_bytes), (kept + 1, 0), "torn at {at}");
        assert_eq!(store.counters().quarantined_files, 0, "torn at {at}");
        store.close().await;
    }
}

#[tokio::test]
async fn a_log_damaged_in_the_middle_keeps_the_rest_counts_what_is_lost_and_is_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let path = folder.path().join("wal/00000000000000000001.wal");
    store.append(request("a", 1, 1..=2)).await.unwrap();
    let middle = fs::read(&path).unwrap().len() + 100;
    store.append(request("a", 1, 3..=5)).await.unwrap();
    store.append(request("a", 1, 6..=9)).await.unwrap();
    store.close().await;
    drop(store);
    let mut file = fs::read(&path).unwrap();
    file[middle] ^= 0x10;
    fs::write(&path, file).unwrap();
    let store = open(folder.path());
    assert_eq!(unsealed_rows(&store), 6);
    let account = &store.accounting()["a"];
    assert_eq!((account.seen, account.stored, account.in_flight), (9, 6, 0));
    assert_eq!(account.dropped["lost"], 3);
    assert_eq!(store.counters().quarantined_files, 1);
    assert!(folder.path().join("quarantine/00000000000000000001.wal").exists());
    assert_eq!(store.append(request("a", 1, 10..=10)).await.unwrap(), 10);
}

/// A disk that fails when told to.
#[derive(Clone, Default)]
struct Failing {
    full: Arc<AtomicBool>,
    sync: Arc<AtomicU32>,
    created: Arc<AtomicU32>,
}

struct FailingFile(Failing, Box<dyn LogFile>);

impl Files for Failing {
    fn create(&mut self, path: &Path) -> io::Result<Box<dyn LogFile>> {
        self.created.fetch_add(1, SeqCst);
        Ok(Box::new(FailingFile(self.clone(), FileSystem.create(path)?)))
    }
}

impl LogFile for FailingFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.0.full.load(SeqCst) {
            self.1.append(&bytes[..bytes.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.1.append(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        let left = self.0.sync.load(SeqCst);
        if left > 0 {
            self.0.sync.store(left - 1, SeqCst);
            return Err(io::Error::other("sync failed"));
        }
        self.1.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.1.truncate(length)
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_takes_again_once_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Failing::default();
    let store = Store::open_on(options(folder.path()), Box::new(disk.clone())).unwrap();
    disk.full.store(true, SeqCst);
    assert!(matches!(store.append(request("a", 1, 1..=1)).await, Err(Refused::Full(_))));
    disk.full.store(false, SeqCst);
    store.append(request("a", 1, 1..=2)).await.unwrap();
    disk.full.store(true, SeqCst);
    for _ in 0..3 {
        assert!(matches!(store.append(request("a", 1, 3..=4)).await, Err(Refused::Full(_))));
    }
    assert_eq!(store.health(), Health::Full);
    assert_eq!(unsealed_rows(&store), 2);
    assert_eq!(store.accounting()["a"].stored, 2);
    disk.full.store(false, SeqCst);
    assert_eq!(store.append(request("a", 1, 3..=4)).await.unwrap(), 4);
    assert_eq!(store.health(), Health::Good);
    store.close().await;
    drop(store);
    let store = open(folder.path());
    assert_eq!(unsealed_rows(&store), 4);
    assert_eq!((store.counters().torn_bytes, store.counters().lost_bytes), (0, 0));
}

#[tokio::test]
async fn after_a_failed_sync_the_file_is_never_asked_again_and_nothing_is_acknowledged_in_vain() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Failing::default();
    let store = Store::open_on(options(folder.path()), Box::new(disk.clone())).unwrap();
    store.append(request("a", 1, 1..=2)).await.unwrap();
    // The first file fails, the second takes the same group.
    disk.sync.store(1, SeqCst);
    assert_eq!(store.append(request("a", 1, 3..=4)).await.unwrap(), 4);
    assert_eq!(disk.created.load(SeqCst), 2);
    // Both fail: refused, and a third file takes it when it is sent again.
    disk.sync.store(2, SeqCst);
    assert!(matches!(store.append(request("a", 1, 5..=6)).await, Err(Refused::Failing(_))));
    assert_eq!((store.health(), store.accounting()["a"].stored), (Health::Failing, 4));
    assert_eq!(unsealed_rows(&store), 4);
    assert_eq!(store.append(request("a", 1, 5..=7)).await.unwrap(), 7);
    assert_eq!(disk.created.load(SeqCst), 4);
    assert_eq!((store.health(), unsealed_rows(&store)), (Health::Good, 7));
    store.close().await;
    drop(store);
    let store = open(folder.path());
    assert_eq!((unsealed_rows(&store), store.accounting()["a"].stored), (7, 7));
}
