//! The whole of what SDKs see, over loopback.

mod peer;
mod secure;
mod streams;

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use common::{drain::Drain, listen};
use serde_json::{Value, json};

use self::peer::{Peer, Told};
use super::*;
use crate::{
    api::Seen,
    example::{environment, flag, serving},
    meters::Meters,
    roster::Roster,
    shape::FeatureConfig,
    source::standing::Standing,
    store::{Store, Update},
    token::Tokens,
    usage::Usage,
};

/// A relay that serves what the test tells its store.
struct Relay {
    store: Arc<Store>,
    port: u16,
    drain: Drain,
}

impl Relay {
    /// It serves these flags in the environment `e`, opened by `e-key`, and nothing in `other`.
    fn start(flags: Vec<FeatureConfig>) -> Self {
        Self::start_with(flags, |_| {})
    }

    fn start_with(flags: Vec<FeatureConfig>, change: impl FnOnce(&mut Api)) -> Self {
        Self::start_over(flags, change, None)
    }

    fn start_over(
        flags: Vec<FeatureConfig>,
        change: impl FnOnce(&mut Api),
        tls: Option<TlsAcceptor>,
    ) -> Self {
        let store = Arc::new(Store::default());
        let other = Update::Environment(environment("other", vec![serving("g", "true")]));
        let applied = store.apply(vec![Update::Environment(environment("e", flags)), other]);
        assert!(applied.refused.is_empty());
        let mut api = Api {
            targets: std::sync::OnceLock::new(),
            store: Arc::clone(&store),
            standing: Arc::new(Standing::new(1)),
            tokens: Tokens::new(b"test"),
            bypass_auth: false,
            seen: Seen::default(),
            usage: Usage::default(),
            meters: Arc::new(Meters::default()),
            roster: Roster::default(),
            shows_metrics: false,
        };
        change(&mut api);
        let listener = listen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let drain = Drain::default();
        let front = Arc::new(Front::new(Arc::new(api), tls, 1000, Duration::from_millis(50)));
        drain.spawn(front.accept(listener, drain.clone()));
        Self { store, port, drain }
    }

    fn tell(&self, update: Update) {
        assert!(self.store.apply(vec![update]).refused.is_empty());
    }

    async fn ask(&self, request: &str) -> Told {
        Peer::connect(self.port).await.ask(request).await
    }

    async fn post(&self, path: &str, more: &str, body: &str) -> Told {
        self.ask(&format!("POST {path} HTTP/1.1\r\n{more}Content-Length: {}\r\n\r\n{body}", body.len())).await
    }

    async fn get(&self, path: &str, token: &str) -> Told {
        self.ask(&format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n")).await
    }

    async fn token(&self, key: &str) -> String {
        let told = self.post("/client/auth", "", &json!({ "apiKey": key }).to_string()).await;
        assert_eq!(told.status, 200, "{}", told.body);
        told.json()["authToken"].as_str().unwrap().to_owned()
    }
}

fn pro() -> FeatureConfig {
    let clause = crate::example::clause("plan", "equal", &["pro"]);
    flag(
        "pro",
        json!({ "rules": [{ "priority": 1, "clauses": [clause], "serve": { "variation": "true" } }] }),
    )
}

#[tokio::test]
async fn every_refusal_has_its_code() {
    let relay = Relay::start(vec![serving("f", "true")]);
    let token = relay.token("e-key").await;
    let check = |told: Told, status: u16| {
        assert_eq!(told.status, status, "{}", told.body);
        assert!(told.json()["error"].is_string(), "{}", told.body);
        assert_eq!(told.header("access-control-allow-origin"), Some("*"));
        assert!(told.header("x-request-id").is_some());
    };
    for (body, status) in [
        ("", 400),
        ("{", 400),
        ("{}", 400),
        (r#"{"apiKey":""}"#, 400),
        (r#"{"apiKey":"unknown"}"#, 401),
        (r#"{"apiKey":"e-key","target":{"identifier":"a b"}}"#, 400),
        (r#"{"apiKey":"e-key","target":{"identifier":"a","name":"<"}}"#, 400),
    ] {
        check(relay.post("/client/auth", "", body).await, status);
    }
    let foreign = Tokens::new(b"foreign").sign(
        &relay.store.environment("e").unwrap(),
        &crate::secret::KeyHash::of("e-key"),
        1,
        1,
    );
    for token in ["", "x", foreign.as_str(), &"x".repeat(20_000)] {
        check(relay.get("/client/env/e/feature-configs", token).await, 401);
    }
    check(relay.get("/client/env/other/feature-configs", &token).await, 401);
    check(relay.get("/client/env/e/feature-configs/gone", &token).await, 404);
    check(relay.get("/client/env/e/target-segments/gone", &token).await, 404);
    check(relay.get("/client/env/e/target/t/evaluations/gone", &token).await, 404);
    check(relay.get("/stream", &token).await, 400);
    check(relay.get("/metrics", &token).await, 404);
    check(relay.get("/nowhere", &token).await, 404);
    check(relay.get("/client/auth", &token).await, 405);
    check(relay.post("/metrics/e", &format!("Authorization: Bearer {token}\r\n"), "{").await, 400);
    let stream = |key: &str| {
        format!("GET /stream HTTP/1.1\r\nAuthorization: Bearer {token}\r\nAPI-Key: {key}\r\n\r\n")
    };
    check(relay.ask(&stream("unknown")).await, 404);
    check(relay.ask(&stream("other-key")).await, 401);
}

#[tokio::test]
async fn what_is_told_is_told_in_its_shape() {
    let relay = Relay::start(vec![serving("f", "true"), pro()]);
    let token = relay.token("e-key").await;
    let values = relay.get("/client/env/e/target/t/evaluations", &token).await;
    let expected = r#"[{"flag":"f","identifier":"true","kind":"boolean","value":"true"},{"flag":"pro","identifier":"false","kind":"boolean","value":"false"}]"#;
    assert_eq!(values.body, expected);
    let preflight = relay.ask("OPTIONS /client/auth HTTP/1.1\r\nOrigin: http://x\r\n\r\n").await;
    assert_eq!(
        (preflight.status, preflight.header("access-control-allow-headers")),
        (204, Some("*, Authorization"))
    );
    let echoed = relay.ask("GET /health HTTP/1.1\r\nX-Request-Id: mine\r\n\r\n").await;
    assert_eq!(echoed.header("x-request-id"), Some("mine"));
    let metrics = relay
        .post("/metrics/e", &format!("Authorization: Bearer {token}\r\n"), r#"{"metricsData":[]}"#)
        .await;
    assert_eq!((metrics.status, metrics.body.as_str()), (200, "null"));
}

#[tokio::test]
async fn a_target_is_what_the_request_says_or_what_was_said_before() {
    let relay = Relay::start(vec![pro()]);
    let target = json!({ "identifier": "ann", "attributes": { "plan": "pro" } });
    let told =
        relay.post("/client/auth", "", &json!({ "apiKey": "e-key", "target": target }).to_string()).await;
    let token = told.json()["authToken"].as_str().unwrap().to_owned();
    let value = async |who: &str, header: &str| {
        let head = format!(
            "GET /client/env/e/target/{who}/evaluations/pro HTTP/1.1\r\nAuthorization: Bearer {token}\r\n"
        );
        relay.ask(&format!("{head}{header}\r\n")).await.json()["value"].as_str().unwrap().to_owned()
    };
    let header = |target: &Value| format!("Harness-Target: {}\r\n", STANDARD.encode(target.to_string()));
    assert_eq!(value("ann", "").await, "true");
    assert_eq!(value("bob", "").await, "false");
    assert_eq!(
        value("bob", &header(&json!({ "identifier": "bob", "attributes": { "plan": "pro" } }))).await,
        "true"
    );
    assert_eq!(value("ann", &header(&json!({ "identifier": "ann" }))).await, "false", "the header is newer");
    assert_eq!(
        value("ann", "Harness-Target: %%%\r\n").await,
        "true",
        "a header that says nothing is as good as none"
    );
    let large = json!({ "identifier": "bob", "attributes": { "plan": "pro", "x": "y".repeat(190_000) } });
    assert_eq!(value("bob", &header(&large)).await, "true", "as long as SDKs send it");
}

#[tokio::test]
async fn who_sends_too_much_is_refused_and_nobody_else_notices() {
    let relay = Relay::start(vec![serving("f", "true")]);
    let huge = format!("GET /health HTTP/1.1\r\nHarness-Target: {}\r\n\r\n", "x".repeat(300 << 10));
    assert_eq!(relay.ask(&huge).await.status, 431);
    let long = "POST /client/auth HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n";
    assert_eq!(relay.ask(&format!("{long}{}", " ".repeat(5 << 20))).await.status, 413);
    assert_eq!(relay.ask("BREW / HTCPCP\r\n\r\n").await.status, 400);
    relay.token("e-key").await;
}

#[tokio::test]
async fn without_a_check_of_tokens_everybody_reads() {
    let relay = Relay::start_with(vec![serving("f", "true")], |api| api.bypass_auth = true);
    let told = relay.ask("GET /client/env/e/feature-configs/f HTTP/1.1\r\n\r\n").await;
    assert_eq!(told.json()["feature"], "f");
    let told = relay.ask("GET /client/env/nobody/feature-configs HTTP/1.1\r\n\r\n").await;
    assert_eq!((told.status, told.body.as_str()), (200, "[]"));
}

#[tokio::test]
async fn ofrep_answers_from_the_same_rules_and_its_tag_knows_the_context() {
    let relay = Relay::start(vec![serving("f", "true"), pro()]);
    let ask = async |context: &str, more: &str| {
        let body = format!(r#"{{"context":{{"targetingKey":"ann","plan":"{context}"}}}}"#);
        relay.post("/ofrep/v1/evaluate/flags", &format!("X-API-Key: e-key\r\n{more}"), &body).await
    };
    let first = ask("free", "").await;
    let tag = first.header("etag").unwrap().to_owned();
    let told = first.json();
    let expected = json!({ "key": "pro", "variant": "false", "value": false, "reason": "STATIC" });
    assert_eq!((told["flags"].as_array().unwrap().len(), &told["flags"][1]), (2, &expected));
    let uri = told["eventStreams"][0]["endpoint"]["requestUri"].as_str().unwrap();
    assert!(uri.starts_with("/ofrep/v1/events?token="));
    let known = format!("If-None-Match: {tag}\r\n");
    assert_eq!(ask("free", &known).await.status, 304);
    let other = ask("pro", &known).await;
    assert_eq!(
        (other.status, &other.json()["flags"][1]["value"]),
        (200, &json!(true)),
        "another context is another answer"
    );
    relay.tell(Update::Flags("e".to_owned(), vec![serving("f", "false"), pro()]));
    assert_eq!(ask("free", &known).await.status, 200, "other flags are another answer");
    let one = relay
        .post(
            "/ofrep/v1/evaluate/flags/gone",
            "Authorization: Bearer e-key\r\n",
            r#"{"context":{"targetingKey":"a"}}"#,
        )
        .await;
    assert_eq!(
        (one.status, &one.json()["errorCode"], &one.json()["key"]),
        (404, &json!("FLAG_NOT_FOUND"), &json!("gone"))
    );
    let nobody = relay.post("/ofrep/v1/evaluate/flags", "X-API-Key: unknown\r\n", "{}").await;
    assert_eq!(nobody.status, 401);
}
