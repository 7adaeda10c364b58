//! nginx behind goproxy under a load tool, while the forwarder is killed again and again.
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tests::{
    capture::{Account, Forwarder, Goproxy},
    program,
    wait::wait_for,
};

const REQUESTS: u64 = 200_000;

/// The number before this word in the line `requests: 200000 total, 200000 started, …`.
fn count(report: &str, word: &str) -> u64 {
    let line = report.lines().find(|line| line.starts_with("requests:")).expect("a line of counts");
    let told = line.trim_start_matches("requests:").split(',').find(|part| part.trim().ends_with(word));
    told.and_then(|part| part.trim().split(' ').next()?.parse().ok()).expect("a number")
}

#[test]
fn two_hundred_thousand_requests_survive_five_deaths_of_the_forwarder_and_add_up() {
    let nginx = program::nginx();
    let mut forwarder = Forwarder::start(&[]);
    // Room for what passes while there is no forwarder: this is about deaths, not about a full memory.
    let room = [("CAPTURE_MEMORY_LIMIT", "256MiB")];
    let mut proxy = Goproxy::start("load", nginx.address, forwarder.port, &room);
    proxy.daemon.announce("no forwarder");
    let url = format!("http://127.0.0.1:{}/", proxy.port);
    let over = AtomicBool::new(false);
    let report = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let number = REQUESTS.to_string();
            let report = program::run(
                Command::new("h2load").args(["--h1", "-n", &number, "-c", "100", "-t", "1", &url]),
            );
            over.store(true, Ordering::Relaxed);
            report
        });
        for death in 1..=5 {
            wait_for("a part to have passed", || {
                (proxy.metric("goproxy_exchanges_seen_total") > death * REQUESTS / 8).then_some(())
            });
            assert!(!over.load(Ordering::Relaxed), "the load was over before death {death}");
            forwarder.kill();
            forwarder.restart();
        }
        load.join().expect("the load tool ends")
    });
    assert_eq!(count(&report, "done"), REQUESTS, "{report}");
    assert_eq!(count(&report, "succeeded"), REQUESTS, "{report}");
    assert_eq!(count(&report, "failed"), 0, "{report}");
    let done = count(&report, "done");
    let expected = Account { seen: done, stored: done, ..Account::default() };
    assert_eq!(forwarder.settled("load", done), expected);
    let rows = forwarder
        .sql("SELECT count(*) AS rows, count(DISTINCT uuid) AS different FROM exchanges WHERE status = 200");
    assert_eq!((rows[0]["rows"].as_u64(), rows[0]["different"].as_u64()), (Some(done), Some(done)));
}
