//! What is shipped beside flag-relay: the documented topology comes up as it is written, and the dashboard asks for
//! numbers that are there.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    flag::ENVIRONMENT,
    flags::{Follower, House, Saas, ask, flag},
    http,
    redis::Redis,
    wait::wait_for,
};

fn serves(relay: &Follower, name: &str, value: &str) {
    let what = format!("{name} to be {value}");
    wait_for(what, || relay.served(name).filter(|served| served.0 == value));
}

/// The variables of a service of the compose file that is shipped.
fn shipped(service: &str) -> Vec<(String, String)> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/docker/flag-relay.compose.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let part = text.split(&format!("\n  {service}:\n")).nth(1).unwrap();
    let part = part.split("environment:\n").nth(1).unwrap();
    let lines = part.lines().map_while(|line| line.strip_prefix("      - "));
    lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, told)| (name.to_owned(), told.to_owned()))
        .collect()
}

#[test]
fn the_documented_topology_comes_up_as_it_is_written() {
    let folder = TempDir::new().unwrap();
    let mut saas = Saas::start(folder.path());
    let redis = Redis::start(&folder.path().join("redis"));
    let key = std::fs::read_to_string(folder.path().join("proxy-key")).unwrap();
    let service = format!("http://127.0.0.1:{}/api/1.0", saas.port);
    let start = |name: &str| {
        let told: Vec<_> = shipped(name)
            .into_iter()
            .map(|(name, told)| {
                let told = match told.as_str() {
                    "redis:6379" => redis.address(),
                    "http://saas:7100/api/1.0" => service.clone(),
                    "${PROXY_KEY:-}" => key.trim().to_owned(),
                    told if told.starts_with("${AUTH_SECRET:?") => "foobar".to_owned(),
                    told => told.to_owned(),
                };
                assert!(!told.contains('$'), "{name}={told}");
                (name, told)
            })
            .collect();
        assert!(told.len() > 3, "{told:?}");
        let told: Vec<_> = told.iter().map(|(name, told)| (name.as_str(), told.as_str())).collect();
        Follower::start_alone(&folder.path().join(name), &told)
    };
    let mut relays = ["primary", "replica-1", "replica-2"].map(start);
    saas.put_flag(&flag("f1", true));
    for relay in &relays {
        serves(relay, "f1", "true");
    }
    let token = relays[1].token();
    for relay in &relays {
        let url = format!("{}/client/env/{ENVIRONMENT}/feature-configs/f1", relay.url());
        assert_eq!(ask("GET", &url, token.as_deref(), &Value::Null).0, 200, "they take each other's tokens");
    }
    assert_eq!((relays.each_mut().map(Follower::stop), saas.stop()), ([0, 0, 0], 0));
}

#[test]
fn numbers_have_their_documented_names_and_the_dashboard_asks_for_no_other() {
    let house = House::new();
    house.saas.put_flag(&flag("f1", true));
    serves(&house.replica, "f1", "true");
    let tell = |relay: &Follower| {
        let body = json!({ "metricsData": [{ "count": 1, "attributes": [{ "key": "featureIdentifier", "value": "f1" }] }] });
        assert_eq!(
            ask("POST", &format!("{}/metrics/{ENVIRONMENT}", relay.url()), relay.token().as_deref(), &body).0,
            200
        );
    };
    tell(&house.primary);
    tell(&house.replica);
    let told = || {
        format!(
            "{}{}",
            http::get(house.primary.status, "/metrics"),
            http::get(house.replica.status, "/metrics")
        )
    };
    let has = |told: &str, name: &str| {
        told.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
    };
    wait_for("metrics to be passed on", || has(&told(), "ff_proxy_metrics_forwarded").then_some(()));
    let told = told();
    let mut names: Vec<String> = [
        "http_requests_total",
        "sdk_usage",
        "to_client_service_requests",
        "stream_health",
        "polling_status",
        "metrics_forwarded",
    ]
    .map(|name| format!("ff_proxy_{name}"))
    .into();
    for name in ["http_requests_duration", "to_ff_client_service_requests_duration"] {
        names.push(format!("ff_proxy_{name}_bucket"));
    }
    names.push("ff_http_requests_content_length_histogram_bucket".to_owned());
    for name in ["write", "read", "delete", "scan"] {
        names.push(format!("ff_proxy_redis_cache_{name}_duration_bucket"));
    }
    for name in ["write", "read", "remove", "scan"] {
        names.push(format!("ff_proxy_redis_cache_{name}_count"));
    }
    for name in ["miss", "hit", "write_marshal", "hit_with_unmarshal"] {
        names.push(format!("ff_proxy_memoize_cache_{name}"));
    }
    for (stream, end) in [
        ("saas_to_primary_sse_consumer", "received"),
        ("primary_to_replica_sse_producer", "published"),
        ("primary_to_sdk_sse_producer", "published"),
        ("replica_sse_consumer", "received"),
        ("replica_to_sdk_sse_producer", "published"),
        ("primary_metrics_stream_consumer", "received"),
        ("replica_metrics_stream_producer", "published"),
    ] {
        names.push(format!("ff_proxy_{stream}_messages_{end}"));
        names.push(format!("ff_proxy_{stream}_subscription_requests"));
    }
    for name in &names {
        assert!(has(&told, name), "{name} is not in {told}");
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/grafana/flag-relay.json");
    let board: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let panels = board["panels"].as_array().unwrap().iter();
    let questions: Vec<&str> = panels
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(questions.len() > 15);
    // A counter of which nothing was counted yet is not told.
    let quiet = ["flag_relay_streams_ended_total"];
    for question in questions {
        let words = question.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("ff_") || word.starts_with("flag_relay")) {
            assert!(has(&told, word) || quiet.contains(&word), "{word} of the dashboard is not in {told}");
        }
    }
    house.end();
}
