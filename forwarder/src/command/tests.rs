//! The same questions to a running forwarder and to its folder have the same answers.

use super::*;
use crate::api::{Api, router};
use crate::store::samples::{registration, request};
use crate::store::{Options, Store};

#[tokio::test]
async fn a_folder_answers_as_the_daemon_that_works_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options { data_dir: folder.path().to_owned(), ..Options::default() }).unwrap();
    store.register(registration("a", 1)).await.unwrap();
    store.append(request("a", 1, 1..=50)).await.unwrap();
    store.roll().await.unwrap();
    assert!(store.seal_next(&mut |_| Ok(())).await.unwrap());
    store.append(request("a", 1, 51..=60)).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let server = axum::serve(listener, router(Api::new(store, Some("secret".to_owned())))).into_future();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(async move { server.await.unwrap() });

    let running = Target::new(&address, Some("secret".into()), None);
    let still = Target::new(folder.path().to_str().unwrap(), None, None);
    assert!(matches!(running, Target::Running { .. }) && matches!(still, Target::Folder { .. }));
    let mut answers = Vec::new();
    for target in [&running, &still] {
        let mut out = Vec::new();
        let told = [("limit".to_owned(), "20".to_owned()), ("method".to_owned(), "GET".to_owned())];
        let next = target.query(&told, &mut out).await.unwrap();
        assert!(next.is_some());
        assert!(
            !target
                .sql("select method, count(*) as n from exchanges group by method order by method", &mut out)
                .await
                .unwrap()
        );
        target.export(&told[1..], Format::JsonLines, &mut out).await.unwrap();
        target.export(&[], Format::Har, &mut out).await.unwrap();
        answers.push((next, String::from_utf8(out).unwrap()));
    }
    assert_eq!(answers[0], answers[1]);
    for target in [&running, &still] {
        let wrong = [("status".to_owned(), "x".to_owned())];
        let error = target.query(&wrong, &mut Vec::new()).await.unwrap_err();
        assert!(format!("{error:#}").contains("status must be"), "{error:#}");
        assert!(target.sql("drop table exchanges", &mut Vec::new()).await.is_err());
    }
    assert!(Target::new(&address, None, None).query(&[], &mut Vec::new()).await.is_err());
}

#[tokio::test]
async fn looking_at_a_folder_leaves_it_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options { data_dir: folder.path().to_owned(), ..Options::default() }).unwrap();
    store.append(request("a", 1, 1..=5)).await.unwrap();
    store.close().await;
    drop(store);
    let log = folder.path().join("wal/00000000000000000001.wal");
    let mut torn = std::fs::read(&log).unwrap();
    torn.extend_from_slice(b"torn");
    std::fs::write(&log, &torn).unwrap();
    let still = Target::new(folder.path().to_str().unwrap(), None, None);
    let mut out = Vec::new();
    still.query(&[], &mut out).await.unwrap();
    assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 5);
    assert_eq!(std::fs::read(&log).unwrap(), torn);
    let nowhere = Target::new("/nowhere/at/all", None, None);
    assert!(nowhere.query(&[], &mut out).await.is_err());
}
