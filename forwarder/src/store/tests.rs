//! A store on disk: acknowledged, visible, recovered.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use common::disk::LogFile;

use super::samples::{registration, report, request};
use super::*;

fn options(folder: &Path) -> Options {
    Options { data_dir: folder.to_owned(), cluster: "test".into(), ..Options::default() }
}

fn open(folder: &Path) -> Store {
    Store::open(options(folder)).unwrap()
}

fn unsealed_rows(store: &Store) -> usize {
    store.snapshot().blocks.iter().map(|block| block.rows()).sum()
}

/// A batch of one small exchange.
fn small(sequence: u64) -> wire::CaptureRequest {
    let mut exchange = samples::exchange(sequence);
    exchange.request.head = "GET / HTTP/1.1\r\n\r\n".into();
    exchange.request.body = bytes::Bytes::new();
    exchange.response = None;
    let mut exchanges = bytes::BytesMut::new();
    wire::Opening::from(&samples::connection(0)).with(exchange).append_to(&mut exchanges);
    wire::CaptureRequest { exchanges: exchanges.freeze(), ..request("a", 1, sequence..=sequence) }
}

#[tokio::test]
async fn what_is_acknowledged_is_visible_and_survives_without_a_close() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert_eq!(store.register(registration("a", 1)).await.unwrap(), 0);
    assert_eq!(store.append(request("a", 1, 1..=10)).await.unwrap(), 10);
    assert_eq!(store.append(request("a", 1, 6..=20)).await.unwrap(), 20);
    assert_eq!(unsealed_rows(&store), 20);
    let accounts = store.accounting();
    assert!(matches!(store.append(request("a", 1, 30..=31)).await, Err(Refused::Gap { stored_through: 20 })));
    let mut wrong = request("a", 1, 21..=22);
    wrong.count = 3;
    wrong.report = Some(report(23));
    assert!(matches!(store.append(wrong).await, Err(Refused::Malformed(_))));
    assert_eq!(store.accounting(), accounts);
    assert_eq!(unsealed_rows(&store), 20);
    // A copy of the files at this moment is what a kill leaves.
    let copy = tempfile::tempdir().unwrap();
    copy_tree(folder.path(), copy.path());
    let again = open(copy.path());
    assert_eq!(again.accounting(), accounts);
    assert_eq!(unsealed_rows(&again), 20);
    assert_eq!(again.register(registration("a", 1)).await.unwrap(), 20);
    assert_eq!(again.append(request("a", 1, 1..=25)).await.unwrap(), 25);
    assert_eq!(unsealed_rows(&again), 25);
    assert!(Store::open(options(copy.path())).is_err(), "one process per folder");
    again.close().await;
    assert!(matches!(again.append(request("a", 1, 26..=26)).await, Err(Refused::Closed)));
}

#[tokio::test(start_paused = true)]
async fn who_sends_while_sealing_is_behind_waits_and_is_refused_in_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options { unsealed_bytes: 0, ..options(folder.path()) }).unwrap();
    store.append(small(1)).await.unwrap();
    store.roll().await.unwrap();
    let started = time::Instant::now();
    assert!(matches!(store.append(small(2)).await, Err(Refused::Behind)));
    assert!(started.elapsed() >= SEALING_PATIENCE);
    time::resume();
    let every_step = &mut |_| Ok(());
    let (waited, sealed) = tokio::join!(store.append(small(2)), store.seal_next(every_step));
    assert_eq!((waited.unwrap(), sealed.unwrap()), (2, true));
    assert_eq!(store.append(small(3)).await.unwrap(), 3);
    store.roll().await.unwrap();
    let (waited, ()) = tokio::join!(store.append(small(4)), store.close());
    assert!(matches!(waited, Err(Refused::Closed)), "nobody waits for a store that is closed");
}

#[tokio::test]
async fn sealing_lets_others_go_first_while_there_is_room_for_what_waits() {
    let crowd = Crowd::gather();
    let rests_with_room_for = async |unsealed_bytes| {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options { unsealed_bytes, ..options(folder.path()) }).unwrap();
        store.append(request("a", 1, 1..=8192)).await.unwrap();
        store.roll().await.unwrap();
        assert!(store.seal_next(&mut |_| Ok(())).await.unwrap());
        store.counters().seal_rests
    };
    assert_eq!(rests_with_room_for(0).await, 0);
    assert!(rests_with_room_for(256 << 20).await > 0);
    drop(crowd);
}

/// Threads that want every processor, until it is dropped.
struct Crowd(Arc<AtomicBool>);

impl Crowd {
    fn gather() -> Self {
        let stays = Arc::new(AtomicBool::new(true));
        for _ in 0..2 * thread::available_parallelism().unwrap().get() {
            let stays = Arc::clone(&stays);
            thread::spawn(move || while stays.load(SeqCst) {});
        }
        Self(stays)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

#[tokio::test]
async fn two_may_seal_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append(request("a", 1, 1..=20)).await.unwrap();
    store.roll().await.unwrap();
    store.append(request("a", 1, 21..=30)).await.unwrap();
    store.roll().await.unwrap();
    let seal = async || while store.seal_next(&mut |_| Ok(())).await.unwrap() {};
    tokio::join!(seal(), seal());
    let rows: u64 = store.snapshot().segments.iter().map(|segment| segment.rows).sum();
    assert_eq!((rows, unsealed_rows(&store), store.counters().backlog_bytes), (30, 0, 0));
}

#[tokio::test]
async fn nobody_waits_for_the_checkpoint_while_parquet_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append(request("a", 1, 1..=20)).await.unwrap();
    store.roll().await.unwrap();
    let mut free = None;
    let mut at = |step| {
        free = free.or((step == Step::Encoded).then(|| store.checkpoint.try_lock().is_ok()));
        Ok(())
    };
    assert!(store.seal_next(&mut at).await.unwrap());
    assert_eq!(free, Some(true));
}

pub(super) fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

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

#[tokio::test]
async fn many_writers_share_a_sync_and_none_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let writers = (0..50).map(|proxy| {
        let store = store.clone();
        async move {
            let name = format!("proxy-{proxy}");
            for sequence in 1..=5 {
                assert_eq!(store.append(request(&name, 1, sequence..=sequence)).await.unwrap(), sequence);
            }
        }
    });
    futures::future::join_all(writers).await;
    assert_eq!(unsealed_rows(&store), 250);
    store.close().await;
    drop(store);
    assert_eq!(unsealed_rows(&open(folder.path())), 250);
}

#[tokio::test]
async fn who_follows_too_slowly_can_tell_how_much_was_missed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut follower = store.follow();
    store.append(request("a", 1, 1..=3)).await.unwrap();
    store.append(request("a", 1, 4..=4)).await.unwrap();
    assert_eq!((follower.recv().await.unwrap().before, follower.recv().await.unwrap().before), (0, 3));
}

fn segments(store: &Store) -> (usize, u64) {
    let segments = store.snapshot().segments;
    (segments.len(), segments.iter().map(|segment| segment.rows).sum())
}

#[tokio::test]
async fn a_kill_between_any_two_steps_of_sealing_loses_and_doubles_nothing() {
    for step in Step::ALL {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.register(registration("a", 1)).await.unwrap();
        store.append(request("a", 1, 1..=30)).await.unwrap();
        store.roll().await.unwrap();
        // Later than the sealed generation, and not of its checkpoint.
        store.append(request("a", 1, 31..=40)).await.unwrap();
        let accounts = store.accounting();
        let killed = tempfile::tempdir().unwrap();
        let sealed = store
            .seal_next(&mut |at| {
                if at == step {
                    copy_tree(folder.path(), killed.path());
                }
                Ok(())
            })
            .await;
        assert!(sealed.unwrap());
        assert_eq!((segments(&store), unsealed_rows(&store)), ((1, 30), 10), "{step:?}");
        let store = open(killed.path());
        let named = matches!(step, Step::CheckpointNamed | Step::CheckpointCopied | Step::LogRemoved);
        assert_eq!(segments(&store), if named { (1, 30) } else { (0, 0) }, "{step:?}");
        assert_eq!(unsealed_rows(&store), if named { 10 } else { 40 }, "{step:?}");
        assert_eq!(store.accounting(), accounts, "{step:?}");
        while store.seal_next(&mut |_| Ok(())).await.unwrap() {}
        assert_eq!((segments(&store), unsealed_rows(&store)), ((2, 40), 0), "{step:?}");
        assert_eq!(parquet_files(killed.path()).len(), 2, "{step:?}");
        assert_eq!(fs::read_dir(killed.path().join("wal")).unwrap().count(), 0, "{step:?}");
        assert_eq!(store.append(request("a", 1, 35..=41)).await.unwrap(), 41);
        assert_eq!(store.accounting()["a"].stored, 41);
    }
}

#[tokio::test]
async fn a_failure_at_any_step_of_sealing_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.append(request("a", 1, 1..=30)).await.unwrap();
    store.roll().await.unwrap();
    for step in Step::ALL {
        let fail = |at| if at == step { Err(io::Error::other("told to")) } else { Ok(()) };
        assert!(store.seal_next(&mut { fail }).await.is_err(), "{step:?}");
        assert_eq!(segments(&store).1 + unsealed_rows(&store) as u64, 30, "{step:?}");
    }
    assert!(!store.seal_next(&mut |_| Ok(())).await.unwrap());
    assert_eq!((segments(&store), parquet_files(folder.path()).len()), ((1, 30), 1));
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.join("segments")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

async fn sealed_generations(folder: &Path, count: u64) -> Store {
    let store = open(folder);
    for generation in 0..count {
        store.append(request("a", 1, generation * 10 + 1..=generation * 10 + 10)).await.unwrap();
        store.roll().await.unwrap();
    }
    while store.seal_next(&mut |_| Ok(())).await.unwrap() {}
    store
}

#[tokio::test]
async fn old_segments_go_although_there_is_always_more_to_seal() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options { max_bytes: 1, ..options(folder.path()) }).unwrap();
    for generation in 0..3 {
        store.append(request("a", 1, generation * 10 + 1..=generation * 10 + 10)).await.unwrap();
        store.roll().await.unwrap();
    }
    for waiting in [20, 10, 0] {
        assert!(store.seal_and_retain().await.unwrap());
        assert_eq!((segments(&store), unsealed_rows(&store)), ((0, 0), waiting));
    }
    assert!(!store.seal_and_retain().await.unwrap());
}

#[tokio::test]
async fn a_segment_that_is_cut_short_or_gone_is_put_aside_and_the_rest_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let store = sealed_generations(folder.path(), 3).await;
    store.close().await;
    drop(store);
    let files = parquet_files(folder.path());
    fs::write(&files[0], &fs::read(&files[0]).unwrap()[..100]).unwrap();
    fs::remove_file(&files[1]).unwrap();
    let store = open(folder.path());
    assert_eq!(segments(&store), (1, 10));
    assert_eq!((store.counters().quarantined_files, store.counters().damaged_rows), (2, 20));
    assert_eq!(store.accounting()["a"].stored, 30);
    assert_eq!(parquet_files(folder.path()).len(), 1);
    assert_eq!(fs::read_dir(folder.path().join("quarantine")).unwrap().count(), 1);
    store.close().await;
    drop(store);
    assert_eq!(open(folder.path()).counters().damaged_rows, 20);
}

#[tokio::test]
async fn retention_removes_the_oldest_and_leaves_the_accounts_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = sealed_generations(folder.path(), 3).await;
    let bytes = store.snapshot().segments.iter().map(|segment| segment.bytes).sum::<u64>();
    store.close().await;
    drop(store);
    let limited = Options { max_bytes: bytes - 1, max_age: Duration::ZERO, ..options(folder.path()) };
    let store = Store::open(limited).unwrap();
    store.retain().await.unwrap();
    assert_eq!(segments(&store), (2, 20));
    assert_eq!((store.accounting()["a"].stored, store.counters().expired_rows), (30, 10));
    assert_eq!(parquet_files(folder.path()).len(), 2);
}

#[tokio::test]
async fn of_two_checkpoints_one_may_be_damaged() {
    for damaged in ["checkpoint", "checkpoint.copy"] {
        let folder = tempfile::tempdir().unwrap();
        let store = sealed_generations(folder.path(), 2).await;
        let accounts = store.accounting();
        store.close().await;
        drop(store);
        let path = folder.path().join(damaged);
        let mut file = fs::read(&path).unwrap();
        file[60] ^= 1;
        fs::write(&path, &file).unwrap();
        let store = open(folder.path());
        assert_eq!((segments(&store), store.accounting()), ((2, 20), accounts));
        assert_eq!(store.counters().quarantined_files, 1);
        store.close().await;
        drop(store);
        // It was mended, so the other one may be damaged next.
        let other =
            folder.path().join(if damaged == "checkpoint" { "checkpoint.copy" } else { "checkpoint" });
        fs::write(&other, b"nonsense").unwrap();
        let store = open(folder.path());
        assert_eq!(segments(&store), (2, 20));
        store.close().await;
        drop(store);
        for path in ["checkpoint", "checkpoint.copy"] {
            fs::write(folder.path().join(path), b"nonsense").unwrap();
        }
        assert!(Store::open(options(folder.path())).is_err());
    }
}
