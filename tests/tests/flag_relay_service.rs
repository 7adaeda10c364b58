//! A relay that follows a flag service: restarts, rotations, deletion, faults, metrics and the export.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    daemon::binary,
    flag::{ENVIRONMENT, KEY},
    flags::{Follower, Saas, ask, flag, text_flag},
    wait::{wait_for, wait_within},
};

/// Failures one after the other are let pass longer each time.
const PATIENCE: Duration = Duration::from_secs(180);

fn both(folder: &TempDir) -> (Saas, Follower) {
    let saas = Saas::start(folder.path());
    let relay = Follower::start(folder.path(), &saas);
    wait_for("the stream", || (relay.health() == state("SYNCED", "CONNECTED")).then_some(()));
    (saas, relay)
}

fn state(config: &str, stream: &str) -> (String, String) {
    (config.to_owned(), stream.to_owned())
}

fn serves(relay: &Follower, name: &str, value: &str) {
    let what = format!("{name} to be {value}");
    wait_for(what, || relay.served(name).filter(|served| served.0 == value));
}

#[test]
fn changes_come_as_they_happen_and_what_was_there_outlives_the_service() {
    let folder = TempDir::new().unwrap();
    let (mut saas, mut relay) = both(&folder);
    serves(&relay, "f1", "false");
    saas.put_flag(&flag("f1", true));
    serves(&relay, "f1", "true");
    saas.put_flag(&flag("f2", true));
    serves(&relay, "f2", "true");
    saas.admin("DELETE", &format!("/admin/environments/{ENVIRONMENT}/flags/f2"), &Value::Null);
    wait_for("f2 to go", || relay.served("f2").is_none().then_some(()));
    assert_eq!(saas.stop(), 0);
    wait_for("staleness to be told", || {
        (relay.health() == state("FAILED_TO_SYNC", "DISCONNECTED")).then_some(())
    });
    serves(&relay, "f1", "true");
    let token = relay.token().unwrap();
    assert_eq!(relay.stop(), 0);
    relay.again();
    assert_eq!(relay.served("f1").unwrap().0, "true", "what was kept is served at once");
    let url = format!("{}/client/env/{ENVIRONMENT}/feature-configs/f1", relay.url());
    assert_eq!(ask("GET", &url, Some(&token), &Value::Null).0, 200, "for the same tokens");
    saas.again();
    saas.put_flag(&flag("f1", false));
    serves(&relay, "f1", "false");
    wait_for("it to be well", || (relay.health() == state("SYNCED", "CONNECTED")).then_some(()));
    assert_eq!((relay.stop(), saas.stop()), (0, 0));
}

#[test]
fn environments_and_sdk_keys_come_and_go() {
    let folder = TempDir::new().unwrap();
    let (mut saas, mut relay) = both(&folder);
    let place = json!({ "org": "o", "project": "p", "identifier": "dev" });
    saas.put("/admin/environments/dev", &place);
    let made = saas.admin("POST", "/admin/environments/dev/keys", &json!({}));
    let auth = || {
        let body = json!({ "apiKey": made["key"] });
        ask("POST", &format!("{}/client/auth", relay.url()), None, &body).0
    };
    wait_for("the new key", || (auth() == 200).then_some(()));
    let hash = made["hash"].as_str().unwrap();
    saas.admin("DELETE", &format!("/admin/environments/dev/keys/{hash}"), &Value::Null);
    wait_for("the key to go", || (auth() == 401).then_some(()));
    assert!(relay.token().is_some(), "and no other");
    saas.admin("POST", "/admin/environments/dev/keys", &json!({ "key": made["key"] }));
    wait_for("the key again", || (auth() == 200).then_some(()));
    saas.admin("DELETE", "/admin/environments/dev", &Value::Null);
    wait_for("the environment to go", || (auth() == 401).then_some(()));
    assert!(relay.token().is_some(), "and no other");
    assert_eq!((relay.stop(), saas.stop()), (0, 0));
}

#[test]
fn a_rotation_without_a_buffer_cuts_the_relay_off_and_takes_nothing_from_sdks() {
    let folder = TempDir::new().unwrap();
    let (mut saas, mut relay) = both(&folder);
    let made = saas.rotate("");
    wait_for("the relay to be cut off", || {
        (relay.health() == state("FAILED_TO_SYNC", "DISCONNECTED")).then_some(())
    });
    saas.put_flag(&flag("f1", true));
    relay.daemon.as_ref().unwrap().wait_for_line("refuses the proxy key");
    assert_eq!(relay.served("f1").unwrap().0, "false", "it is cut off, and serves what it had");
    saas.bring(&made);
    serves(&relay, "f1", "true");
    assert_eq!((relay.stop(), saas.stop()), (0, 0));
}

#[test]
fn a_rotation_with_a_buffer_leaves_time() {
    let folder = TempDir::new().unwrap();
    let (mut saas, mut relay) = both(&folder);
    let made = saas.rotate("2");
    saas.put_flag(&flag("f1", true));
    serves(&relay, "f1", "true");
    assert_eq!(relay.health(), state("SYNCED", "CONNECTED"), "the old value is good");
    saas.fail(&json!({ "clock_ahead_s": 7199 }));
    saas.put_flag(&flag("f1", false));
    serves(&relay, "f1", "false");
    saas.fail(&json!({ "clock_ahead_s": 7300 }));
    relay.daemon.as_ref().unwrap().wait_for_line("refuses the proxy key");
    saas.put_flag(&flag("f1", true));
    assert_eq!(relay.served("f1").unwrap().0, "false");
    saas.bring(&made);
    serves(&relay, "f1", "true");
    assert_eq!((relay.stop(), saas.stop()), (0, 0));
}

#[test]
fn a_deleted_key_takes_what_it_opened_with_it() {
    for is_away in [false, true] {
        let folder = TempDir::new().unwrap();
        let (mut saas, mut relay) = both(&folder);
        serves(&relay, "f1", "false");
        if is_away {
            assert_eq!(relay.stop(), 0);
        }
        saas.admin("DELETE", "/admin/proxy/keys/relay", &Value::Null);
        if is_away {
            relay.again();
        }
        wait_for("the key to open nothing", || relay.token().is_none().then_some(()));
        assert_eq!(relay.stop(), 0);
        assert_eq!(saas.stop(), 0);
        relay.again();
        assert!(relay.token().is_none(), "nothing comes back from the disk");
        assert_eq!(relay.stop(), 0);
    }
}

#[test]
fn no_fault_shows_anything_that_was_not_or_goes_back() {
    let folder = TempDir::new().unwrap();
    let (mut saas, mut relay) = both(&folder);
    let faults = [
        json!({ "duplicate_events": true }),
        json!({ "reorder_events": true }),
        json!({ "duplicate_events": true, "reorder_events": true, "stale_lists": 4 }),
        json!({ "slow_ms": 30 }),
        json!({ "half_pages": 2 }),
        json!({ "failures": 2 }),
        json!({ "expire_tokens": true }),
        json!({ "drop_streams": true, "stale_lists": 3 }),
    ];
    saas.put_flag(&text_flag("n", "0"));
    serves(&relay, "n", "0");
    let (mut number, mut last) = (0, (0, 0));
    for fault in faults {
        saas.fail(&fault);
        for _ in 0..6 {
            number += 1;
            saas.put_flag(&text_flag("n", &number.to_string()));
            saas.put_flag(&flag("f1", number % 2 == 0));
            let (value, version) = relay.served("n").unwrap();
            let seen = (value.parse::<u64>().unwrap(), version);
            assert!(seen.0 >= last.0 && seen.1 >= last.1, "{fault}: {seen:?} after {last:?}");
            last = seen;
        }
        let number = number.to_string();
        wait_within(PATIENCE, format!("{number} in spite of {fault}"), || {
            let (value, version) = relay.served("n")?;
            let seen = (value.parse::<u64>().unwrap(), version);
            assert!(seen.0 >= last.0 && seen.1 >= last.1, "{fault}: {seen:?} after {last:?}");
            last = seen;
            (value == number).then_some(())
        });
        let what = format!("f1 in spite of {fault}");
        wait_within(PATIENCE, what, || relay.served("f1").filter(|served| served.0 == "true"));
        saas.fail(&json!({}));
    }
    assert_eq!((relay.stop(), saas.stop()), (0, 0));
}

#[test]
fn metrics_arrive_to_the_unit_through_restarts_of_both() {
    let folder = TempDir::new().unwrap();
    let (mut saas, mut relay) = both(&folder);
    let post = |relay: &Follower, count: u64| {
        let pair = |key: &str, value: &str| json!({ "key": key, "value": value });
        let attributes = [
            pair("featureIdentifier", "f1"),
            pair("variationIdentifier", "true"),
            pair("SDK_LANGUAGE", "python"),
            pair("SDK_VERSION", "1.7.3"),
            pair("SDK_TYPE", "server"),
            pair("target", "global"),
        ];
        let data =
            json!({ "timestamp": 1, "count": count, "metricsType": "FFMETRICS", "attributes": attributes });
        let url = format!("{}/metrics/{ENVIRONMENT}", relay.url());
        let body = json!({ "metricsData": [data], "targetData": [] });
        assert_eq!(ask("POST", &url, relay.token().as_deref(), &body).0, 200);
    };
    post(&relay, 3);
    let total =
        |saas: &Saas| saas.admin("GET", "/admin/metrics", &Value::Null)[ENVIRONMENT]["f1"]["true"].as_u64();
    wait_for("3", || (total(&saas) == Some(3)).then_some(()));
    saas.daemon.take().unwrap().kill();
    post(&relay, 4);
    assert_eq!(relay.stop(), 0);
    relay.again();
    post(&relay, 5);
    saas.again();
    assert_eq!(total(&saas), Some(3), "what was answered is on disk");
    wait_for("12", || (total(&saas) == Some(12)).then_some(()));
    assert_eq!((relay.stop(), saas.stop()), (0, 0));
}

#[test]
fn targets_are_passed_on_where_that_is_wished() {
    for is_wished in [true, false] {
        let folder = TempDir::new().unwrap();
        let mut saas = Saas::start(folder.path());
        let wished = is_wished.to_string();
        let mut relay =
            Follower::start_primary(folder.path(), &saas, &[("FORWARD_TARGETS", wished.as_str())]);
        let bring = |name: &str| {
            let body =
                json!({ "apiKey": KEY, "target": { "identifier": name, "attributes": { "plan": "pro" } } });
            assert_eq!(ask("POST", &format!("{}/client/auth", relay.url()), None, &body).0, 200);
        };
        let seen = || {
            let told = saas.admin("GET", &format!("/admin/environments/{ENVIRONMENT}/targets"), &Value::Null);
            told.as_array().unwrap().clone()
        };
        bring("ann");
        if is_wished {
            let told = wait_for("the target", || seen().first().cloned());
            assert_eq!((&told["identifier"], &told["attributes"]["plan"]), (&json!("ann"), &json!("pro")));
        } else {
            saas.put_flag(&flag("f1", true));
            serves(&relay, "f1", "true");
            assert!(seen().is_empty());
        }
        assert_eq!((relay.stop(), saas.stop()), (0, 0));
    }
}

#[test]
fn what_a_key_opens_can_be_taken_along() {
    let folder = TempDir::new().unwrap();
    let mut saas = Saas::start(folder.path());
    for number in 0..25 {
        let id = format!("env-{number}");
        let place = json!({ "org": "o", "project": "p", "identifier": id });
        saas.put(&format!("/admin/environments/{id}"), &place);
    }
    let out = folder.path().join("flags");
    let export = || {
        Command::new(binary("flag-relay"))
            .arg("export")
            .arg(&out)
            .arg("--proxy-key-file")
            .arg(folder.path().join("proxy-key"))
            .arg("--client-service")
            .arg(format!("http://127.0.0.1:{}/api/1.0", saas.port))
            .output()
            .unwrap()
    };
    let done = export();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(fs::read_dir(&out).unwrap().count(), 26, "all pages");
    let again = export();
    assert!(!again.status.success(), "what is there is not written over");
    let mut relay = tests::flag::FlagRelay::start(&folder.path().join("offline"), "flags: {}", &[]);
    assert_eq!(relay.stop(), 0);
    let told = Command::new(binary("flag-relay")).arg("check").arg(&out).output().unwrap();
    assert!(told.status.success());
    let keys = fs::read_to_string(out.join(format!("env-{ENVIRONMENT}/auth_config.json"))).unwrap();
    assert!(keys.contains("d4f79b31") && !keys.contains(KEY), "keys are hashes");
    assert_eq!(saas.stop(), 0);
}

#[test]
fn an_administrator_sees_keys_and_never_their_values() {
    let folder = TempDir::new().unwrap();
    let mut saas = Saas::start(folder.path());
    let value = fs::read_to_string(folder.path().join("proxy-key")).unwrap();
    let list = saas.admin("GET", "/admin/proxy/keys?pageSize=5", &Value::Null);
    assert_eq!((&list["itemCount"], &list["proxyKeys"][0]["identifier"]), (&json!(1), &json!("relay")));
    let one = saas.admin("GET", "/admin/proxy/keys/relay", &Value::Null);
    assert_eq!(one["organizations"]["o"]["projects"]["p"]["scope"], "all");
    let book = fs::read_to_string(folder.path().join("saas/book.json")).unwrap();
    assert!(!book.contains(value.trim()) && !list.to_string().contains(value.trim()));
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", saas.port);
    let new = json!({ "name": "relay", "identifier": "relay" });
    assert_eq!(ask("POST", &url("/admin/proxy/keys"), None, &new).0, 409);
    let stale = json!({ "instructions": { "updateConfig": { "organizations": {}, "version": 1 } } });
    assert_eq!(ask("PATCH", &url("/admin/proxy/keys/relay"), None, &stale).0, 409);
    let bad = json!({ "feature": "b", "kind": "boolean", "state": "on", "offVariation": "x", "variations": [],
        "defaultServe": { "variation": "x" } });
    let path = url(&format!("/admin/environments/{ENVIRONMENT}/flags/b"));
    assert_eq!(ask("PUT", &path, None, &bad).0, 400, "what no relay would take is refused");
    assert_eq!(ask("POST", &url("/api/1.0/proxy/auth"), None, &json!({ "proxyKey": "guess" })).0, 401);
    assert_eq!(ask("GET", &url("/api/1.0/proxy/config"), Some("guess"), &Value::Null).0, 401);
    assert_eq!(saas.stop(), 0);
}
