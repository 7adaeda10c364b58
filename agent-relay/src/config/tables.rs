//! The tables of the file: `[[upstream]]`, `[[route]]` and `[[tcp]]`.

use std::{net::SocketAddr, time::Duration};

use common::{
    config::{Secret, Settings},
    listen,
};
use serde::Deserialize;

use crate::{
    route::Rule,
    tcp,
    upstream::{Base, Spec},
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UpstreamTable {
    name: String,
    url: String,
    #[serde(default = "one")]
    weight: u32,
    health: Option<String>,
    api_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    #[serde(default)]
    path: String,
    host: Option<String>,
    #[serde(default)]
    upstreams: Vec<String>,
    live: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TcpTable {
    name: String,
    backend: Option<String>,
    listen: Option<String>,
    servers: Vec<ServerTable>,
    #[serde(default = "most_connections")]
    max_connections: usize,
    #[serde(default = "five_seconds")]
    connect_timeout: String,
    #[serde(default = "one_minute")]
    idle_timeout: String,
    #[serde(default = "three")]
    retries: u32,
    #[serde(default = "yes")]
    redispatch: bool,
    #[serde(default = "two_seconds")]
    check_interval: String,
    #[serde(default = "three")]
    fall: u32,
    #[serde(default = "two")]
    rise: u32,
    #[serde(default)]
    accept_proxy: bool,
    #[serde(default)]
    log: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ServerTable {
    name: String,
    address: String,
    #[serde(default = "one")]
    weight: u32,
    #[serde(default)]
    check: bool,
    check_port: Option<u16>,
    send_proxy: Option<u8>,
}

fn one() -> u32 {
    1
}

fn two() -> u32 {
    2
}

fn three() -> u32 {
    3
}

fn yes() -> bool {
    true
}

fn most_connections() -> usize {
    4096
}

fn two_seconds() -> String {
    "2s".to_owned()
}

fn five_seconds() -> String {
    "5s".to_owned()
}

fn one_minute() -> String {
    "1m".to_owned()
}

/// The port of TCP mode, when a table does not say where it listens.
const TCP_PORT: u16 = 3834;

/// The `[[tcp]]` of the file. Without an address of its own, each listens where agents do, on port 3834.
pub(super) fn tcp(settings: &mut Settings, host: Option<SocketAddr>) -> Vec<tcp::Spec> {
    let mut specs = Vec::new();
    for table in tables::<TcpTable>(settings, "tcp") {
        let name = table.name.clone();
        let mut wrong = |what: &str| settings.problem(format!("[[tcp]] {name:?}: {what}"));
        let near = host.unwrap_or_else(|| listen::everywhere(TCP_PORT));
        let listen = match table.listen.as_deref() {
            None => Some(SocketAddr::new(near.ip(), TCP_PORT)),
            Some(told) => match (told.parse(), told.trim_start_matches(['*', ':']).parse()) {
                (Ok(address), _) => Some(address),
                (_, Ok(port)) => Some(listen::everywhere(port)),
                _ => None,
            },
        };
        let mut time = |told: &str, key: &str| {
            humantime::parse_duration(told).ok().filter(|time| !time.is_zero()).unwrap_or_else(|| {
                wrong(&format!("{key} is {told:?}: use a length of time such as 5s"));
                Duration::from_secs(5)
            })
        };
        let connect_time = time(&table.connect_timeout, "connect_timeout");
        let idle_time = time(&table.idle_timeout, "idle_timeout");
        let check_every = time(&table.check_interval, "check_interval");
        if listen.is_none() {
            wrong("listen: use an address with a port such as 127.0.0.1:3834, or only *:3834");
        }
        if table.servers.is_empty() {
            wrong("servers: name at least one");
        }
        let mut servers = Vec::new();
        for told in table.servers {
            // The parser knows how a host and a port are written.
            let base =
                Base::parse(&format!("http://{}", told.address)).filter(|_| told.address.contains(':'));
            if told.send_proxy.is_some_and(|version| !(1..=2).contains(&version)) {
                wrong("send_proxy: use 1 or 2");
            }
            match base {
                Some(base) => servers.push(tcp::ServerSpec {
                    name: told.name,
                    host: base.host,
                    port: base.port,
                    weight: told.weight,
                    check: told.check_port.or(told.check.then_some(base.port)),
                    send_proxy: told.send_proxy,
                }),
                None => wrong(&format!("address of {:?}: use host:port", told.name)),
            }
        }
        specs.push(tcp::Spec {
            backend: table.backend.unwrap_or_else(|| table.name.clone()),
            name: table.name,
            listen: listen.unwrap_or(near),
            servers,
            most_connections: table.max_connections.max(1),
            connect_time,
            idle_time,
            retries: table.retries,
            redispatches: table.redispatch,
            check_every,
            fall: table.fall.max(1),
            rise: table.rise.max(1),
            accepts_proxy: table.accept_proxy,
            logs: table.log,
        });
    }
    specs
}

/// Adds the upstreams of the file; returns the rules, and the upstreams for what no rule means.
pub(super) fn read(settings: &mut Settings, upstreams: &mut Vec<Spec>) -> (Vec<Rule>, Vec<usize>) {
    let key = settings.list("api_key").first().map(|key| Secret::from(key.as_str()));
    let mut own = Vec::new();
    for table in tables::<UpstreamTable>(settings, "upstream") {
        match Base::parse(&table.url) {
            Some(base) => upstreams.push(Spec {
                name: table.name,
                base,
                weight: table.weight,
                health: table.health,
                key: {
                    let told = table.api_key.as_deref().map(Secret::from);
                    own.push(told.clone());
                    told.or_else(|| key.clone())
                },
            }),
            None => {
                settings.problem(format!("url of [[upstream]] {:?}: use http:// or https://", table.name));
            }
        }
    }
    if own.iter().flatten().any(|key| !super::is_key(key)) {
        settings.problem("api_key of [[upstream]]: use letters, digits and -_.~ only".to_owned());
    }
    let mut rules = Vec::new();
    for table in tables::<RouteTable>(settings, "route") {
        let mut meant = Vec::new();
        for name in &table.upstreams {
            match upstreams.iter().position(|upstream| upstream.name == *name) {
                Some(index) => meant.push(index),
                None => settings.problem(format!("[[route]] names an upstream {name:?} that is not there")),
            }
        }
        let path = table.path.trim_end_matches('/').to_owned();
        rules.push(Rule { path, host: table.host, upstreams: meant, live: table.live });
    }
    let named = |index: &usize| rules.iter().any(|rule| rule.upstreams.contains(index));
    let mut others: Vec<usize> = (0..upstreams.len()).filter(|index| !named(index)).collect();
    if others.is_empty() {
        others = (0..upstreams.len()).collect();
    }
    for rule in rules.iter_mut().filter(|rule| rule.upstreams.is_empty()) {
        rule.upstreams.clone_from(&others);
    }
    (rules, others)
}

fn tables<T: for<'a> Deserialize<'a>>(settings: &mut Settings, key: &'static str) -> Vec<T> {
    let Some(value) = settings.take(key) else { return Vec::new() };
    value.try_into().unwrap_or_else(|error: toml::de::Error| {
        settings.problem(format!("[[{key}]]: {}", error.message()));
        Vec::new()
    })
}
