//! An unmodified SDK on a relay that follows a flag service: it never notices what happens between the two.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    flag::{KEY, Kind, Sdk},
    flags::{Follower, Saas, flag, text_flag},
    wait::wait_for,
};

#[test]
fn the_python_sdk_lives_through_faults_restarts_rotations_and_the_end_of_the_key() {
    let folder = TempDir::new().unwrap();
    let mut saas = Saas::start(folder.path());
    saas.put_flag(&text_flag("color", "blue"));
    let mut relay = Follower::start(folder.path(), &saas);
    let mut sdk = Sdk::start(Kind::Python, &relay.url(), KEY, &[]);
    assert_eq!(sdk.ask("ready"), json!(true));
    assert_eq!(sdk.ask("bool f1 true"), json!(false));
    saas.put_flag(&flag("f1", true));
    sdk.wait("bool f1 false", &json!(true));
    for (fault, color) in [
        (json!({ "half_pages": 1, "expire_tokens": true }), "red"),
        (json!({ "duplicate_events": true, "reorder_events": true, "stale_lists": 1 }), "green"),
        (json!({ "failures": 1, "slow_ms": 20 }), "gray"),
    ] {
        saas.fail(&fault);
        saas.put_flag(&text_flag("color", color));
        sdk.wait("string color", &json!(color));
        assert_eq!(sdk.ask("bool f1 false"), json!(true), "{fault}");
        saas.fail(&json!({}));
    }
    // The service goes, its key is another when it comes back, and the SDK is told nothing of it.
    assert_eq!(saas.stop(), 0);
    wait_for("staleness to be told", || (relay.health().0 == "FAILED_TO_SYNC").then_some(()));
    assert_eq!(sdk.ask("string color"), json!("gray"));
    saas.again();
    let made = saas.rotate("");
    saas.put_flag(&text_flag("color", "white"));
    saas.bring(&made);
    sdk.wait("string color", &json!("white"));
    let made = saas.rotate("1");
    saas.put_flag(&text_flag("color", "pink"));
    sdk.wait("string color", &json!("pink"));
    saas.bring(&made);
    saas.fail(&json!({ "clock_ahead_s": 3700 }));
    saas.put_flag(&text_flag("color", "black"));
    sdk.wait("string color", &json!("black"));
    // So does the relay.
    assert_eq!(relay.stop(), 0);
    assert_eq!(sdk.ask("string color"), json!("black"));
    relay.again();
    saas.put_flag(&text_flag("color", "last"));
    sdk.wait("string color", &json!("last"));
    saas.admin("DELETE", "/admin/proxy/keys/relay", &Value::Null);
    wait_for("the key to open nothing", || relay.token().is_none().then_some(()));
    drop(sdk);
    assert_eq!((relay.stop(), saas.stop()), (0, 0));
}
