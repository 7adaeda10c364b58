//! A primary and its replicas over a real Redis: what the primary is told, replicas serve, whatever becomes of any of
//! them.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    flag::{ENVIRONMENT, KEY},
    flags::{Follower, House, Saas, ask, flag, text_flag},
    redis::Redis,
    wait::wait_for,
};

fn primary(folder: &Path, saas: &Saas, redis: &Redis) -> Follower {
    Follower::start_primary(folder, saas, &[("REDIS_ADDRESS", redis.address().as_str())])
}

fn serves(relay: &Follower, name: &str, value: &str) {
    let what = format!("{name} to be {value}");
    wait_for(what, || relay.served(name).filter(|served| served.0 == value));
}

#[test]
fn what_the_primary_is_told_replicas_serve() {
    let house = House::new();
    house.saas.put_flag(&flag("f1", true));
    serves(&house.replica, "f1", "true");
    assert_eq!(house.replica.served("f1"), house.primary.served("f1"), "with the same version");
    house.saas.put_flag(&text_flag("f2", "one"));
    serves(&house.replica, "f2", "one");
    house.saas.admin("DELETE", &format!("/admin/environments/{ENVIRONMENT}/flags/f2"), &Value::Null);
    wait_for("f2 to go", || house.replica.served("f2").is_none().then_some(()));
    wait_for("the health of the service", || {
        (house.replica.health() == ("READ_REPLICA".to_owned(), "CONNECTED".to_owned())).then_some(())
    });
    house.end();
}

#[test]
fn the_documented_keys_and_streams_are_there() {
    let house = House::new();
    house.saas.put_flag(&flag("f1", true));
    serves(&house.replica, "f1", "true");
    let get = |key: &str| house.redis.ask(&["GET", key]);
    let read = |key: &str| {
        serde_json::from_str::<Value>(&get(key)).unwrap_or_else(|_| panic!("{key}: {}", get(key)))
    };
    let flags = read(&format!("env-{ENVIRONMENT}-feature-configs"));
    assert_eq!(
        (&flags[0]["feature"], &flags[0]["defaultServe"]["variation"]),
        (&json!("f1"), &json!("true"))
    );
    assert_eq!(read(&format!("env-{ENVIRONMENT}-feature-config-f1")), flags[0]);
    assert_eq!(read(&format!("env-{ENVIRONMENT}-segments")), json!([]));
    for list in ["feature-configs", "segments"] {
        let sum = read(&format!("env-{ENVIRONMENT}-{list}-latest"));
        assert_eq!(sum.as_str().unwrap().len(), 64);
    }
    let keys = read(&format!("env-{ENVIRONMENT}-api-configs"));
    let name = keys[0].as_str().unwrap();
    assert!(name.starts_with("auth-key-d4f79b31"));
    assert_eq!(read(name), ENVIRONMENT);
    let state =
        wait_for("the health", || Some(get("ffproxy_saas_stream_health")).filter(|told| !told.is_empty()));
    assert!(state.starts_with(r#"{"state":"CONNECTED","since":1"#), "{state}");
    let control =
        house.redis.ask(&["XREVRANGE", "proxy:primary_to_replica_control_events", "+", "-", "COUNT", "1"]);
    assert!(control.ends_with(r#"{"domain":"CONNECTED","event":"stream_action"}"#), "{control}");
    let events = house.redis.ask(&["XRANGE", "proxy:sse_events", "-", "+"]);
    let last = events.lines().next_back().unwrap();
    let event: Value = serde_json::from_str(last).unwrap();
    assert_eq!(
        (&event["event"], &event["domain"], &event["identifier"]),
        (&json!("patch"), &json!("flag"), &json!("f1"))
    );
    assert_eq!((&event["version"], &event["environment"]), (&flags[0]["version"], &json!(ENVIRONMENT)));
    let secret = std::fs::read_to_string(house.path("proxy-key")).unwrap();
    let all = house.redis.ask(&["KEYS", "*"]);
    assert!(!all.contains(secret.trim()) && all.contains("-inventory") && !all.contains(KEY), "{all}");
    house.end();
}

#[test]
fn redis_that_is_away_takes_nothing_from_anybody() {
    let mut house = House::new();
    let token = house.replica.token().unwrap();
    house.redis.kill();
    house.saas.put_flag(&flag("f1", true));
    serves(&house.primary, "f1", "true");
    house.replica.daemon.as_ref().unwrap().wait_for_line("Redis cannot be read");
    serves(&house.replica, "f1", "false");
    assert_eq!(house.replica.stop(), 0);
    house.replica.again();
    serves(&house.replica, "f1", "false");
    let url = format!("{}/client/env/{ENVIRONMENT}/feature-configs/f1", house.replica.url());
    assert_eq!(ask("GET", &url, Some(&token), &Value::Null).0, 200, "for the same tokens");
    // It comes back with nothing in it.
    house.redis.again();
    serves(&house.replica, "f1", "true");
    house.end();
}

#[test]
fn a_replica_that_never_had_anything_says_so_and_refuses_no_key() {
    let folder = TempDir::new().unwrap();
    let mut redis = Redis::start(&folder.path().join("redis"));
    redis.kill();
    let mut replica = Follower::start_replica(&folder.path().join("replica"), &redis.address(), &[]);
    let auth = || {
        let url = format!("{}/client/auth", replica.url());
        ask("POST", &url, None, &json!({ "apiKey": KEY })).0
    };
    assert_eq!(auth(), 503, "an SDK that is told 401 gives up for good");
    redis.again();
    assert_eq!(auth(), 503);
    let mut saas = Saas::start(folder.path());
    let mut primary = primary(&folder.path().join("primary"), &saas, &redis);
    wait_for("the key", || (auth() == 200).then_some(()));
    assert_eq!((replica.stop(), primary.stop(), saas.stop()), (0, 0, 0));
}

#[test]
fn redis_that_comes_back_older_sends_nobody_back() {
    let folder = TempDir::new().unwrap();
    let mut saas = Saas::start(folder.path());
    let mut redis =
        Redis::start_with(&folder.path().join("redis"), &["--save", "", "--dbfilename", "d"], &[]);
    let mut primary = primary(&folder.path().join("primary"), &saas, &redis);
    let mut replica = Follower::start_replica(&folder.path().join("replica"), &redis.address(), &[]);
    serves(&replica, "f1", "false");
    redis.ask(&["SAVE"]);
    saas.put_flag(&flag("f1", true));
    serves(&replica, "f1", "true");
    let newest = replica.served("f1").unwrap();
    // Nobody is there to write it again, and the replica has forgotten nothing over a restart.
    primary.daemon.take().unwrap().kill();
    redis.kill();
    redis.again();
    replica.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    replica.daemon.as_ref().unwrap().wait_for_line("Redis has older flags");
    assert_eq!(replica.served("f1"), Some(newest.clone()));
    assert_eq!(replica.stop(), 0);
    replica.again();
    replica.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    replica.daemon.as_ref().unwrap().wait_for_line("Redis has older flags");
    assert_eq!(replica.served("f1"), Some(newest));
    primary.again();
    saas.put_flag(&text_flag("f2", "new"));
    serves(&replica, "f2", "new");
    serves(&replica, "f1", "true");
    assert_eq!((replica.stop(), primary.stop(), saas.stop()), (0, 0, 0));
}

#[test]
fn a_replica_that_is_cut_off_catches_up_however_much_it_missed() {
    let house = House::new();
    let mut relay = Follower::start_replica(&house.path("other"), &house.redis.address(), &[]);
    serves(&relay, "f1", "false");
    let replica = house.replica.daemon.as_ref().unwrap();
    replica.signal(Signal::SIGSTOP);
    house.redis.cut();
    // More than the stream keeps.
    let more = "for n = 1, 1100 do redis.call('XADD', KEYS[1], 'MAXLEN', 1000, '*', 'event', '{}') end";
    house.redis.ask(&["EVAL", more, "1", "proxy:sse_events"]);
    house.saas.put_flag(&flag("f1", true));
    house.saas.put_flag(&text_flag("f2", "new"));
    serves(&relay, "f2", "new");
    replica.signal(Signal::SIGCONT);
    serves(&house.replica, "f2", "new");
    serves(&house.replica, "f1", "true");
    replica.wait_for_line("events were missed");
    assert_eq!(relay.stop(), 0);
    house.end();
}

#[test]
fn what_somebody_without_the_lease_writes_is_served_by_nobody_and_mended() {
    let mut house = House::new();
    let key = format!("env-{ENVIRONMENT}-feature-configs");
    let before = house.redis.ask(&["GET", &key]);
    house.redis.ask(&["SET", &key, &before.replace("\"variation\":\"false\"", "\"variation\":\"true\"")]);
    house.redis.ask(&[
        "XADD",
        "proxy:sse_events",
        "*",
        "event",
        &json!({ "environment": ENVIRONMENT }).to_string(),
    ]);
    assert_eq!(house.replica.stop(), 0);
    std::fs::remove_dir_all(house.path("replica")).unwrap();
    house.replica.again();
    // Its own disk is empty, so it waits for what is right.
    wait_for("the key", || house.replica.token());
    assert_eq!(house.replica.served("f1").unwrap().0, "false");
    wait_for("it to be mended", || (house.redis.ask(&["GET", &key]) == before).then_some(()));
    house.end();
}

#[test]
fn one_primary_writes_and_another_goes_on_when_it_is_gone() {
    let house = House::new();
    let mut second = primary(&house.path("second"), &house.saas, &house.redis);
    let lease = || house.redis.ask(&["GET", "wayside:{flags}:lease"]);
    let first = lease();
    assert!(!first.is_empty());
    house.saas.put_flag(&flag("f1", true));
    serves(&house.replica, "f1", "true");
    serves(&second, "f1", "true");
    assert_eq!(lease(), first, "the second waits");
    // It hangs: it still believes that it has the lease.
    house.primary.daemon.as_ref().unwrap().signal(Signal::SIGSTOP);
    wait_for("another lease", || Some(lease()).filter(|now| !now.is_empty() && *now != first));
    house.saas.put_flag(&flag("f1", false));
    serves(&house.replica, "f1", "false");
    let newest = house.replica.served("f1");
    house.primary.daemon.as_ref().unwrap().signal(Signal::SIGCONT);
    house.primary.daemon.as_ref().unwrap().wait_for_line("another primary may write now");
    assert_eq!(house.replica.served("f1"), newest);
    // One that ends gives the lease back.
    let held = lease();
    assert_eq!(second.stop(), 0);
    wait_for("the first again", || Some(lease()).filter(|now| !now.is_empty() && *now != held));
    house.saas.put_flag(&flag("f1", true));
    serves(&house.replica, "f1", "true");
    house.end();
}

#[test]
fn a_primary_that_starts_without_its_service_serves_what_redis_has() {
    let mut house = House::new();
    assert_eq!((house.primary.stop(), house.saas.stop()), (0, 0));
    std::fs::remove_dir_all(house.path("primary")).unwrap();
    house.primary.again();
    assert_eq!(house.primary.served("f1").unwrap().0, "false");
    house.saas.again();
    house.saas.put_flag(&flag("f1", true));
    serves(&house.replica, "f1", "true");
    house.end();
}

#[test]
fn a_key_that_is_deleted_opens_nothing_on_replicas_and_other_keys_stay() {
    let house = House::new();
    house.saas.put("/admin/environments/dev", &json!({ "org": "o", "project": "p", "identifier": "dev" }));
    let made = house.saas.admin("POST", "/admin/environments/dev/keys", &json!({}));
    let auth = || {
        let url = format!("{}/client/auth", house.replica.url());
        ask("POST", &url, None, &json!({ "apiKey": made["key"] })).0
    };
    wait_for("the new key", || (auth() == 200).then_some(()));
    let hash = made["hash"].as_str().unwrap();
    house.saas.admin("DELETE", &format!("/admin/environments/dev/keys/{hash}"), &Value::Null);
    wait_for("the key to go", || (auth() == 401).then_some(()));
    assert!(house.replica.token().is_some(), "and no other");
    assert_eq!(house.redis.ask(&["EXISTS", &format!("auth-key-{hash}")]), "0");
    house.saas.admin("DELETE", "/admin/environments/dev", &Value::Null);
    wait_for("its documents to go", || house.redis.ask(&["KEYS", "env-dev-*"]).is_empty().then_some(()));
    house.saas.admin("DELETE", "/admin/proxy/keys/relay", &Value::Null);
    wait_for("everything to go", || house.replica.token().is_none().then_some(()));
    assert!(house.redis.ask(&["KEYS", "env-*"]).is_empty());
    house.end();
}

#[test]
fn metrics_of_replicas_arrive_through_the_primary_to_the_unit() {
    let mut house = House::new();
    let post = |relay: &Follower, count: u64| {
        let pair = |key: &str, value: &str| json!({ "key": key, "value": value });
        let attributes = [
            pair("featureIdentifier", "f1"),
            pair("variationIdentifier", "true"),
            pair("SDK_LANGUAGE", "python"),
            pair("SDK_VERSION", "1.7.3"),
            pair("SDK_TYPE", "server"),
        ];
        let data =
            json!({ "timestamp": 1, "count": count, "metricsType": "FFMETRICS", "attributes": attributes });
        let url = format!("{}/metrics/{ENVIRONMENT}", relay.url());
        let body = json!({ "metricsData": [data], "targetData": [] });
        assert_eq!(ask("POST", &url, relay.token().as_deref(), &body).0, 200);
    };
    let total =
        |saas: &Saas| saas.admin("GET", "/admin/metrics", &Value::Null)[ENVIRONMENT]["f1"]["true"].as_u64();
    post(&house.replica, 3);
    wait_for("3", || (total(&house.saas) == Some(3)).then_some(()));
    // Killed before Redis and its disk are rid of what the service has, it would tell it again.
    let in_redis = |count| (house.redis.ask(&["XLEN", "stream:sdk_metrics"]) == count).then_some(());
    wait_for("room", || in_redis("0"));
    let spool = house.path("primary/data/metrics");
    wait_for("the primary to be done", || std::fs::read_dir(&spool).unwrap().next().is_none().then_some(()));
    // The primary is away, then Redis as well.
    house.primary.daemon.take().unwrap().kill();
    post(&house.replica, 4);
    wait_for("them to be in Redis", || in_redis("1"));
    let body = house.redis.ask(&["XRANGE", "stream:sdk_metrics", "-", "+"]);
    let body: Value = serde_json::from_str(body.lines().next_back().unwrap()).unwrap();
    assert_eq!((&body["environment_id"], &body["metricsData"][0]["count"]), (&json!(ENVIRONMENT), &json!(4)));
    house.primary.again();
    wait_for("7", || (total(&house.saas) == Some(7)).then_some(()));
    wait_for("room", || in_redis("0"));
    house.redis.kill();
    post(&house.replica, 5);
    assert_eq!(house.replica.stop(), 0);
    house.replica.again();
    house.redis.again();
    wait_for("12", || (total(&house.saas) == Some(12)).then_some(()));
    house.end();
}

#[test]
fn what_the_documented_relay_wrote_is_served() {
    let folder = TempDir::new().unwrap();
    let redis = Redis::start(&folder.path().join("redis"));
    let write = |variation: &str, version: u64| {
        let mut told = flag("f1", variation == "true");
        told["version"] = version.into();
        redis.ask(&["SET", &format!("env-{ENVIRONMENT}-feature-configs"), &json!([told]).to_string()]);
        let event = json!({ "event": "patch", "domain": "flag", "identifier": "f1", "version": version,
            "environment": ENVIRONMENT, "apiKey": "" });
        redis.ask(&["XADD", "proxy:sse_events", "*", "event", &event.to_string()]);
    };
    let hash = "d4f79b313f8106f5af108ad96ff516222dbfd5a0ab52f4308e4b1ad1d740de60";
    redis.ask(&["SET", &format!("env-{ENVIRONMENT}-api-configs"), &format!("[\"auth-key-{hash}\"]")]);
    write("false", 1);
    let mut replica = Follower::start_replica(&folder.path().join("replica"), &redis.address(), &[]);
    serves(&replica, "f1", "false");
    write("true", 2);
    serves(&replica, "f1", "true");
    assert_eq!(replica.served("f1").unwrap().1, 2);
    assert_eq!(replica.stop(), 0);
}

#[test]
fn what_is_left_when_redis_lost_a_part_takes_nothing_from_anybody() {
    let mut house = House::new();
    assert_eq!(house.primary.stop(), 0);
    let own = format!("env-{ENVIRONMENT}-api-configs");
    house.redis.ask(&["DEL", "wayside:{flags}:head", &own, &format!("env-{ENVIRONMENT}-feature-configs")]);
    house.redis.ask(&["SET", "env-11111111-2222-3333-4444-555555555555-api-configs", "[]"]);
    house.redis.ask(&["CONFIG", "RESETSTAT"]);
    wait_for("the replica to look three times", || {
        let told = house.redis.ask(&["INFO", "commandstats"]);
        let (_, calls) = told.split_once("cmdstat_exists:calls=")?;
        (calls.split_once(',')?.0.parse::<u32>().ok()? > 2).then_some(())
    });
    serves(&house.replica, "f1", "false");
    house.primary.again();
    house.saas.put_flag(&flag("f1", true));
    serves(&house.replica, "f1", "true");
    house.end();
}

#[test]
fn relays_stop_in_time_while_redis_is_frozen() {
    let mut house = House::new();
    house.redis.freeze(true);
    house.saas.put_flag(&flag("f1", true));
    serves(&house.primary, "f1", "true");
    assert_eq!((house.replica.stop(), house.primary.stop()), (0, 0));
    house.redis.freeze(false);
    assert_eq!(house.saas.stop(), 0);
}

#[test]
fn a_copy_that_lacks_the_last_write_is_written_again_although_the_lease_is_in_it() {
    let mut house = House::new();
    house.redis.ask(&["SAVE"]);
    house.saas.put_flag(&flag("f1", true));
    serves(&house.replica, "f1", "true");
    house.replica.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    house.redis.kill();
    // Under the number of the write that is lost, this would be taken for what replicas have.
    house.saas.put_flag(&flag("f1", false));
    serves(&house.primary, "f1", "false");
    house.redis.again();
    serves(&house.replica, "f1", "false");
    house.end();
}
