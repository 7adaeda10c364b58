//! Unmodified SDKs against a relay without a network: they start, evaluate, see a change as it happens, and post what
//! they evaluated.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    flag::{FlagRelay, KEY, Kind, Sdk},
    http,
    wait::wait_for,
};

fn flags(f1: bool) -> String {
    format!(
        r##"
flags:
  f1: {{ default: {f1} }}
  behind: {{ default: true, requires: {{ f1: true }} }}
  staff-only: {{ groups: {{ true: [staff] }} }}
  both: {{ rules: [{{ when: {{ email: {{ ends_with: "@x.io" }}, identifier: {{ equal: JAMES }} }}, serve: true }}] }}
  neither: {{ rules: [{{ when: {{ email: {{ ends_with: "@x.io" }}, identifier: {{ equal: eve }} }}, serve: true }}] }}
  color: {{ kind: string, variations: {{ blue: "Größe #00f", green: "#0f0" }}, default: blue }}
  limit: {{ kind: int, variations: {{ low: 10, high: 99 }}, default: high }}
  theme: {{ kind: json, variations: {{ plain: {{ size: 1 }} }}, default: plain }}
  half: {{ split: {{ weights: {{ true: 18, false: 82 }} }} }}
groups:
  staff: {{ rules: [{{ email: {{ ends_with: "@x.io" }} }}] }}
"##
    )
}

/// What every SDK must answer; `identifier:james` falls into bucket 18.
const VALUES: [(&str, &str); 9] = [
    ("bool f1 true", "false"),
    ("bool behind true", "false"),
    ("bool staff-only false", "true"),
    ("bool both false", "true"),
    ("bool neither true", "false"),
    ("bool half false", "true"),
    ("string color", "\"Größe #00f\""),
    ("number limit", "99"),
    ("json theme", "{\"size\":1}"),
];

fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Starts, evaluates, sees a change, and returns.
fn live(kind: Kind, relay: &FlagRelay) -> Sdk {
    let mut sdk = Sdk::start(kind, &relay.url(), KEY, &[]);
    assert_eq!(sdk.ask("ready"), json!(true), "{kind:?}");
    for (command, expected) in VALUES {
        let told = sdk.ask(command);
        // Languages write whole numbers in two ways.
        let same = told == value(expected) || told.as_f64() == Some(99.0) && command == "number limit";
        assert!(same, "{kind:?} {command}: {told}");
    }
    relay.write(&flags(true));
    sdk.wait("bool f1 false", &json!(true));
    sdk.wait("bool behind false", &json!(true));
    sdk
}

fn streams(relay: &FlagRelay) -> Value {
    value(&http::get(relay.status, "/api/v1/streams"))["streams"].clone()
}

/// Waits until this flag was posted as evaluated by this language.
fn posted(relay: &FlagRelay, flag: &str, language: &str, version: &str) {
    wait_for(format!("{language} to post {flag}"), || {
        let told = value(&http::get(relay.status, "/api/v1/usage"));
        let uses = told["uses"].as_array().unwrap().clone();
        uses.iter()
            .find(|used| used["flag"] == flag && used["language"] == language && used["version"] == version)
            .map(|_| ())
    });
}

fn check(kind: Kind, name: &str, language: &str, version: &str, is_posted_at_close: bool) {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), &flags(false), &[]);
    let mut sdk = live(kind, &relay);
    let told = wait_for("the stream in the roster", || {
        Some(streams(&relay)).filter(|told| told.as_array().is_some_and(|told| told.len() == 1))
    });
    assert_eq!(told[0]["language"], name);
    if is_posted_at_close {
        sdk.ask("close");
    }
    posted(&relay, "staff-only", language, version);
    let health = value(&http::get(relay.port, "/health"));
    assert_eq!(
        (&health["configStatus"]["state"], &health["cacheStatus"]),
        (&json!("SYNCED"), &json!("healthy"))
    );
    drop(sdk);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn the_python_sdk_is_served() {
    // The package is of 1.7.5 and calls itself so.
    check(Kind::Python, "Python", "python", "1.7.3", true);
}

#[test]
fn the_node_sdk_is_served() {
    check(Kind::Node, "NodeJS", "javascript", "1.8.12", true);
}

#[test]
fn the_javascript_client_is_told_its_values_and_does_not_ask_again() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), &flags(false), &[]);
    let mut sdk = live(Kind::Client, &relay);
    assert_eq!(sdk.ask("asked"), json!(1), "once at the start, and never for a change");
    let told = streams(&relay);
    assert_eq!((&told[0]["language"], &told[0]["type"]), (&json!("Javascript"), &json!("client")));
    posted(&relay, "staff-only", "JavaScript", "1.32.0");
    drop(sdk);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn openfeature_on_a_server_is_served_from_the_same_rules() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), &flags(false), &[]);
    let mut sdk = live(Kind::Ofrep, &relay);
    let details = |sdk: &mut Sdk, flag: &str| {
        let told = sdk.ask(&format!("details {flag}"));
        (told["variant"].clone(), told["reason"].clone())
    };
    assert_eq!(details(&mut sdk, "staff-only"), (json!("true"), json!("TARGETING_MATCH")));
    assert_eq!(details(&mut sdk, "half"), (json!("true"), json!("SPLIT")));
    assert_eq!(details(&mut sdk, "f1"), (json!("true"), json!("STATIC")));
    assert_eq!(sdk.ask("details gone")["errorCode"], "FLAG_NOT_FOUND");
    drop(sdk);
    assert_eq!(relay.stop(), 0);
}

#[test]
fn openfeature_in_a_page_hears_of_changes_and_of_its_own_context() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), &flags(false), &[]);
    let mut sdk = Sdk::start(Kind::Web, &relay.url(), KEY, &[]);
    assert_eq!(sdk.ask("ready"), json!(true));
    assert_eq!(sdk.ask("bool staff-only false"), json!(true));
    // Only an attribute is another: the flags are the same, and their values are not.
    sdk.ask("context eve@y.io");
    assert_eq!(sdk.ask("bool staff-only true"), json!(false));
    sdk.ask("context james@x.io");
    assert_eq!(sdk.ask("bool staff-only false"), json!(true));
    wait_for("the stream", || streams(&relay).as_array().filter(|told| !told.is_empty()).map(|_| ()));
    relay.write(&flags(true));
    sdk.wait("bool f1 false", &json!(true));
    drop(sdk);
    assert_eq!(relay.stop(), 0);
}

/// Many changes at once: an SDK that loses one keeps an old value for good, and one of them ends on half an event.
#[test]
fn no_sdk_loses_one_of_many_changes() {
    let many = |on: bool| {
        let flags: String = (0..250).map(|number| format!("  f{number}: {{ default: {on} }}\n")).collect();
        format!("flags:\n{flags}")
    };
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), &many(false), &[]);
    let mut sdks: Vec<Sdk> = [Kind::Python, Kind::Node, Kind::Client]
        .into_iter()
        .map(|kind| Sdk::start(kind, &relay.url(), KEY, &[]))
        .collect();
    for sdk in &mut sdks {
        assert_eq!(sdk.ask("ready"), json!(true));
    }
    wait_for("three streams", || {
        let told = streams(&relay);
        let count: u64 = told.as_array().unwrap().iter().filter_map(|told| told["streams"].as_u64()).sum();
        (count == 3).then_some(())
    });
    for on in [true, false, true] {
        relay.write(&many(on));
        for sdk in &mut sdks {
            for number in (0..250).rev() {
                sdk.wait(&format!("bool f{number} {}", !on), &json!(on));
            }
        }
    }
    drop(sdks);
    assert_eq!(relay.stop(), 0);
}

/// SDKs come back by themselves, after some seconds, and ask for nothing then: what changed while nobody was there is
/// told when their streams begin.
#[test]
fn sdks_that_were_cut_off_catch_up() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), &flags(false), &[]);
    let mut sdks: Vec<Sdk> =
        [Kind::Python, Kind::Node].into_iter().map(|kind| Sdk::start(kind, &relay.url(), KEY, &[])).collect();
    for sdk in &mut sdks {
        assert_eq!(sdk.ask("ready"), json!(true));
        assert_eq!(sdk.ask("bool f1 true"), json!(false));
    }
    wait_for("two streams", || {
        let told = streams(&relay);
        let count: u64 = told.as_array().unwrap().iter().filter_map(|told| told["streams"].as_u64()).sum();
        (count == 2).then_some(())
    });
    let port = relay.port;
    relay.daemon.take().unwrap().kill();
    for sdk in &mut sdks {
        assert_eq!(sdk.ask("bool f1 true"), json!(false), "what it has, it keeps");
    }
    relay.write(&flags(true));
    relay.again(port);
    for sdk in &mut sdks {
        sdk.wait("bool f1 false", &json!(true));
        sdk.wait("bool behind false", &json!(true));
    }
    drop(sdks);
    assert_eq!(relay.stop(), 0);
}
