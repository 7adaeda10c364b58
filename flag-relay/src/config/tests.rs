//! Settings and what is refused of them.

use std::path::Path;

use super::*;

fn resolve(words: &[&str]) -> Result<Config, Error> {
    let words = [&["flag-relay", "--config", "/dev/null"], words].concat();
    let matches = crate::tool::command().try_get_matches_from(words).unwrap();
    let known = SETTINGS.iter().chain(&common::daemon::SETTINGS);
    Config::resolve(Settings::read(known, &matches, Path::new("/dev/null"), false).unwrap())
}

fn refused(words: &[&str], expected: &str) {
    let told = resolve(&[words, &["--offline", "true"]].concat()).unwrap_err().to_string();
    assert!(told.contains(expected), "{told}");
}

#[test]
fn the_command_line_is_well_formed() {
    crate::tool::command().debug_assert();
}

#[test]
fn a_folder_is_enough() {
    let config = resolve(&["--offline", "true", "--config-dir", "flags"]).unwrap();
    let Source::Directory(folder) = config.source else { panic!("it is another source") };
    assert_eq!(folder, Path::new("flags"));
    assert_eq!((config.listen.port(), config.status.to_string().as_str()), (7000, "127.0.0.1:7001"));
    assert_eq!(config.heartbeat, Some(Duration::from_secs(60)));
}

#[test]
fn a_proxy_key_is_enough() {
    let config = resolve(&["--proxy-key", "k", "--metric-post-duration", "0"]).unwrap();
    let metric_post = config.metric_post;
    let Source::Service(service) = config.source else { panic!("it is another source") };
    assert_eq!(service.client_service, "https://config.ff.harness.io/api/1.0");
    assert_eq!(metric_post, None);
    let refused = |words: &[&str]| resolve(&[&["--proxy-key", "k"], words].concat()).unwrap_err().to_string();
    assert!(refused(&["--redis-address", "r:6379", "--redis-cert", "c"]).contains("set both, or none"));
    assert!(refused(&["--client-service", "config"]).contains("use http:// or https://"));
}

#[test]
fn redis_makes_a_primary_or_a_replica() {
    let config = resolve(&["--proxy-key", "k", "--redis-address", "a:1, b:2", "--redis-db", "3"]).unwrap();
    assert!(matches!(config.source, Source::Service(_)));
    let place = config.redis.unwrap();
    assert_eq!(
        (place.addresses, place.database, place.most_metrics),
        (vec!["a:1".into(), "b:2".into()], 3, 1000)
    );
    let config = resolve(&["--read-replica", "true", "--redis-address", "rediss://r"]).unwrap();
    assert!(matches!(config.source, Source::Replica) && config.redis.is_some());
    let told = resolve(&["--read-replica", "true"]).unwrap_err().to_string();
    assert!(told.contains("READ_REPLICA wants REDIS_ADDRESS"), "{told}");
    let offline = resolve(&["--offline", "true", "--redis-address", "r:1"]).unwrap();
    assert!(offline.redis.is_none(), "nothing else is asked");
}

#[test]
fn zero_and_lengths_of_time_are_understood() {
    let heartbeat =
        |told: &str| resolve(&["--offline", "true", "--heartbeat-interval", told]).unwrap().heartbeat;
    assert_eq!(heartbeat("0"), None);
    assert_eq!(heartbeat("90"), Some(Duration::from_secs(90)));
    assert_eq!(heartbeat("2m"), Some(Duration::from_secs(120)));
}

#[test]
fn what_would_be_unsafe_or_unheard_is_refused() {
    refused(&["--auth-secret", "secret"], "AUTH_SECRET is the default");
    refused(&["--and-rules", "false"], "a rule with several clauses");
    refused(&["--pprof", "true"], "no Go profiler");
    refused(&["--generate-offline-config", "true"], "flag-relay export");
    refused(&["--status-addr", "0.0.0.0:7001"], "STATUS_TOKEN");
    refused(&["--tls-enabled", "true"], "TLS_CERT is required");
    assert!(resolve(&[]).unwrap_err().to_string().contains("OFFLINE=true"));
}
