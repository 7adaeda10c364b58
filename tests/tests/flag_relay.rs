//! flag-relay as a process: it outlives kills and sources that are wrong, and its tools say why.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Command, Output},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    daemon::{Daemon, binary},
    flag::{ENVIRONMENT, FlagRelay, KEY},
    http,
    wait::wait_for,
};

const FLAGS: &str = "flags: { f: { default: true } }";

fn token(relay: &FlagRelay) -> String {
    let told = http::post(relay.port, "/client/auth", &json!({ "apiKey": KEY }).to_string());
    json_of(&told)["authToken"].as_str().unwrap().to_owned()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn flag(relay: &FlagRelay, token: &str) -> Value {
    let path = format!("/client/env/{ENVIRONMENT}/feature-configs/f");
    json_of(&http::get_with_token(relay.port, &path, token))
}

fn default(flag: &Value) -> &str {
    flag["defaultServe"]["variation"].as_str().unwrap()
}

fn health(relay: &FlagRelay) -> Value {
    json_of(&http::get(relay.port, "/health"))
}

#[test]
fn last_good_flags_outlive_kills_and_a_source_that_is_wrong() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), FLAGS, &[]);
    let old = token(&relay);
    let first = flag(&relay, &old);
    relay.write("flags: { f: { default: false } }");
    let changed = wait_for("the change", || Some(flag(&relay, &old)).filter(|told| default(told) == "false"));
    assert!(changed["version"].as_u64() > first["version"].as_u64());
    // It is kept once its file is there; a kill before that begins with the older flags, and reads the source.
    let kept = folder.path().join("data/environments");
    wait_for("what is kept", || {
        let files: Vec<_> = fs::read_dir(&kept).unwrap().flatten().collect();
        let is_whole = |text: String| text.contains(&format!("\"version\":{}", changed["version"]));
        let kept = files
            .iter()
            .map(fs::DirEntry::path)
            .filter(|path| path.extension().is_some_and(|told| told == "json"));
        kept.map(fs::read_to_string).any(|text| text.is_ok_and(is_whole)).then_some(())
    });
    let port = relay.port;
    relay.daemon.take().unwrap().kill();
    relay.write("flags: { f: { default: neither } }");
    relay.again(port);
    relay.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    assert_eq!(flag(&relay, &old), changed, "the same flag, for the same token");
    let told = health(&relay);
    assert_eq!(told["configStatus"]["state"], "FAILED_TO_SYNC");
    assert_eq!(told["problems"], json!([ENVIRONMENT]));
    let status = json_of(&http::get(relay.status, "/api/v1/environments"));
    let why = status["problems"][ENVIRONMENT][0].as_str().unwrap();
    assert!(why.contains("flag f") && why.contains("neither"), "{why}");
    // Nothing of it can be read, so nobody knows which environment it was.
    relay.daemon.take().unwrap().kill();
    relay.write("flags: [");
    relay.again(port);
    relay.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    assert_eq!(flag(&relay, &old), changed);
    assert_eq!(health(&relay)["problems"], json!(["prod.yaml"]));
    relay.write(FLAGS);
    wait_for("the source in order", || (health(&relay)["configStatus"]["state"] == "SYNCED").then_some(()));
    let mended = flag(&relay, &old);
    assert_eq!(default(&mended), "true");
    assert!(mended["version"].as_u64() > changed["version"].as_u64(), "SDKs take it for newer");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_folder_that_is_not_there_yet_is_waited_for() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), "flags: [", &[]);
    relay.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    let answer = |path: &str| ureq::get(format!("{}{path}", relay.url())).call();
    assert!(
        matches!(answer("/health"), Err(ureq::Error::StatusCode(500))),
        "there is nothing to serve at all"
    );
    let ready = || ureq::get(format!("http://127.0.0.1:{}/readyz", relay.status)).call();
    assert!(matches!(ready(), Err(ureq::Error::StatusCode(503))));
    relay.write(FLAGS);
    wait_for("readiness", || ready().ok());
    assert_eq!(default(&flag(&relay, &token(&relay))), "true");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn a_stop_ends_streams_and_is_clean() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), FLAGS, &[("GRACE_PERIOD", "2s")]);
    let token = token(&relay);
    let mut stream = TcpStream::connect(("127.0.0.1", relay.port)).unwrap();
    let head = format!("GET /stream HTTP/1.1\r\nAuthorization: Bearer {token}\r\nAPI-Key: {KEY}\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    lines.find(|line| line == ":").unwrap();
    assert_eq!(relay.stop(), 0);
    assert!(lines.any(|line| line == "0"), "the stream ends in good order");
}

#[test]
fn the_metrics_have_their_documented_names() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), FLAGS, &[]);
    flag(&relay, &token(&relay));
    let told = http::get(relay.status, "/metrics");
    for name in [
        "ff_proxy_http_requests_total{url=\"/client/auth\"",
        "ff_proxy_http_requests_duration_bucket",
        "ff_http_requests_content_length_histogram_bucket",
        "ff_proxy_sdk_usage{",
        "ff_proxy_primary_to_sdk_sse_producer_subscription_requests",
        "ff_proxy_primary_to_sdk_sse_producer_messages_published",
    ] {
        assert!(told.contains(name), "{name} is not in {told}");
    }
    let refused = ureq::get(format!("{}/metrics", relay.url())).call();
    assert!(matches!(refused, Err(ureq::Error::StatusCode(404))), "who is not asked for shows nothing");
    assert_eq!(relay.stop(), 0);
    let mut relay = FlagRelay::start(folder.path(), FLAGS, &[("PROMETHEUS_PORT", "0")]);
    let port = relay.daemon.as_ref().unwrap().port("serving the metrics", "addr");
    assert!(http::get(port, "/metrics").contains("flag_relay_streams"));
    assert_eq!(relay.stop(), 0);
}

fn tool(words: &[&str]) -> Output {
    Command::new(binary("flag-relay")).args(words).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_tools_check_a_folder_and_explain_a_decision() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().to_string_lossy().into_owned();
    let file = folder.path().join("prod.yaml");
    let good = "flags: { f: { rules: [{ when: { plan: { equal: pro } }, split: { weights: { true: 57, false: 43 } } }] } }";
    fs::write(&file, good).unwrap();
    let checked = tool(&["check", &path]);
    assert!(checked.status.success());
    assert!(out(&checked).contains("prod: 1 flags and 0 groups can be served"), "{}", out(&checked));
    assert!(!tool(&["check", &path, "--strict"]).status.success(), "Python knows numbers from texts");
    let words = ["eval", &path, "--flag", "f", "--target", "test", "--attribute", "plan=pro"];
    let told = out(&tool(&words));
    assert!(told.contains("bucket 57 of 100, by identifier=\"test\""), "{told}");
    assert!(told.ends_with("f = true (true), because of RuleSplit\n"), "{told}");
    fs::write(&file, "flags: { f: { default: maybe } }").unwrap();
    let checked = tool(&["check", &path]);
    assert!(!checked.status.success());
    assert!(
        out(&checked).contains("prod: refused: flag f: the default serves \"maybe\""),
        "{}",
        out(&checked)
    );
}

#[test]
fn what_an_old_relay_could_be_told_is_refused_with_what_replaced_it() {
    let mut relay = Daemon::start(
        "flag-relay",
        &[("OFFLINE", "true"), ("API_KEYS", "x"), ("METRICS_SERVICE", "x"), ("AUTH_SECRET", "secret")],
    );
    assert_eq!(relay.wait().code(), Some(78));
    for told in ["API_KEYS is not read any more", "the name is METRIC_SERVICE", "AUTH_SECRET is the default"]
    {
        relay.wait_for_line(told);
    }
}

#[test]
fn a_running_relay_says_whether_it_is_ready() {
    let folder = TempDir::new().unwrap();
    let mut relay = FlagRelay::start(folder.path(), FLAGS, &[]);
    let status = format!("127.0.0.1:{}", relay.status);
    let ask =
        |status: &str| tool(&["--offline", "true", "--status-addr", status, "--health"]).status.success();
    wait_for("readiness", || ask(&status).then_some(()));
    assert_eq!(relay.stop(), 0);
    assert!(!ask(&status));
}
