//! agent-relay as a process: what it accepts is delivered, in order, whatever happens meanwhile.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
    thread::{self, JoinHandle},
};

use tempfile::TempDir;
use tests::{
    http,
    relay::{Balance, Receiver, Relay, post, say},
    wait::wait_for,
};

/// Agents that post as fast as they can until told to stop; each keeps a body until it is accepted.
struct Agents {
    stop: Arc<AtomicBool>,
    port: Arc<AtomicU16>,
    threads: Vec<JoinHandle<(String, u64)>>,
}

impl Agents {
    fn start(count: usize, port: u16) -> Self {
        let (stop, port) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU16::new(port)));
        let start = |index| {
            let (stop, port) = (Arc::clone(&stop), Arc::clone(&port));
            thread::spawn(move || {
                let name = format!("agent-{index}");
                let (mut accepted, mut tries) = (0, 0_u64);
                while !stop.load(Ordering::SeqCst) {
                    // No two tries are the same, so that each is known again wherever it comes out.
                    tries += 1;
                    let body = format!("{name} {} {tries} {}", accepted + 1, "x".repeat(2000));
                    match post(port.load(Ordering::SeqCst), &name, &body) {
                        Some(200) => accepted += 1,
                        Some(503) | None => thread::yield_now(),
                        Some(status) => panic!("{status} makes an agent throw its data away"),
                    }
                }
                (name, accepted)
            })
        };
        let threads = (0..count).map(start).collect();
        Self { stop, port, threads }
    }

    /// How many each was told are accepted.
    fn stop(self) -> BTreeMap<String, u64> {
        self.stop.store(true, Ordering::SeqCst);
        self.threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    }
}

/// Each agent's data came, all of it and in order.
fn check(receiver: &Receiver, accepted: &BTreeMap<String, u64>) {
    let firsts = receiver.firsts();
    for (agent, count) in accepted {
        let came = firsts.get(agent).cloned().unwrap_or_default();
        // One may have been kept whose answer was cut off.
        let most = count + 1;
        assert!(came.len() as u64 >= *count, "{agent}: {} of {count} came", came.len());
        assert!(came.len() as u64 <= most, "{agent}: more than was ever sent");
        assert!(came.is_sorted() && came.first() == Some(&1), "{agent}: out of order");
    }
}

#[test]
fn what_is_accepted_is_delivered_in_order_through_kills_and_outages() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let mut relay = Relay::start(folder.path(), receiver.address, &[("API_KEY", "own")]);
    let agents = Agents::start(4, relay.port);
    for round in 1..=6 {
        let before = relay.balance().accepted;
        wait_for("more to be accepted", || (relay.balance().accepted > before + 50).then_some(()));
        assert!(relay.balance().adds_up());
        relay.daemon.as_mut().unwrap().announce("an upstream is down");
        // Every other life ends in an outage.
        receiver.answer(if round % 2 == 0 { 503 } else { 202 });
        if round % 2 == 0 {
            let queued = relay.balance().queued;
            wait_for("something to wait", || (relay.balance().queued > queued + 20).then_some(()));
        }
        relay.kill_and_start();
        agents.port.store(relay.port, Ordering::SeqCst);
    }
    receiver.answer(202);
    relay.daemon.as_mut().unwrap().announce("an upstream is down");
    let accepted = agents.stop();
    let balance = relay.drained();
    check(&receiver, &accepted);
    let told: u64 = accepted.values().sum();
    let unique: HashSet<String> = receiver.bodies().into_iter().collect();
    // To the unit: what was accepted is what came, whether or not the answer got through before a kill.
    let came = unique.len() as u64;
    assert_eq!(balance, Balance { accepted: came, delivered: came, queued: 0, dead_lettered: 0 });
    assert!((told..=told + 4 * 6).contains(&came), "{came} came, {told} were told");
    assert_eq!(relay.daemon.take().unwrap().stop(), 0);
}

#[test]
fn a_calm_life_is_exact_to_the_unit_and_outlives_a_restart() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let mut relay = Relay::start(folder.path(), receiver.address, &[("API_KEY", "own")]);
    for number in 1..=200 {
        assert_eq!(post(relay.port, "a", &format!("agent {number}")), Some(200));
    }
    let expected = Balance { accepted: 200, delivered: 200, queued: 0, dead_lettered: 0 };
    assert_eq!(relay.drained(), expected);
    assert_eq!(receiver.firsts()["agent"], (1..=200).collect::<Vec<u64>>());
    assert_eq!(receiver.bodies().len(), 200);
    assert!(receiver.paths().iter().all(|path| path == "/intake/?api_key=own"), "the key is replaced");
    assert_eq!(relay.daemon.take().unwrap().stop(), 0);
    relay.again();
    assert_eq!(relay.balance(), expected);
}

#[test]
fn data_waits_for_the_other_side_and_none_is_given_up_but_what_it_refuses_for_good() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let mut relay = Relay::start(folder.path(), receiver.address, &[("API_KEY", "own")]);
    let log = relay.daemon.as_mut().unwrap();
    log.announce("an upstream is down").announce("the other side refuses").announce("a dead letter");
    for (number, status) in [(1, 503), (2, 403), (3, 404), (4, 429)] {
        receiver.answer(status);
        let refused = receiver.refused();
        assert_eq!(post(relay.port, "a", &format!("agent {number}")), Some(200));
        wait_for("a try", || (receiver.refused() > refused).then_some(()));
        assert_eq!((relay.balance().queued, relay.balance().dead_lettered), (1, 0), "{status}");
        receiver.answer(202);
        relay.drained();
    }
    receiver.answer(400);
    assert_eq!(post(relay.port, "a", "agent 5"), Some(200));
    let balance = relay.drained();
    assert_eq!(balance, Balance { accepted: 5, delivered: 4, queued: 0, dead_lettered: 1 });
    let letters = http::get(relay.stats, "/api/v1/dead-letters");
    assert!(letters.contains("\"id\":\"0-5\"") && letters.contains("400"), "{letters}");
    receiver.answer(202);
    http::post(relay.stats, "/api/v1/dead-letters/0-5/replay", "");
    assert_eq!(relay.drained(), Balance { accepted: 5, delivered: 5, queued: 0, dead_lettered: 0 });
    assert_eq!(receiver.firsts()["agent"], [1, 2, 3, 4, 5]);
}

#[test]
fn every_kind_of_client_hears_what_it_knows() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let relay = Relay::start(folder.path(), receiver.address, &[("BODY_MAX_BYTES", "1MiB")]);
    let ask = |head: &str, body: &str| {
        let length = body.len();
        let head =
            format!("{head} HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        say(relay.port, format!("{head}{body}").as_bytes())
    };
    for prefix in ["", "/stsAgent", "/receiver/stsAgent"] {
        let answer = ask(&format!("POST {prefix}/intake/?api_key=k"), "agent 1");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("Transaction: None"), "{answer}");
        let answer = ask(&format!("POST {prefix}/api/v1/series"), "agent 2");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
        let answer = ask(&format!("POST {prefix}/api/v2/series"), "agent 3");
        assert!(answer.starts_with("HTTP/1.1 202") && answer.ends_with("{\"status\":\"ok\"}"), "{answer}");
    }
    let answer = ask("GET /status", "");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("<table>"), "{answer}");
    relay.drained();
    assert!(ask("GET /status?threshold=0", "").starts_with("HTTP/1.1 200"));
    let expect = b"POST /intake/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nagent 4\r\n0\r\n\r\n";
    let answer = say(relay.port, expect);
    assert!(answer.starts_with("HTTP/1.1 100") && answer.contains("Transaction: None"), "{answer}");
    for framing in [
        "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "Content-Length: -1\r\n\r\n",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ] {
        let answer = say(relay.port, format!("POST /intake/ HTTP/1.1\r\nHost: r\r\n{framing}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{framing:?}: {answer}");
    }
    let large = b"POST /intake/ HTTP/1.1\r\nHost: r\r\nContent-Length: 2000000\r\n\r\n";
    assert!(say(relay.port, large).starts_with("HTTP/1.1 413"));
    let answer = ask("GET /api/v1/validate?api_key=k", "");
    assert!(answer.starts_with("HTTP/1.1 202") && answer.ends_with("ok"), "carried live: {answer}");
    let paths = receiver.paths();
    assert!(paths.contains(&"/intake/?api_key=k".to_owned()), "the key of the agent is passed on: {paths:?}");
    let stored: Vec<_> = std::fs::read(folder.path().join("queue/0000000000000001.log")).unwrap();
    assert!(!String::from_utf8_lossy(&stored).contains("api_key"), "no key on disk");
}
