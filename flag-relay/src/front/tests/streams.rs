//! Streams: who is told what, in which order, and who is cut off.

use std::collections::BTreeMap;

use tokio::time::timeout;

use super::*;
use crate::secret::KeyHash;

const PATIENCE: Duration = Duration::from_secs(20);

fn request(token: &str, key: &str, more: &str) -> String {
    format!("GET /stream HTTP/1.1\r\nAuthorization: Bearer {token}\r\nAPI-Key: {key}\r\n{more}\r\n")
}

async fn open(relay: &Relay, mut peer: Peer, key: &str, more: &str) -> Peer {
    let token = relay.token(key).await;
    peer.send(&request(&token, key, more)).await;
    let head = peer.head().await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"), "{head}");
    assert_eq!(
        peer.chunk().await.as_deref(),
        Some(":\n\n"),
        "an SDK learns of its connection by its first bytes"
    );
    peer
}

async fn stream(relay: &Relay, key: &str) -> Peer {
    open(relay, Peer::connect(relay.port).await, key, "").await
}

async fn event(peer: &mut Peer) -> Option<Value> {
    timeout(PATIENCE, peer.event()).await.expect("an event, or the end")
}

fn named(prefix: &str, count: usize, variation: &str) -> Vec<FeatureConfig> {
    (0..count).map(|number| serving(&format!("{prefix}{number}"), variation)).collect()
}

fn flags(flags: Vec<FeatureConfig>) -> Update {
    Update::Flags("e".to_owned(), flags)
}

#[tokio::test]
async fn a_change_is_told_after_it_can_be_read() {
    let relay = Relay::start(vec![serving("f", "true")]);
    let token = relay.token("e-key").await;
    let mut peer = stream(&relay, "e-key").await;
    for round in 0..50 {
        relay.tell(flags(vec![serving("f", if round % 2 == 0 { "false" } else { "true" })]));
        let told = event(&mut peer).await.unwrap();
        assert_eq!(
            (&told["event"], &told["domain"], &told["identifier"]),
            (&json!("patch"), &json!("flag"), &json!("f"))
        );
        let read = relay.get("/client/env/e/feature-configs/f", &token).await.json();
        assert_eq!(read["version"], told["version"], "round {round}");
    }
    relay.tell(flags(Vec::new()));
    assert_eq!(event(&mut peer).await.unwrap()["event"], "delete");
}

#[tokio::test]
async fn revoking_one_key_closes_its_streams_and_no_others() {
    let relay = Relay::start(vec![serving("f", "true")]);
    relay.tell(Update::AddKey("e".to_owned(), KeyHash::of("second")));
    let old = relay.token("e-key").await;
    let mut first = stream(&relay, "e-key").await;
    let mut also = stream(&relay, "e-key").await;
    let mut second = stream(&relay, "second").await;
    let mut other = stream(&relay, "other-key").await;
    relay.tell(Update::RemoveKey("e".to_owned(), KeyHash::of("e-key")));
    assert_eq!(event(&mut first).await, None);
    assert_eq!(event(&mut also).await, None);
    assert_eq!(relay.get("/client/env/e/feature-configs", &old).await.status, 401);
    relay.tell(flags(vec![serving("f", "false")]));
    assert_eq!(event(&mut second).await.unwrap()["identifier"], "f");
    relay.tell(Update::Flags("other".to_owned(), vec![serving("g", "false")]));
    assert_eq!(event(&mut other).await.unwrap()["identifier"], "g");
    relay.tell(Update::Remove("other".to_owned()));
    assert_eq!(event(&mut other).await, None, "the key went with its environment");
}

#[tokio::test]
async fn many_changes_are_told_one_a_chunk_and_in_order() {
    let relay = Relay::start(named("f", 300, "true"));
    let mut peer = stream(&relay, "e-key").await;
    relay.tell(flags(named("f", 300, "false")));
    let mut told = Vec::new();
    while told.len() < 300 {
        told.push(event(&mut peer).await.unwrap()["identifier"].as_str().unwrap().to_owned());
    }
    let mut expected: Vec<_> = (0..300).map(|number| format!("f{number}")).collect();
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn who_never_reads_is_not_cut_off_and_hears_the_last_of_everything() {
    let prefix = "x".repeat(200);
    let relay = Relay::start(named(&prefix, 200, "true"));
    let mut slow = open(&relay, Peer::narrow(relay.port).await, "e-key", "").await;
    let mut quick = stream(&relay, "e-key").await;
    // More than any buffer takes.
    for round in 0..40 {
        relay.tell(flags(named(&prefix, 200, if round % 2 == 0 { "false" } else { "true" })));
    }
    // Ten minutes of heartbeats that nobody reads.
    time::pause();
    for _ in 0..60 {
        time::advance(Duration::from_secs(10)).await;
        tokio::task::yield_now().await;
    }
    time::resume();
    let versions: BTreeMap<String, u64> = relay
        .store
        .environment("e")
        .unwrap()
        .as_told()
        .flags
        .into_iter()
        .map(|flag| (flag.feature, flag.version))
        .collect();
    for peer in [&mut quick, &mut slow] {
        let (mut heard, mut count) = (BTreeMap::new(), 0);
        while heard != versions {
            let told = event(peer).await.expect("nobody is cut off");
            let before = heard
                .insert(told["identifier"].as_str().unwrap().to_owned(), told["version"].as_u64().unwrap());
            assert!(before < told["version"].as_u64(), "versions only grow");
            count += 1;
        }
        assert!(count < 200 * 40, "what was changed again meanwhile is told once");
    }
}

#[tokio::test]
async fn what_changed_between_the_token_and_the_stream_is_told() {
    let relay = Relay::start(vec![serving("f", "true"), serving("g", "true")]);
    relay.tell(flags(vec![serving("f", "true"), serving("g", "false")]));
    let token = relay.token("e-key").await;
    relay.tell(flags(vec![serving("f", "false"), serving("g", "false")]));
    let mut peer = Peer::connect(relay.port).await;
    peer.send(&request(&token, "e-key", "")).await;
    peer.head().await;
    let mut told = Vec::new();
    while !told.contains(&json!("f")) {
        told.push(event(&mut peer).await.unwrap()["identifier"].clone());
    }
}

#[tokio::test]
async fn a_client_is_pushed_its_own_values() {
    let relay = Relay::start(vec![pro(), serving("f", "true")]);
    let header = |plan: &str| {
        let target = json!({ "identifier": "ann", "attributes": { "plan": plan } });
        format!("Harness-Target: {}\r\n", STANDARD.encode(target.to_string()))
    };
    let mut free = open(&relay, Peer::connect(relay.port).await, "e-key", &header("free")).await;
    let mut paid = open(&relay, Peer::connect(relay.port).await, "e-key", &header("pro")).await;
    let mut changed = pro();
    changed.prerequisites =
        serde_json::from_value(json!([{ "feature": "f", "variations": ["true"] }])).unwrap();
    relay.tell(flags(vec![changed, serving("f", "true")]));
    for (peer, value) in [(&mut free, "false"), (&mut paid, "true")] {
        let told = event(peer).await.unwrap();
        let expected = json!([{ "flag": "pro", "identifier": value, "kind": "boolean", "value": value }]);
        assert_eq!(told["evaluations"], expected);
    }
}

#[tokio::test]
async fn a_stop_ends_streams_in_good_order_and_cuts_nothing() {
    let relay = Relay::start(vec![serving("f", "true")]);
    let mut peers = Vec::new();
    for _ in 0..20 {
        peers.push(stream(&relay, "e-key").await);
    }
    relay.drain.ask();
    for peer in &mut peers {
        assert_eq!(event(peer).await, None);
    }
    timeout(PATIENCE, relay.drain.idle()).await.unwrap();
    assert_eq!(relay.drain.cut(), 0);
}

#[tokio::test]
async fn a_page_hears_that_it_should_ask_again() {
    let relay = Relay::start(vec![serving("f", "true")]);
    let asked = relay
        .post("/ofrep/v1/evaluate/flags", "X-API-Key: e-key\r\n", r#"{"context":{"targetingKey":"a"}}"#)
        .await;
    let uri = asked.json()["eventStreams"][0]["endpoint"]["requestUri"].as_str().unwrap().to_owned();
    let again = relay
        .post("/ofrep/v1/evaluate/flags", "X-API-Key: e-key\r\n", r#"{"context":{"targetingKey":"b"}}"#)
        .await;
    assert_eq!(
        again.json()["eventStreams"][0]["endpoint"]["requestUri"],
        uri,
        "a provider keeps its stream then"
    );
    let mut peer = Peer::connect(relay.port).await;
    peer.send(&format!("GET {uri} HTTP/1.1\r\n\r\n")).await;
    peer.head().await;
    relay.tell(flags(vec![serving("f", "false"), serving("g", "true")]));
    assert_eq!(event(&mut peer).await, Some(json!({ "type": "refetchEvaluation" })));
}

#[tokio::test]
async fn http_1_0_is_told_without_chunks() {
    let relay = Relay::start(vec![serving("f", "true")]);
    let token = relay.token("e-key").await;
    let mut peer = Peer::connect(relay.port).await;
    peer.send(&request(&token, "e-key", "").replace("HTTP/1.1", "HTTP/1.0")).await;
    let head = peer.head().await;
    assert!(head.contains("Connection: close") && !head.contains("chunked"), "{head}");
}
