//! The API over a store on disk.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use futures::StreamExt as _;
use tower::ServiceExt as _;

use super::*;
use crate::store::Options;
use crate::store::samples::{registration, request};

async fn api(folder: &std::path::Path) -> (Store, Router) {
    let store = Store::open(Options { data_dir: folder.to_owned(), ..Options::default() }).unwrap();
    store.register(registration("a", 1)).await.unwrap();
    store.append(request("a", 1, 1..=50)).await.unwrap();
    store.roll().await.unwrap();
    assert!(store.seal_next(&mut |_| Ok(())).await.unwrap());
    store.append(request("a", 1, 51..=60)).await.unwrap();
    (store.clone(), router(Api::new(store, None)))
}

async fn ask(router: &Router, request: Request<Body>) -> (StatusCode, Vec<u8>) {
    let response = router.clone().oneshot(request).await.unwrap();
    let status = response.status();
    (status, to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec())
}

async fn get_json(router: &Router, path: &str) -> (StatusCode, Value) {
    let (status, body) = ask(router, Request::get(path).body(Body::empty()).unwrap()).await;
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn pairs_come_in_pages_and_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, router) = api(folder.path()).await;
    let mut found = Vec::new();
    let mut path = "/api/v1/pairs?limit=25".to_owned();
    loop {
        let (status, page) = get_json(&router, &path).await;
        assert_eq!(status, StatusCode::OK);
        found.extend(page["pairs"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/api/v1/pairs?limit=25&cursor={next}");
    }
    assert_eq!(found.len(), 60);
    assert_eq!(
        (&found[0]["wayside"]["sequence"], &found[59]["wayside"]["sequence"]),
        (&json!(60), &json!(1))
    );
    let (status, pair) =
        get_json(&router, &format!("/api/v1/pairs/{}", found[20]["wayside"]["id"].as_str().unwrap())).await;
    assert_eq!((status, &pair), (StatusCode::OK, &found[20]));
    let (status, pair) =
        get_json(&router, &format!("/api/v1/pairs/{}", found[0]["uuid"].as_str().unwrap())).await;
    assert_eq!((status, &pair), (StatusCode::OK, &found[0]));
    let (status, _) = get_json(&router, "/api/v1/pairs/00000000-0000-0000-0000-000000000000").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, router) = api(folder.path()).await;
    for (path, parameter) in [
        ("/api/v1/pairs?status=x", "status"),
        ("/api/v1/pairs?nonsense=1", "nonsense"),
        ("/api/v1/stats?since=x", "since"),
        ("/api/v1/tail?limit=5", "limit"),
        ("/api/v1/export?format=x", "format"),
        ("/api/v1/pairs/x", "uuid"),
    ] {
        let (status, told) = get_json(&router, path).await;
        assert_eq!(
            (status, told["parameter"].as_str()),
            (StatusCode::BAD_REQUEST, Some(parameter)),
            "{path}"
        );
        assert!(told["error"].is_string());
    }
}

#[tokio::test]
async fn accounts_have_the_agreed_shape() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, router) = api(folder.path()).await;
    let (_, told) = get_json(&router, "/api/v1/accounting").await;
    let account = json!({ "seen": 60, "stored": 60, "filtered": 0, "dropped": {}, "in_flight": 0 });
    assert_eq!(told, json!({ "proxies": { "a": account } }));
    let (_, told) = get_json(&router, "/api/v1/proxies").await;
    assert_eq!((&told["proxies"][0]["id"], &told["proxies"][0]["state"]), (&json!("a"), &json!("open")));
    let (_, told) = get_json(&router, "/api/v1/stats").await;
    assert_eq!(told["total"]["count"], 60);
}

#[tokio::test]
async fn exports_hold_everything() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, router) = api(folder.path()).await;
    let (_, lines) = ask(&router, Request::get("/api/v1/export").body(Body::empty()).unwrap()).await;
    let lines: Vec<Value> = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 60);
    let (_, archive) = get_json(&router, "/api/v1/export?format=har&method=POST").await;
    let posts = lines.iter().filter(|line| line["command"] == "POST").count();
    assert_eq!(archive["log"]["entries"].as_array().unwrap().len(), posts);
}

#[tokio::test]
async fn sql_is_answered_and_only_to_this_site() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, router) = api(folder.path()).await;
    let statement = || Body::from("select count(*) as n from exchanges");
    let post = || Request::post("/api/v1/sql").header("host", "here:8889");
    let (status, body) = ask(&router, post().body(statement()).unwrap()).await;
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &told["rows"]), (StatusCode::OK, &json!([{ "n": 60 }])));
    let in_json = Body::from(r#"{"query":"select 1 as a"}"#);
    assert_eq!(ask(&router, post().body(in_json).unwrap()).await.0, StatusCode::OK);
    let own = post().header("origin", "http://here:8889").header("sec-fetch-site", "same-origin");
    assert_eq!(ask(&router, own.body(statement()).unwrap()).await.0, StatusCode::OK);
    for (name, value) in [
        ("origin", "http://elsewhere"),
        ("origin", "null"),
        ("origin", "http://here:88890"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let foreign = post().header(name, value).body(statement()).unwrap();
        assert_eq!(ask(&router, foreign).await.0, StatusCode::FORBIDDEN, "{name}: {value}");
    }
    let wrong = post().body(Body::from("drop table exchanges")).unwrap();
    assert_eq!(ask(&router, wrong).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn with_a_token_nobody_else_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = api(folder.path()).await;
    let router = router(Api::new(store, Some("secret".to_owned())));
    for (told, expected) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some("Bearer secre"), StatusCode::UNAUTHORIZED),
        (Some("Bearer secrets"), StatusCode::UNAUTHORIZED),
        (Some("Basic secret"), StatusCode::UNAUTHORIZED),
        (Some("Bearer secret"), StatusCode::OK),
        (Some("bearer secret"), StatusCode::OK),
    ] {
        let mut request = Request::get("/api/v1/accounting");
        if let Some(told) = told {
            request = request.header("authorization", told);
        }
        assert_eq!(ask(&router, request.body(Body::empty()).unwrap()).await.0, expected, "{told:?}");
    }
}

#[tokio::test]
async fn a_follower_sees_what_is_stored_and_is_told_what_was_missed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, router) = api(folder.path()).await;
    let request_tail = Request::get("/api/v1/tail").body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request_tail).await.unwrap();
    let mut events = response.into_body().into_data_stream();
    store.append(request("a", 1, 61..=61)).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert!(first.starts_with(b"event: pair\n"), "{first:?}");
    // More batches than a follower can be behind.
    for sequence in 62..=400 {
        store.append(request("a", 1, sequence..=sequence)).await.unwrap();
    }
    let missed = events.next().await.unwrap().unwrap();
    let missed = String::from_utf8(missed.to_vec()).unwrap();
    let number: u64 = missed
        .split(|character: char| !character.is_ascii_digit())
        .find_map(|digits| digits.parse().ok())
        .unwrap();
    assert!(missed.starts_with("event: missed\n"), "{missed}");
    let next = events.next().await.unwrap().unwrap();
    let next = String::from_utf8(next.to_vec()).unwrap();
    let data = next.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let pair: Value = serde_json::from_str(data).unwrap();
    assert_eq!(pair["wayside"]["sequence"], 62 + number);
}
