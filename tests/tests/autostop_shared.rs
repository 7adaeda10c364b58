//! A shared control plane: another proxy has its rules from there and tells how they are, and goes on by itself while it
//! is away.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};
use tests::{
    autostop::{Autostop, Machine, Target, by_scripts},
    peer,
    wait::wait_for,
};

fn target(machine: &Machine) -> Target {
    Target { id: "m".to_owned(), provider: by_scripts(machine.path()), rule: String::new() }
}

/// A rule for a machine that the proxy ap-2 minds.
fn rule(machine: &Machine) -> Value {
    json!({
        "name": "m0", "proxy_id": "ap-2", "provider": "p0", "filter": { "vm_ids": ["m"] },
        "idle_time": "2s", "min_online": "1s", "price_per_hour": 3600.0,
        "tcp": { "forward_rule": [{ "port": machine.address.port() }] },
    })
}

fn come(port: u16) {
    let mut stream = peer::connect(port);
    stream.write_all(b"wake up").unwrap();
    let mut heard = [0; 12];
    stream.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hellowake up");
}

/// What became of the rule, oldest first.
fn history(autostop: &Autostop) -> Vec<Value> {
    let (status, told) = autostop.api("GET", "/rules/m0/history", &Value::Null);
    assert_eq!(status, 200, "{told}");
    let mut changes = told["response"].as_array().unwrap().clone();
    changes.reverse();
    changes
}

#[test]
fn rules_come_from_there_usage_goes_there_and_a_day_without_it_changes_nothing() {
    let machine = Machine::new();
    let mut shared = Autostop::control_alone();
    let (status, told) = shared.api("POST", "/v2/rules", &json!({ "service": rule(&machine) }));
    assert_eq!((status, &told["response"]["proxy_id"]), (200, &json!("ap-2")), "{told}");
    assert_eq!(told["response"]["state"], "created");
    let mut own = Autostop::follower(shared.status_port(), "ap-2", &[target(&machine)]);
    own.start_plane();
    own.wait_for_state("m0", "down");
    let port = own.port("m0");
    come(port);
    machine.wait_until_down();

    // The shared one knows how it is, without being able to start or stop it.
    wait_for("the state at the shared control plane", || {
        (shared.rule("m0")["state"] == "down").then_some(())
    });
    let seen = shared.rule("m0");
    assert_eq!((&seen["proxy_id"], &seen["connect"][0][1]), (&json!("ap-2"), &json!(port)));
    assert!(seen["bytes"].as_u64().unwrap() > 0, "{seen}");
    wait_for("all changes at the shared control plane", || (history(&shared) == history(&own)).then_some(()));
    let (_, saved) = shared.api("GET", "/rules/savings/cumulative", &Value::Null);
    assert_ne!(saved["response"]["wakes"], json!([]), "{saved}");
    for (method, path) in [("POST", "/rules/m0/warmup"), ("POST", "/rules/m0/cooldown")] {
        let (status, told) = shared.api(method, path, &Value::Null);
        assert_eq!(status, 409, "{told}");
        assert!(told["errors"][0]["message"].as_str().unwrap().contains("the proxy ap-2"), "{told}");
    }
    let (_, proxies) = shared.api("GET", "/loadbalancers", &Value::Null);
    assert_eq!(
        (&proxies["response"][0]["id"], &proxies["response"][0]["rules"]),
        (&json!("ap-2"), &json!(1))
    );

    // Away, and the own one is started again meanwhile: the last rules stay in force.
    own.control.as_mut().unwrap().announce("shared control plane is away");
    shared.kill_control();
    own.control.as_ref().unwrap().wait_for_line("shared control plane is away");
    come(port);
    machine.wait_until_down();
    own.kill_control();
    own.start_control();
    own.control.as_mut().unwrap().announce("shared control plane is away");
    own.control.as_ref().unwrap().wait_for_line("shared control plane is away");
    own.wait_for_state("m0", "down");
    come(port);
    machine.wait_until_down();
    own.wait_for_state("m0", "down");
    assert_eq!((own.port("m0"), machine.calls("start")), (port, 3));

    // Back, it hears of all that it missed, once each.
    shared.start_control();
    own.control.as_ref().unwrap().wait_for_line("shared control plane is there again");
    let missed = history(&own);
    assert!(missed.len() > 9, "{missed:#?}");
    wait_for("what was missed", || (history(&shared) == missed).then_some(()));
}

#[test]
fn what_changes_there_is_taken_up_and_what_cannot_be_used_is_not() {
    let machine = Machine::new();
    let shared = Autostop::control_alone();
    let mut changed = rule(&machine);
    assert_eq!(shared.api("POST", "/rules", &changed).0, 200);
    let mut other = rule(&machine);
    (other["name"], other["proxy_id"]) = (json!("other"), json!("ap-3"));
    assert_eq!(shared.api("POST", "/rules", &other).0, 200);
    let mut own = Autostop::follower(shared.status_port(), "ap-2", &[target(&machine)]);
    own.control.as_mut().unwrap().announce("rules cannot be used");
    own.start_plane();
    own.wait_for_state("m0", "down");
    let port = own.port("m0");
    assert_eq!(own.api("GET", "/rules", &Value::Null).1["response"].as_array().unwrap().len(), 1);

    changed["idle_time"] = json!("1h");
    assert_eq!(shared.api("PUT", "/v2/rules/m0", &changed).0, 200);
    wait_for("the change", || (own.rule("m0")["idle_time_mins"] == 60.0).then_some(()));
    // The shared one cannot know which providers there are; the own one tells, and keeps to what it had.
    changed["provider"] = json!("nobody");
    assert_eq!(shared.api("PUT", "/v2/rules/m0", &changed).0, 200);
    own.control.as_ref().unwrap().wait_for_line("there is no provider `nobody`");
    assert_eq!(own.rule("m0")["provider"], "p0");
    for (method, path, body) in [
        ("POST", "/rules", rule(&machine)),
        ("PUT", "/v2/rules/m0", rule(&machine)),
        ("DELETE", "/rules/m0", Value::Null),
    ] {
        let (status, told) = own.api(method, path, &body);
        assert_eq!(status, 409, "{told}");
        assert!(told["errors"][0]["message"].as_str().unwrap().contains("apiURL"), "{told}");
    }
    assert_eq!(shared.api("DELETE", "/rules/m0", &Value::Null).0, 200);
    wait_for("the rule to be gone", || (own.api("GET", "/rules/m0", &Value::Null).0 == 404).then_some(()));
    wait_for("its port to be closed", || TcpStream::connect(("127.0.0.1", port)).is_err().then_some(()));
    assert_eq!((machine.calls("start"), machine.calls("stop")), (0, 0));
}

#[test]
fn nobody_speaks_for_the_rules_of_others() {
    let machine = Machine::new();
    let shared = Autostop::control_alone();
    assert_eq!(shared.api("POST", "/rules", &rule(&machine)).0, 200);
    let change =
        json!({ "at": "2026-01-01T00:00:00Z", "from": "down", "to": "active", "why": { "kind": "hand" } });
    let report = json!({ "rules": [{ "name": "m0", "state": "active" }], "changes": { "m0": [change] } });
    for (proxy, state, changes) in [("ap-3", "created", 0), ("ap-2", "active", 1), ("ap-2", "active", 1)] {
        let (status, told) = shared.api("POST", &format!("/loadbalancers/{proxy}/usage"), &report);
        assert_eq!(status, 200, "{told}");
        assert_eq!((shared.rule("m0")["state"].as_str(), history(&shared).len()), (Some(state), changes));
    }
    // A proxy that is its own shared control plane would wait for itself.
    let (status, told) = shared.api("GET", "/loadbalancers/ap-1/rules", &Value::Null);
    assert_eq!(status, 400, "{told}");
}
