//! Exact: seen = stored + filtered + dropped + in flight, to the unit, whatever is killed.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::{
    env,
    io::{Read as _, Write as _},
    thread,
    time::Duration,
};

use nix::sys::signal::Signal;
use tests::{
    capture::{Account, Forwarder, Goproxy},
    peer,
    wait::wait_for,
};

/// Sends so many requests over one connection, each answered before the next.
fn requests(port: u16, count: usize) {
    let mut stream = peer::connect(port);
    let mut answer = [0; 4096];
    for number in 0..count {
        write!(stream, "GET /{number} HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        let length = stream.read(&mut answer).unwrap();
        assert!(answer[..length].ends_with(b"ok"), "{:?}", String::from_utf8_lossy(&answer[..length]));
    }
}

fn stored(seen: u64) -> Account {
    Account { seen, stored: seen, ..Account::default() }
}

/// `WAYSIDE_SOAK` asks for so many deaths; the ordinary run takes a few.
#[test]
fn every_request_is_counted_once_while_the_forwarder_is_killed_again_and_again() {
    let deaths = env::var("WAYSIDE_SOAK").ok().and_then(|deaths| deaths.parse().ok()).unwrap_or(3);
    let origin = peer::http_service(b"ok");
    let mut forwarder = Forwarder::start(&[]);
    let mut proxy = Goproxy::start("p", origin, forwarder.port, &[]);
    proxy.daemon.announce("no forwarder");
    let port = proxy.port;
    let mut random = fastrand::Rng::new();
    println!("seed {}", random.get_seed());
    let mut seen = 0;
    for death in 1..=deaths {
        let clients: Vec<_> = (0..8).map(|_| thread::spawn(move || requests(port, 500))).collect();
        seen += 8 * 500;
        // Sleeps: so that death comes at a random moment of the load.
        thread::sleep(Duration::from_millis(random.u64(0..400)));
        forwarder.kill();
        forwarder.restart();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert!(forwarder.account("p").adds_up());
        // More rounds than these would not fit into the capture memory, if it is the start that takes longest.
        if death % 10 == 0 {
            assert_eq!(forwarder.settled("p", seen), stored(seen), "after {death} deaths");
        }
    }
    assert_eq!(forwarder.settled("p", seen), stored(seen));
    assert_eq!(proxy.metric("goproxy_exchanges_seen_total"), seen);
}

#[test]
fn traffic_flows_before_there_is_a_forwarder_and_is_stored_when_one_comes() {
    let origin = peer::http_service(b"ok");
    let mut forwarder = Forwarder::start(&[]);
    forwarder.kill();
    let mut proxy = Goproxy::start("early", origin, forwarder.port, &[]);
    proxy.daemon.announce("no forwarder");
    requests(proxy.port, 200);
    forwarder.restart();
    assert_eq!(forwarder.settled("early", 200), stored(200));
}

#[test]
fn a_proxy_that_stops_in_good_order_loses_nothing_and_closes_its_epoch() {
    let origin = peer::http_service(b"ok");
    let forwarder = Forwarder::start(&[]);
    let proxy = Goproxy::start("p", origin, forwarder.port, &[]);
    requests(proxy.port, 100);
    assert_eq!(proxy.daemon.stop(), 0);
    assert_eq!(forwarder.account("p"), stored(100));
    assert_eq!(forwarder.json("/api/v1/proxies")["proxies"][0]["state"], "closed");
}

#[test]
fn a_killed_proxy_leaves_an_epoch_that_is_closed_with_its_last_report() {
    let origin = peer::http_service(b"ok");
    let forwarder = Forwarder::start(&[("PROXY_TIMEOUT", "2s")]);
    let proxy = Goproxy::start("p", origin, forwarder.port, &[]);
    requests(proxy.port, 50);
    forwarder.settled("p", 50);
    proxy.daemon.kill();
    forwarder.daemon.as_ref().unwrap().wait_for_line("REAP proxy ID p");
    wait_for("the epoch to be cut", || {
        (forwarder.json("/api/v1/proxies")["proxies"][0]["state"] == "cut").then_some(())
    });
    assert_eq!(forwarder.account("p"), stored(50));

    let proxy = Goproxy::start("p", origin, forwarder.port, &[]);
    requests(proxy.port, 7);
    assert_eq!(forwarder.settled("p", 57), stored(57));
    assert_eq!(proxy.daemon.stop(), 0);
}

#[test]
fn two_proxies_of_one_name_are_told_and_both_counted() {
    let origin = peer::http_service(b"ok");
    let mut forwarder = Forwarder::start(&[("PROXY_TIMEOUT", "2s")]);
    forwarder.daemon.as_mut().unwrap().announce("two proxies use this APP_POD_NAME");
    let first = Goproxy::start("twin", origin, forwarder.port, &[]);
    first.daemon.wait_for_line("Successfully registered");
    let second = Goproxy::start("twin", origin, forwarder.port, &[]);
    second.daemon.wait_for_line("Successfully registered");
    requests(first.port, 30);
    requests(second.port, 12);
    assert_eq!(forwarder.settled("twin", 42), stored(42));
    forwarder.daemon.as_ref().unwrap().wait_for_line("two proxies use this APP_POD_NAME");
}

#[test]
fn over_its_memory_the_proxy_drops_whole_exchanges_and_counts_them() {
    let origin = peer::http_service(b"ok");
    let mut forwarder = Forwarder::start(&[]);
    forwarder.kill();
    let mut proxy = Goproxy::start("full", origin, forwarder.port, &[("CAPTURE_MEMORY_LIMIT", "1MiB")]);
    proxy.daemon.announce("no forwarder");
    requests(proxy.port, 6000);
    proxy.wait_until_seen(6000);
    let dropped = proxy.metric("goproxy_exchanges_dropped_total{reason=\"memory\"}");
    assert!(dropped > 0, "the limit was not reached");
    assert!(proxy.metric("goproxy_capture_memory_bytes") <= 1 << 20);
    forwarder.restart();
    let account = forwarder.settled("full", 6000);
    assert_eq!(account, Account { seen: 6000, stored: 6000 - dropped, dropped, ..Account::default() });
}

#[test]
fn a_forwarder_with_an_empty_folder_gets_what_is_left_as_a_new_epoch() {
    let origin = peer::http_service(b"ok");
    let mut forwarder = Forwarder::start(&[]);
    let mut proxy = Goproxy::start("p", origin, forwarder.port, &[]);
    proxy.daemon.announce("no forwarder").announce("a new epoch begins");
    requests(proxy.port, 20);
    forwarder.settled("p", 20);
    forwarder.kill();
    requests(proxy.port, 5);
    proxy.wait_until_seen(25);
    forwarder.data = tempfile::tempdir().unwrap();
    forwarder.restart();
    assert_eq!(forwarder.settled("p", 5), stored(5));
    assert_eq!(proxy.metric("goproxy_exchanges_seen_total"), 25);
}

#[test]
fn a_stop_finishes_open_exchanges_and_cuts_what_outlasts_the_grace_period() {
    let origin = peer::serve(|mut stream| {
        let mut request = [0; 1000];
        let length = stream.read(&mut request).unwrap_or(0);
        // The path says whether an answer comes when the client goes on, or never.
        if request[..length].starts_with(b"GET /finish") && stream.read_exact(&mut [0]).is_ok() {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").ok();
        }
        stream.read_exact(&mut [0]).ok();
    });
    let forwarder = Forwarder::start(&[]);
    let mut proxy = Goproxy::start("p", origin, forwarder.port, &[("GRACE_PERIOD", "2s")]);
    proxy.daemon.announce("grace period was over");
    let mut finishing = peer::connect(proxy.port);
    finishing.write_all(b"GET /finish HTTP/1.1\r\nHost: shop\r\nContent-Length: 1\r\n\r\n").unwrap();
    let mut hanging = peer::connect(proxy.port);
    hanging.write_all(b"GET /hang HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    wait_for("both to be open", || (proxy.metric("goproxy_connections_active") == 2).then_some(()));
    proxy.daemon.signal(Signal::SIGTERM);
    proxy.daemon.wait_for_line("stopping");
    finishing.write_all(b"x").unwrap();
    let mut answer = String::new();
    finishing.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok"), "{answer}");
    let mut rest = Vec::new();
    hanging.read_to_end(&mut rest).ok();
    assert_eq!(rest, b"");
    assert_eq!(proxy.daemon.wait().code(), Some(1), "something was cut");
    let account = forwarder.settled("p", 2);
    assert_eq!(account, stored(2));
    let ends = forwarder.json("/api/v1/pairs");
    let ends: Vec<_> = ends["pairs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| pair["wayside"]["end"].as_str().unwrap())
        .collect();
    assert!(ends.contains(&"cut") && ends.contains(&"complete"), "{ends:?}");
}
