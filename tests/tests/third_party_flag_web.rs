//! Files of environments that a web server has: asked for only when they changed, and kept when it is away.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;
use tests::{
    flag::{ENVIRONMENT, KEY},
    flags::Follower,
    program::Program,
    redis::Redis,
    wait::wait_for,
};

fn write(folder: &Path, name: &str, text: &str) {
    let beside = folder.join("new");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, folder.join(name)).unwrap();
}

fn environment(value: &str) -> String {
    format!(
        "environment: {ENVIRONMENT}\nkeys: [{KEY}]\nflags: {{ f1: {{ kind: string, variations: {{ it: {value} }}, default: it }} }}\n"
    )
}

fn nginx(files: &Path) -> Program {
    Program::start(|folder, address| {
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {}/{name};\n", folder.display()))
            .concat();
        let configuration = format!(
            "daemon off; pid {0}/pid; error_log {0}/error.log; events {{}}\nhttp {{ log_format told '$status $uri $http_authorization';\n\
             access_log {0}/access.log told; {temporary}\nserver {{ listen {address}; root {1}; }} }}\n",
            folder.display(),
            files.display()
        );
        fs::write(folder.join("nginx.conf"), configuration).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(folder.join("nginx.conf")).arg("-e").arg(folder.join("error.log"));
        command
    })
}

fn serves(relay: &Follower, value: &str) {
    wait_for(format!("f1 to be {value}"), || relay.served("f1").filter(|served| served.0 == value));
}

#[test]
fn files_at_addresses_are_followed_and_outlive_their_server() {
    let (folder, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(files.path(), "prod.yaml", &environment("one"));
    write(files.path(), "dev.json", r#"{ "keys": ["other-key"], "flags": { "d": { "default": true } } }"#);
    let server = nginx(files.path());
    let urls = format!("http://{0}/prod.yaml, http://{0}/dev.json", server.address);
    let more = [("CONFIG_URL", urls.as_str()), ("CONFIG_URL_TOKEN", "bearer"), ("POLL_INTERVAL", "100ms")];
    let mut relay = Follower::start_alone(folder.path(), &more);
    relay.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    serves(&relay, "one");
    let access = server.folder.path().join("access.log");
    let asked = |line: &str| {
        fs::read_to_string(&access).unwrap().lines().filter(|told| told.starts_with(line)).count()
    };
    wait_for("an answer that nothing changed", || (asked("304 /prod.yaml Bearer bearer") > 2).then_some(()));
    assert_eq!(asked("200 /prod.yaml"), 1, "and no other was needed");
    write(files.path(), "prod.yaml", &environment("second"));
    serves(&relay, "second");
    // What is wrong, or away, takes nothing.
    write(files.path(), "prod.yaml", "flags: [");
    wait_for("the refusal", || (relay.health().0 == "FAILED_TO_SYNC").then_some(()));
    serves(&relay, "second");
    fs::remove_file(files.path().join("prod.yaml")).unwrap();
    wait_for("the file to be missed", || (asked("404 /prod.yaml") > 0).then_some(()));
    serves(&relay, "second");
    drop(server);
    wait_for("the server to be missed", || (relay.health().1 == "DISCONNECTED").then_some(()));
    serves(&relay, "second");
    assert_eq!(relay.stop(), 0);
    relay.again();
    relay.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    serves(&relay, "second");
    assert_eq!(relay.stop(), 0);
}

#[test]
fn an_address_that_is_wrong_for_good_keeps_nothing_else_from_replicas() {
    let (folder, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write(files.path(), "prod.yaml", &environment("one"));
    write(files.path(), "bad.yaml", "flags: [");
    let server = nginx(files.path());
    let redis = Redis::start(&folder.path().join("redis"));
    let urls = format!("http://{0}/prod.yaml,http://{0}/bad.yaml,http://{0}/missing.yaml", server.address);
    let address = redis.address();
    let more = [("CONFIG_URL", urls.as_str()), ("POLL_INTERVAL", "100ms"), ("REDIS_ADDRESS", &address)];
    let mut primary = Follower::start_alone(&folder.path().join("primary"), &more);
    primary.daemon.as_mut().unwrap().announce("refused: what is served stays as it was");
    let mut replica = Follower::start_replica(&folder.path().join("replica"), &address, &[]);
    serves(&replica, "one");
    write(files.path(), "prod.yaml", &environment("second"));
    serves(&replica, "second");
    assert_eq!((replica.stop(), primary.stop()), (0, 0));
}
