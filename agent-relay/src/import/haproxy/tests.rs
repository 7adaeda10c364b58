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

/// The servers of the first table.
fn servers(toml: &str) -> Vec<String> {
    let table: toml::Table = toml::from_str(toml).unwrap();
    let servers = table["tcp"][0]["servers"].as_array().unwrap().clone();
    servers.iter().map(|server| server["address"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_stands_in_another_part_is_not_of_the_part_before_it() {
    let cfg = "listen agents\n bind :3834\n mode tcp\n server one 10.0.0.1:443\n\
               peers others\n server two 10.0.0.2:443\n\
               resolvers dns\n nameserver first 10.0.0.53:53\n nameserver bad here\n hold valid 10s\n\
               defaults\n retries 7\n timeout connect 9s\n\
               defaults\n mode tcp\n\
               global\n stats socket ipv4@127.0.0.1:9999\n";
    let toml = import(cfg);
    assert_eq!(servers(&toml), ["10.0.0.1:443"]);
    has(
        &toml,
        &[
            "dns_servers = [\"10.0.0.53:53\"]",
            "retries = 7",
            "connect_timeout = \"9s\"",
            "# line 5: peers others: it and what is below it are left out",
            "# line 9: nameserver bad here: no address of a name server",
            "# line 14: defaults: it is read as one with the defaults before",
            "# line 17: stats socket ipv4@127.0.0.1:9999: only a path can be listened on",
        ],
    );
}

#[test]
fn what_is_listened_on_is_taken_as_it_is_meant_or_told() {
    let cfg = "frontend f\n bind 10.0.0.1:3834,10.0.0.2:3835\n bind *:4000-4010\n bind /run/sock\n default_backend b\n\
               backend b\n server one receiver.example.com check port 80\n";
    let toml = import(cfg);
    let table: toml::Table = toml::from_str(&toml).unwrap();
    let listens: Vec<_> =
        table["tcp"].as_array().unwrap().iter().map(|tcp| tcp["listen"].as_str().unwrap()).collect();
    assert_eq!(listens, ["10.0.0.1:3834", "10.0.0.2:3835"]);
    assert_eq!(servers(&toml), ["receiver.example.com:3834"], "the port that was connected to");
    has(
        &toml,
        &[
            "# f: *:4000-4010 is left out: no address with one port",
            "# f: /run/sock is left out: no address with one port",
        ],
    );
}

#[test]
fn what_is_said_of_a_line_has_no_control_characters_of_it() {
    toml::from_str::<toml::Table>(&import("server \u{1} :\u{1}")).unwrap();
}

proptest::proptest! {
    #[test]
    fn whatever_it_is_it_becomes_toml_that_can_be_read(
        lines in proptest::collection::vec(
            "(global|listen a|frontend f|backend b|peers|server|bind|nameserver a|timeout client|maxconn|default_backend b|option) [ -~\\x01-\\x09\\x7f]{0,20}", 0..12
        )
    ) {
        toml::from_str::<toml::Table>(&import(&lines.join("\n"))).unwrap();
    }
}
