//! The text of the reference, broken as it stands, and whatever else somebody has.

use super::*;

/// As the page of the agents has it: without the headings of its first parts, with a bind that HAProxy refuses,
/// and with a server without an address.
const REFERENCE: &str = "\
# Basic configuration
    log local0
    maxconn 4096
    stats socket /tmp/haproxy

# Some sane defaults
    log     global
    option  dontlognull
    retries 3
    option  redispatch
    timeout client 5s
    timeout server 5s
    timeout connect 5s

listen stats :3835
    mode http
    stats enable
    stats uri /

frontend forwarder
    bind *:3834 # DTDG
    mode tcp
    default_backend stackstate

backend stackstate
    balance roundrobin
    mode tcp
    option tcplog
    server mothership check port 80
";

fn has(toml: &str, lines: &[&str]) {
    for line in lines {
        assert!(toml.lines().any(|told| told == *line), "{line:?} in\n{toml}");
    }
}

#[test]
fn the_text_of_the_reference_is_understood_broken_as_it_is() {
    assert!(is_one(REFERENCE));
    let toml = import(REFERENCE);
    has(
        &toml,
        &[
            "stats_socket = \"/tmp/haproxy\"",
            "# line 2: log local0: logs go to stderr; see --log-level",
            "# line 8: option  dontlognull: it is always so here",
            "# line 15: listen stats :3835: HAProxy itself wants this as a line with bind; it is read as one",
            "# line 29: server mothership check port 80: it has no address: put one in below",
            "# stats: its page is stats_addr here, on loopback unless there is a stats_token (there: :3835)",
            "# [[tcp]]",
            "# listen = \"*:3834\"",
            "# max_connections = 4096",
            "# redispatch = true",
            "# idle_timeout = \"5s\"",
            "# address = \"host:port\"",
            "# check_port = 80",
        ],
    );
    toml::from_str::<toml::Table>(&toml).unwrap();
}

#[test]
fn once_it_has_an_address_it_is_whole_and_the_daemon_takes_it() {
    let mended = REFERENCE.replace("mothership check", "mothership receiver.example.com:443 check weight 7");
    let toml = import(&mended);
    let table: toml::Table = toml::from_str(&toml).unwrap();
    let tcp = &table["tcp"][0];
    assert_eq!(tcp["listen"].as_str(), Some("*:3834"));
    assert_eq!(tcp["servers"][0]["address"].as_str(), Some("receiver.example.com:443"));
    assert_eq!(tcp["servers"][0]["weight"].as_integer(), Some(7));
    assert_eq!(tcp["log"].as_bool(), Some(true));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, &toml).unwrap();
    let matches = crate::DAEMON
        .command()
        .try_get_matches_from(["agent-relay", "--config", file.to_str().unwrap()])
        .unwrap();
    let config = crate::config::Config::resolve(crate::DAEMON.settings(&matches).unwrap()).unwrap();
    assert_eq!(config.tcp[0].servers[0].check, Some(80));
    assert_eq!(config.tcp[0].most_connections, 4096);
}

proptest::proptest! {
    #[test]
    fn whatever_it_is_it_becomes_toml_that_can_be_read(
        lines in proptest::collection::vec(
            "(global|listen a|frontend f|backend b|server|bind|timeout client|maxconn|default_backend b|option) [ -~]{0,20}", 0..12
        )
    ) {
        toml::from_str::<toml::Table>(&import(&lines.join("\n"))).unwrap();
    }
}
