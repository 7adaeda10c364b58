//! Unmodified SDKs on a replica, and on a single relay: they notice nothing of what becomes of the replica, the primary,
//! Redis and the flag service, and what they evaluated arrives.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    flag::{ENVIRONMENT, KEY, Kind, Sdk},
    flags::{Follower, Saas, flag, text_flag},
    redis::Redis,
    wait::wait_for,
};

const KINDS: [Kind; 4] = [Kind::Python, Kind::Node, Kind::Client, Kind::Ofrep];

/// SDKs of every kind on one relay.
struct Sdks(Vec<(Kind, Sdk)>);

impl Sdks {
    fn start(relay: &Follower) -> Self {
        let start = |kind: Kind| {
            let mut sdk = Sdk::start(kind, &relay.url(), KEY, &[]);
            assert_eq!(sdk.ask("ready"), json!(true), "{kind:?}");
            (kind, sdk)
        };
        Self(KINDS.map(start).into())
    }

    /// Every SDK comes to see this color, and sees nothing but colors that were there.
    fn see(&mut self, before: &str, color: &str) {
        for (kind, sdk) in &mut self.0 {
            wait_for(format!("{kind:?} to see {color} after {before}"), || {
                let told = sdk.ask("string color");
                assert!(told == json!(before) || told == json!(color), "{kind:?}: {told}");
                (told == json!(color)).then_some(())
            });
        }
    }

    /// Every SDK sees this color now.
    fn still_see(&mut self, color: &str) {
        for (kind, sdk) in &mut self.0 {
            assert_eq!(sdk.ask("string color"), json!(color), "{kind:?}");
        }
    }

    /// They go, and have posted what they evaluated.
    fn go(self) {
        for (kind, mut sdk) in self.0 {
            // The client posts by itself, from time to time.
            if kind != Kind::Client {
                sdk.ask("close");
            }
        }
    }
}

fn evaluated(saas: &Saas) -> u64 {
    let counts = saas.admin("GET", "/admin/metrics", &Value::Null);
    counts[ENVIRONMENT]["color"].as_object().map_or(0, |told| told.values().filter_map(Value::as_u64).sum())
}

fn paint(saas: &Saas, color: &str) {
    saas.put_flag(&text_flag("color", color));
}

#[test]
fn sdks_on_a_replica_live_through_restarts_of_everything() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut saas = Saas::start(folder.path());
    paint(&saas, "blue");
    let mut redis = Redis::start(&path("redis"));
    let mut primary =
        Follower::start_primary(&path("primary"), &saas, &[("REDIS_ADDRESS", &redis.address())]);
    let mut replica = Follower::start_replica(&path("replica"), &redis.address(), &[]);
    wait_for("the color", || replica.served("color"));
    let mut sdks = Sdks::start(&replica);
    sdks.see("blue", "blue");
    paint(&saas, "red");
    sdks.see("blue", "red");
    // Redis goes, and comes back with nothing.
    redis.kill();
    sdks.still_see("red");
    paint(&saas, "green");
    redis.again();
    sdks.see("red", "green");
    // The primary goes.
    primary.daemon.take().unwrap().kill();
    sdks.still_see("green");
    paint(&saas, "gray");
    primary.again();
    sdks.see("green", "gray");
    // The flag service goes.
    assert_eq!(saas.stop(), 0);
    wait_for("staleness to be told", || (replica.health().1 == "DISCONNECTED").then_some(()));
    sdks.still_see("gray");
    saas.again();
    paint(&saas, "white");
    sdks.see("gray", "white");
    // So does the replica, and Redis is away when it comes back.
    assert_eq!(replica.stop(), 0);
    redis.kill();
    replica.again();
    sdks.still_see("white");
    redis.again();
    paint(&saas, "black");
    sdks.see("white", "black");
    sdks.go();
    wait_for("what was evaluated, through Redis and the primary", || (evaluated(&saas) > 0).then_some(()));
    assert_eq!((replica.stop(), primary.stop(), saas.stop()), (0, 0, 0));
}

#[test]
fn sdks_on_a_single_relay_live_through_restarts_of_both() {
    let folder = TempDir::new().unwrap();
    let mut saas = Saas::start(folder.path());
    saas.put_flag(&flag("f2", true));
    paint(&saas, "blue");
    let mut relay = Follower::start(folder.path(), &saas);
    let mut sdks = Sdks::start(&relay);
    sdks.see("blue", "blue");
    paint(&saas, "red");
    sdks.see("blue", "red");
    assert_eq!(saas.stop(), 0);
    assert_eq!(relay.stop(), 0);
    relay.again();
    sdks.still_see("red");
    saas.again();
    paint(&saas, "green");
    sdks.see("red", "green");
    sdks.go();
    wait_for("what was evaluated", || (evaluated(&saas) > 0).then_some(()));
    assert_eq!((relay.stop(), saas.stop()), (0, 0));
}
