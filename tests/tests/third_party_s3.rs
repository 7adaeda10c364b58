//! Sealed segments in an S3 bucket that a server of other people's keeps: written, found again after a
//! restart, and waited for while the bucket is not there.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use tests::{
    capture::{Forwarder, Goproxy},
    http, peer,
    program::Program,
    wait::wait_for,
};

/// Enough that the log is sealed by size.
const BODY: usize = 1 << 20;
const REQUESTS: u64 = 80;

fn moto() -> Program {
    Program::start(|_, address| {
        let mut command = Command::new("moto_server");
        command.args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()]);
        command
    })
}

fn make_bucket(moto: &Program) {
    let port = moto.address.port();
    ureq::put(format!("http://127.0.0.1:{port}/captured")).send_empty().unwrap();
}

/// The keys of the segments in the bucket.
fn segments(moto: &Program) -> Vec<String> {
    let listed = http::get(moto.address.port(), "/captured?list-type=2");
    let keys = listed.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
    keys.filter(|key| key.ends_with(".parquet")).map(str::to_owned).collect()
}

fn bucket(endpoint: &str) -> [(&str, &str); 6] {
    [
        ("STORE_URL", "s3://captured/shop"),
        ("AWS_ENDPOINT", endpoint),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
    ]
}

fn send(port: u16) {
    for number in 0..REQUESTS {
        assert!(peer::get(port, &format!("/{number}")).len() > BODY);
    }
}

#[test]
fn segments_go_to_the_bucket_and_are_found_there_after_a_restart() {
    let moto = moto();
    make_bucket(&moto);
    let endpoint = format!("http://{}", moto.address);
    let mut forwarder = Forwarder::start(&bucket(&endpoint));
    let origin = peer::http_service(&[b'y'; BODY]);
    let mut proxy = Goproxy::start("p", origin, forwarder.port, &[("CAPTURE_MEMORY_LIMIT", "256MiB")]);
    proxy.daemon.announce("no forwarder");
    send(proxy.port);
    forwarder.settled("p", REQUESTS);
    let keys = wait_for("a segment in the bucket", || Some(segments(&moto)).filter(|keys| !keys.is_empty()));
    assert!(keys.iter().all(|key| key.starts_with("shop/") && key.contains("/hour=")), "{keys:?}");

    forwarder.kill();
    forwarder.restart();
    let counted =
        forwarder.sql("SELECT count(DISTINCT uuid) AS n, sum(response_body_bytes) AS bytes FROM exchanges");
    assert_eq!(counted[0]["n"], REQUESTS);
    assert_eq!(counted[0]["bytes"], REQUESTS * BODY as u64);
}

#[test]
fn a_bucket_that_is_not_there_is_waited_for() {
    let moto = moto();
    let endpoint = format!("http://{}", moto.address);
    let mut forwarder = Forwarder::start(&bucket(&endpoint));
    forwarder.daemon.as_mut().unwrap().announce("seal");
    let origin = peer::http_service(&[b'y'; BODY]);
    let proxy = Goproxy::start("p", origin, forwarder.port, &[("CAPTURE_MEMORY_LIMIT", "256MiB")]);
    send(proxy.port);
    // Acknowledged all the same: what counts is the log on the own disk.
    forwarder.settled("p", REQUESTS);
    forwarder.daemon.as_ref().unwrap().wait_for_line("seal");
    make_bucket(&moto);
    wait_for("a segment in the bucket", || Some(segments(&moto)).filter(|keys| !keys.is_empty()));
    assert_eq!(forwarder.sql("SELECT count(DISTINCT uuid) AS n FROM exchanges")[0]["n"], REQUESTS);
}
