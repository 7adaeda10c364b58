//! A store on disk: acknowledged, visible, recovered.

mod damage;
mod sealing;

use std::fs;
use std::path::Path;

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
    let mut exchanges = Vec::new();
    wire::Opening::from(&samples::connection(0)).with(&exchange).append_to(&mut exchanges);
    wire::CaptureRequest { exchanges: exchanges.into(), ..request("a", 1, sequence..=sequence) }
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

fn copy_tree(from: &Path, to: &Path) {
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
