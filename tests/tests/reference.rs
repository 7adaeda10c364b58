//! What the reference documents promise: the variables, the log lines, the exit codes.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::process::{Command, Output};

use serde_json::Value;
use tests::{
    capture::{Forwarder, Goproxy},
    daemon::{Daemon, binary},
    peer,
};

fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary(name));
    command.env_clear().envs(variables.iter().copied()).args(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The values of these keys in the first line that has this message.
fn fields<'a>(lines: &'a [String], message_key: &str, message: &str, keys: &[&str]) -> Vec<String> {
    let line = lines.iter().find(|line| line.contains(&format!("\"{message_key}\":\"{message}")));
    let line: &'a String = line.unwrap_or_else(|| panic!("no line with {message:?} in {lines:#?}"));
    let line: Value = serde_json::from_str(line).unwrap();
    keys.iter().map(|key| line[*key].to_string()).collect()
}

#[test]
fn the_documented_log_lines_appear_with_their_keys() {
    let origin = peer::http_service(b"Hello, reader!");
    let forwarder = Forwarder::start(&[("CLUSTER_NAME", "my_cluster")]);
    let proxy = Goproxy::start("ip-192-168-3-149", origin, forwarder.port, &[("LOG_LEVEL", "debug")]);
    proxy.daemon.wait_for_line("Successfully registered with forwarder");
    let answer = peer::get(proxy.port, "/product");
    assert!(answer.ends_with("Hello, reader!"), "{answer}");
    proxy.daemon.wait_for_line("HTTP RESPONSE");

    let lines = proxy.daemon.lines();
    let check = |message: &str, keys: &[&str], expected: &[&str]| {
        assert_eq!(fields(&lines, "M", message, keys), expected, "{message}");
    };
    check("START Wayside Network Proxy", &["info", "version"], &["\"INFO\"", "\"v0.1.0\""]);
    check("Starting proxy listener", &["network", "addr"], &["\"tcp\"", &format!("\":{}\"", proxy.port)]);
    check("Successfully connected to forwarder", &["addr"], &[&format!("\"127.0.0.1:{}\"", forwarder.port)]);
    check("Attempting to register with forwarder", &["info"], &["\"DEBUG\""]);
    check("Successfully registered with forwarder", &["proxyID"], &["\"ip-192-168-3-149\""]);
    let direct = format!("\"{origin}\"");
    check("Connection established", &["directAddr", "cid"], &[&direct, "0"]);
    check("CheckProtocol duration", &["directAddr", "cid"], &[&direct, "0"]);
    check("Detected protocol", &["directAddr", "cid", "protocol"], &[&direct, "0", "\"HTTP\""]);
    check("ProxyAndDecode setup duration", &["directAddr", "cid"], &[&direct, "0"]);
    check("HTTP REQUEST", &["cid", "sequenceNum", "url"], &["0", "0", "\"/product\""]);
    check("HTTP RESPONSE", &["cid", "sequenceNum", "responseLength"], &["0", "0", "14"]);

    let lines = forwarder.daemon.as_ref().unwrap().lines();
    for message in [
        format!("SERVICE_PORT: {}", forwarder.port),
        "START Forwarder v0.1.0 compiled at ".to_owned(),
        "DLP is not configured, skipping".to_owned(),
        "Starting reaper for proxies that haven't checked in after 45s".to_owned(),
        format!("Starting gRPC listener on port 0.0.0.0:{}", forwarder.port),
        "REGISTER proxy ID ip-192-168-3-149 at timestamp 2".to_owned(),
    ] {
        assert_eq!(fields(&lines, "msg", &message, &["level"]), ["\"info\""]);
    }
    let keys: Vec<_> = lines[0].split('"').skip(1).step_by(4).collect();
    assert_eq!(keys, ["level", "msg", "time"], "in this order");
}

#[test]
fn a_service_that_refuses_is_told_as_the_reference_shows_it() {
    let (listener, origin) = peer::listen();
    drop(listener);
    let forwarder = Forwarder::start(&[]);
    let mut proxy = Goproxy::start("p", origin, forwarder.port, &[]);
    proxy.daemon.announce("could not connect").announce("Could not connect, giving up");
    let mut client = peer::connect(proxy.port);
    let error = std::io::Read::read(&mut client, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let line = proxy.daemon.wait_for_line("dial() ERR could not connect");
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["addr"], origin.to_string());
    assert_eq!(line["error"], format!("dial tcp {origin}: connect: connection refused"));
    let line: Value = serde_json::from_str(&proxy.daemon.wait_for_line("giving up")).unwrap();
    let client = client.local_addr().unwrap();
    assert_eq!(
        line["M"],
        format!("DIRECT|{client}...{}:{}|Could not connect, giving up", origin.ip(), origin.port())
    );
}

#[test]
fn what_is_missing_is_told_all_at_once_with_exit_code_78() {
    let output = run("goproxy", &["--config", "/dev/null"], &[]);
    assert_eq!(output.status.code(), Some(78));
    let told = stderr(&output);
    for name in [
        "PROXY_TYPE",
        "PROXY_IN_PORT",
        "REVERSE_PROXY_HOST",
        "REVERSE_PROXY_PORT",
        "APP_LABEL",
        "APP_POD_NAME",
        "FORWARDER_ADDR",
    ] {
        assert!(told.contains(name), "{name} is not in {told}");
    }
    let output = run(
        "forwarder",
        &["--config", "/dev/null"],
        &[("SERVICE_PORT", "x"), ("PROXY_TIMEOUT", "y"), ("STORE_URL", "z")],
    );
    assert_eq!(output.status.code(), Some(78));
    for name in ["SERVICE_PORT", "PROXY_TIMEOUT", "STORE_URL"] {
        assert!(stderr(&output).contains(name), "{name} is not in {}", stderr(&output));
    }
}

#[test]
fn every_daemon_says_its_version_checks_itself_and_refuses_unknown_flags() {
    for name in ["goproxy", "forwarder"] {
        let version = run(name, &["--version"], &[]);
        assert_eq!(String::from_utf8_lossy(&version.stdout), format!("{name} v0.1.0\n"));
        assert_eq!(run(name, &["--nonsense"], &[]).status.code(), Some(2));
        let help = String::from_utf8_lossy(&run(name, &["--help"], &[]).stdout).into_owned();
        for flag in ["--config", "--check", "--health", "--version", "--log-level"] {
            assert!(help.contains(flag), "{flag} is not in {help}");
        }
    }
    assert_eq!(run("forwarder", &["--config", "/dev/null", "--check"], &[]).status.code(), Some(0));
}

#[test]
fn the_health_flag_asks_the_running_daemon() {
    let forwarder = Forwarder::start(&[]);
    let address = format!("127.0.0.1:{}", forwarder.analyzer);
    let ask = |address: &str| {
        run("forwarder", &["--config", "/dev/null", "--health"], &[("ANALYZER_ADDR", address)])
    };
    assert_eq!(ask(&address).status.code(), Some(0));
    let (listener, nobody) = peer::listen();
    drop(listener);
    let refused = ask(&nobody.to_string());
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("nobody answers"), "{}", stderr(&refused));
}

#[test]
fn a_port_in_use_is_told_with_the_port_and_what_changes_it() {
    let first = Forwarder::start(&[]);
    let port = first.port.to_string();
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().to_string_lossy();
    let mut second = Daemon::start(
        "forwarder",
        &[("SERVICE_PORT", port.as_str()), ("ANALYZER_ADDR", "127.0.0.1:0"), ("DATA_DIR", &folder)],
    );
    second.announce("listen on");
    assert_eq!(second.wait().code(), Some(1));
    second
        .wait_for_line(&format!("SERVICE_PORT changes where: listen on [::]:{port}: Address already in use"));
}
