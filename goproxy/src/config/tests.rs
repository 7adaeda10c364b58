//! What goproxy's configuration accepts and refuses.

use std::path::Path;

use super::*;

const GOOD: &[&str] = &[
    "goproxy",
    "--proxy-type",
    "reverse",
    "--proxy-in-port",
    "4143",
    "--reverse-proxy-host",
    "db",
    "--reverse-proxy-port",
    "5000",
    "--app-label",
    "shop",
    "--app-pod-name",
    "shop-1",
    "--forwarder-addr",
    "localhost:8888",
];

fn resolve(arguments: &[&str]) -> Result<Config, String> {
    let command = common::config::with_settings(clap::Command::new("goproxy"), &SETTINGS);
    let matches = command.try_get_matches_from(arguments).unwrap();
    let settings = Settings::read(&SETTINGS, &matches, Path::new("/nonexistent"), false).unwrap();
    Config::resolve(settings).map_err(|error| error.to_string())
}

fn check_refused(change: (&str, &str), mend: &str) {
    let mut arguments = GOOD.to_vec();
    match arguments.iter().position(|argument| *argument == change.0) {
        Some(at) => arguments[at + 1] = change.1,
        None => arguments.extend([change.0, change.1]),
    }
    let told = resolve(&arguments).expect_err("accepted");
    assert!(told.contains(mend), "{mend} is not in {told}");
    assert_eq!(told.lines().filter(|line| !line.is_empty()).count(), 1, "one problem, one line: {told}");
}

#[test]
fn the_documented_example_is_good() {
    let config = resolve(GOOD).unwrap();
    assert_eq!((config.upstream.host.as_str(), config.upstream.port), ("db", 5000));
    assert_eq!(config.listen_port, 4143);
    assert_eq!(config.capture_memory, 64 << 20);
    assert_eq!(config.limits.body, 1 << 20);
    assert_eq!(config.metrics, None);
}

#[test]
fn what_is_required_is_named_all_at_once() {
    let told = resolve(&["goproxy"]).unwrap_err();
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
}

#[test]
fn a_bad_value_is_refused_with_its_mend() {
    check_refused(("--proxy-type", "sideways"), "use reverse");
    check_refused(("--proxy-in-port", "http"), "use a port");
    check_refused(("--reverse-proxy-port", "0"), "use a port");
    check_refused(("--capture-body-limit", "1GiB"), "at most 6MiB");
    check_refused(("--forwarder-addr", "localhost"), "use host:port");
    check_refused(("--forwarder-addr", "http://localhost:8888"), "use host:port");
    check_refused(("--forwarder-tls-ca", "/nonexistent"), "PEM certificates");
    check_refused(("--reverse-proxy-host", "https://a.run.app"), "not available yet");
    check_refused(("--reverse-proxy-host", "ftp://a"), "use a host name");
    check_refused(("--reverse-proxy-host", "http://a/path"), "use a host name");
    check_refused(("--capture-memory-limit", "12"), "at least 1MiB");
    check_refused(("--tls-in-unwrap", "true"), "leave it off");
}

#[test]
fn the_service_can_be_told_as_a_url_or_an_address() {
    for (told, host, port) in [
        ("http://shop.example", "shop.example", 5000),
        ("http://shop.example:81/", "shop.example", 81),
        ("::1", "::1", 5000),
        ("[::1]:82", "::1", 82),
        ("10.0.0.1", "10.0.0.1", 5000),
    ] {
        let mut arguments = GOOD.to_vec();
        arguments[6] = told;
        let upstream = resolve(&arguments).unwrap().upstream;
        assert_eq!((upstream.host.as_str(), upstream.port), (host, port), "{told}");
    }
}

#[test]
fn redaction_that_was_asked_for_is_not_ignored() {
    let command = common::config::with_settings(clap::Command::new("goproxy"), &SETTINGS);
    let matches = command.try_get_matches_from(GOOD).unwrap();
    let mut settings = Settings::read(&SETTINGS, &matches, Path::new("/nonexistent"), false).unwrap();
    let names = ["PATH", "REDACT_FIELDS", "REDACT_COOKIES"].map(str::to_owned);
    refuse_unknown_redaction(&mut settings, names.into_iter());
    let told = settings.or_ok(()).unwrap_err().to_string();
    assert!(told.contains("REDACT_COOKIES: remove it") && !told.contains("REDACT_FIELDS"), "{told}");
}

#[test]
fn secrets_are_redacted_unless_told_otherwise() {
    let redactor = resolve(GOOD).unwrap().redactor.unwrap();
    assert!(redactor.headers.contains(b"X-Vault-Token") && redactor.fields.contains(b"dbPassword"));
    assert!(!redactor.headers.contains(b"Content-Type") && !redactor.fields.contains(b"shipping"));
    assert!(!redactor.keep_unreadable);

    let with = |name, value| resolve(&[GOOD, &[name, value]].concat());
    assert!(with("--redact-enable", "false").unwrap().redactor.is_none());
    let redactor = with("--redact-fields", "default, nickname").unwrap().redactor.unwrap();
    assert!(redactor.fields.contains(b"nickname") && redactor.fields.contains(b"token"));
    let redactor = with("--redact-fields", "nickname").unwrap().redactor.unwrap();
    assert!(redactor.fields.contains(b"nickname") && !redactor.fields.contains(b"token"));
    check_refused(("--redact-key", "short"), "use at least 16 characters");
    check_refused(("--redact-unreadable", "maybe"), "use withhold or keep");
}
