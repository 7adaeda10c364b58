//! agent-relay as a process: what it accepts is delivered, in order, whatever happens meanwhile.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    io::{Read as _, Write as _},
    net::SocketAddr,
    process::Command,
};

use nix::sys::signal::Signal;
use tempfile::TempDir;
use tests::{
    daemon::binary,
    http,
    peer::connect,
    relay::{
        Balance, Receiver, Relay,
        agents::{Agents, check},
        post, say,
    },
    wait::wait_for,
};

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
        agents.follow(relay.port);
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
    let command = |words: &[&str]| {
        let stats = format!("127.0.0.1:{}", relay.stats);
        let mut command = Command::new(binary("agent-relay"));
        let output = command.args(["dead-letters", "--stats", &stats]).args(words).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    assert!(command(&["list"]).1.contains("\"id\":\"0-5\""));
    assert!(command(&["replay", "0-5"]).0);
    assert!(!command(&["replay", "0-5"]).0 && !command(&["remove", "0-5"]).0, "it is none any more");
    let queue = Command::new(binary("agent-relay")).arg("queue").arg(folder.path()).output().unwrap();
    assert!(String::from_utf8(queue.stderr).unwrap().contains("in use"), "not while the daemon writes");
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
        let answer = ask(&format!("POST {prefix}/intake/?api_key=hushhush"), "agent 1");
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
        "Transfer-Encoding: chunked\r\nContent-Length: 17\r\n\r\n7\r\nagent 5\r\n0\r\n\r\n",
        "Content-Length: 17\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nagent 5\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n7\nagent 5\n0\n\n",
    ] {
        let answer = say(relay.port, format!("POST /intake/ HTTP/1.1\r\nHost: r\r\n{framing}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 400"), "{framing:?}: {answer}");
    }
    let two = b"POST /intake/ HTTP/1.1\r\nHost: r\r\nContent-Length: 7\r\n\r\nagent 6POST /intake/ HTTP/1.1\r\nHost: r\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = say(relay.port, two);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("HTTP/1.1 400"), "{answer}");
    let large = b"POST /intake/ HTTP/1.1\r\nHost: r\r\nContent-Length: 2000000\r\n\r\n";
    assert!(say(relay.port, large).starts_with("HTTP/1.1 413"));
    let answer = ask("GET /api/v1/validate?api_key=k", "");
    assert!(answer.starts_with("HTTP/1.1 202") && answer.ends_with("ok"), "carried live: {answer}");
    relay.drained();
    let bodies = receiver.bodies();
    assert!(!bodies.contains(&"agent 5".to_owned()), "bad framing went on");
    assert!(bodies.contains(&"agent 6".to_owned()), "the request before it did not");
    let paths = receiver.paths();
    let expected = "/intake/?api_key=hushhush".to_owned();
    assert!(paths.contains(&expected), "the key of the agent is passed on: {paths:?}");
    for entry in std::fs::read_dir(folder.path().join("queue")).unwrap().flatten() {
        let stored = std::fs::read(entry.path()).unwrap();
        assert!(!String::from_utf8_lossy(&stored).contains("hushhush"), "no key on disk");
    }
}

#[test]
fn two_relays_in_a_row_deliver_nothing_twice_and_keep_the_order() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let mut second = Relay::start(&folder.path().join("second"), receiver.address, &[("API_KEY", "own")]);
    let address = SocketAddr::from(([127, 0, 0, 1], second.port));
    let mut first = Relay::start(&folder.path().join("first"), address, &[("API_KEY", "between")]);
    let agents = Agents::start(4, first.port);
    for _ in 0..6 {
        let before = first.balance().delivered;
        wait_for("more to be delivered", || (first.balance().delivered > before + 100).then_some(()));
        first.kill_and_start();
        agents.follow(first.port);
    }
    let accepted = agents.stop();
    let sent = first.drained();
    let came = second.drained();
    check(&receiver, &accepted);
    let bodies = receiver.bodies();
    let unique: HashSet<&String> = bodies.iter().collect();
    assert_eq!(bodies.len(), unique.len(), "something came twice");
    assert_eq!(sent.delivered, bodies.len() as u64);
    assert_eq!((came.accepted, came.delivered), (sent.accepted, sent.delivered));
    assert_eq!(first.daemon.take().unwrap().stop(), 0);
    assert_eq!(second.daemon.take().unwrap().stop(), 0);
}

#[test]
fn who_does_not_bring_the_token_is_refused_in_a_way_that_loses_nothing() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let more = [("API_KEY", "own"), ("INTAKE_TOKEN", "hush")];
    let mut relay = Relay::start(folder.path(), receiver.address, &more);
    relay.daemon.as_mut().unwrap().announce("an agent is not let in");
    let ask = |head: &str| {
        let rest = "HTTP/1.1\r\nHost: r\r\nConnection: close\r\nContent-Length: 7\r\n";
        let (line, fields) = head.split_once('\n').unwrap_or((head, ""));
        say(relay.port, format!("{line} {rest}{fields}\r\nagent 1").as_bytes())
    };
    for (head, status) in [
        ("POST /intake/", 401),
        ("POST /intake/?api_key=hus", 401),
        ("POST /intake/?api_key=hush", 200),
        ("POST /intake/\nDD-Api-Key: hush\r\n", 202),
        ("POST /intake/\nAuthorization: Bearer hush\r\n", 200),
        ("GET /api/v1/validate", 401),
        ("GET /status", 200),
    ] {
        let answer = ask(head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head}: {answer}");
    }
    assert_eq!(relay.balance().accepted, 3);
}

#[test]
fn agents_of_other_networks_are_not_listened_to_but_behind_a_balancer_that_is_believed() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let more = [("API_KEY", "own"), ("INTAKE_ALLOW", "10.0.0.0/8"), ("TRUSTED_PROXIES", "127.0.0.0/8")];
    let mut relay = Relay::start(folder.path(), receiver.address, &more);
    relay.daemon.as_mut().unwrap().announce("an agent is not let in");
    let ask = |forwarded: &str| {
        let head = format!("POST /intake/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n{forwarded}");
        say(relay.port, format!("{head}Content-Length: 7\r\n\r\nagent 1").as_bytes())
    };
    assert!(ask("").starts_with("HTTP/1.1 401"));
    assert!(ask("X-Forwarded-For: 11.0.0.1\r\n").starts_with("HTTP/1.1 401"));
    assert!(ask("X-Forwarded-For: 10.0.0.7\r\n").starts_with("HTTP/1.1 200"));
    let agents = http::get(relay.stats, "/api/v1/agents");
    assert!(agents.contains("\"10.0.0.7 - -\""), "{agents}");
}

#[test]
fn agents_speak_through_a_reload_and_through_a_change_of_the_binary() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let mut relay = Relay::start(&folder.path().join("data"), receiver.address, &[("API_KEY", "own")]);
    let agents = Agents::patient(4, relay.port);
    for round in 0..6 {
        let before = wait_for("the balance", || relay.balance_if_told()).accepted;
        let daemon = relay.daemon.as_mut().unwrap();
        let (signal, line) = match round % 2 {
            0 => (Signal::SIGHUP, "the configuration was read again"),
            _ => (Signal::SIGUSR2, "another binary takes over"),
        };
        let told = daemon.lines().iter().filter(|known| known.contains(line)).count();
        daemon.signal(signal);
        wait_for(line, || {
            (daemon.lines().iter().filter(|known| known.contains(line)).count() > told).then_some(())
        });
        wait_for("more to be accepted", || {
            relay.balance_if_told().filter(|now| now.accepted > before + 50).map(drop)
        });
    }
    let accepted = agents.stop();
    let balance = relay.drained();
    let told: u64 = accepted.values().sum();
    assert_eq!(balance, Balance { accepted: told, delivered: told, queued: 0, dead_lettered: 0 });
    check(&receiver, &accepted);
    assert_eq!(receiver.bodies().len() as u64, told);
    assert_eq!(relay.daemon.take().unwrap().stop(), 0);
}

#[test]
fn what_is_said_on_a_connection_that_was_open_when_the_stop_came_is_answered() {
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start();
    let mut relay = Relay::start(folder.path(), receiver.address, &[("API_KEY", "own")]);
    let mut stream = connect(relay.port);
    wait_for("the connection to be accepted", || {
        http::get(relay.stats, "/metrics").contains("agent_relay_connections_open 1\n").then_some(())
    });
    let mut daemon = relay.daemon.take().unwrap();
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_line("stopping");
    stream.write_all(b"POST /intake/ HTTP/1.1\r\nHost: r\r\nContent-Length: 7\r\n\r\nagent 1").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    assert_eq!(daemon.wait().code(), Some(0));
    relay.again();
    assert_eq!(relay.drained().delivered, 1);
}
