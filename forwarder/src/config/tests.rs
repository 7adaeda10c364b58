//! What forwarder's configuration accepts and refuses.

use std::path::Path;

use super::*;

fn resolve(flags: &[&str]) -> Result<Config, String> {
    let command = common::config::with_settings(clap::Command::new("forwarder"), &SETTINGS);
    let matches = command.try_get_matches_from([&["forwarder"], flags].concat()).unwrap();
    let settings = Settings::read(&SETTINGS, &matches, Path::new("/nonexistent"), false).unwrap();
    Config::resolve(settings).map_err(|error| error.to_string())
}

fn check_refused(flags: &[&str], mend: &str) {
    let told = resolve(flags).err().unwrap_or_else(|| panic!("{flags:?} accepted"));
    assert!(told.contains(mend), "{mend} is not in {told}");
}

#[test]
fn nothing_has_to_be_told() {
    let config = resolve(&[]).unwrap();
    assert_eq!(config.service_port, 8888);
    assert_eq!(config.analyzer.to_string(), "127.0.0.1:8889");
    assert_eq!(config.proxy_timeout, Duration::from_secs(45));
    let defaults = store::Options::default();
    assert_eq!(
        (config.store.max_bytes, config.store.max_age, config.store.data_dir),
        (defaults.max_bytes, defaults.max_age, defaults.data_dir),
        "one default, not two"
    );
}

#[test]
fn captured_data_is_not_shown_off_loopback_without_a_token() {
    check_refused(&["--analyzer-addr", "0.0.0.0:8889"], "ANALYZER_TOKEN");
    assert!(resolve(&["--analyzer-addr", "0.0.0.0:8889", "--analyzer-token", "s"]).is_ok());
    assert_eq!(resolve(&["--analyzer-port", "9000"]).unwrap().analyzer.to_string(), "127.0.0.1:9000");
}

#[test]
fn a_bad_value_is_refused_with_its_mend() {
    check_refused(&["--store-url", "ftp://x"], "use s3://bucket/prefix");
    check_refused(&["--proxy-timeout", "soon"], "a length of time");
    check_refused(&["--proxy-timeout", "1ms"], "at least 1s");
    check_refused(&["--forwarder-tls-cert", "/nonexistent"], "readable PEM file");
    check_refused(&["--forwarder-tls-cert", "/nonexistent"], "belong together");
    check_refused(&["--dlp-config", "standard"], "not available yet");
    check_refused(&["--analyzer-addr", "127.0.0.1:1", "--analyzer-port", "1"], "leave it out");
}
