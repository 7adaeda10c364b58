//! Sealing: it lets others go first, and no step of it loses, doubles or keeps what should go.

use std::sync::atomic::Ordering::SeqCst;

use super::*;

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
