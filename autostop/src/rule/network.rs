//! Pure. Checks what a rule says of hosts, ports and addresses, alone and against the other rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    ops::RangeInclusive,
    time::Duration,
};

use ipnet::IpNet;

use super::{
    Health, HttpRoute, Match, Problem, Rule, RuleFile, RuleId, TcpPort,
    check::Desk,
    file::{self, Action, HealthProtocol, HttpProtocol, Preset},
};

const HEALTH_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn domains(desk: &mut Desk<'_>, file: &RuleFile) -> Vec<String> {
    let mut domains = Vec::new();
    for (at, domain) in file.custom_domains.iter().enumerate() {
        let domain = domain.to_ascii_lowercase();
        let labels = domain.strip_prefix("*.").unwrap_or(&domain);
        let good = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        };
        if !labels.split('.').all(good) || labels.len() > 253 {
            desk.problem(
                &format!("custom_domains[{at}]"),
                format!(
                    "`{domain}` is no host name; write it as app.example.com or *.example.com, without a port"
                ),
            );
        }
        domains.push(domain);
    }
    match (domains.is_empty(), file.http.routing.is_empty()) {
        (true, false) => {
            desk.problem("custom_domains", "is missing; [[http.routing]] is chosen by the host name");
        }
        (false, true) => desk.problem("http.routing", "is missing; custom_domains lead nowhere without one"),
        _ => {}
    }
    domains
}

fn usual_port(protocol: HttpProtocol) -> u16 {
    match protocol {
        HttpProtocol::Http => 80,
        HttpProtocol::Https => 443,
    }
}

fn port(desk: &mut Desk<'_>, key: &str, port: Option<u16>, default: Option<u16>) -> u16 {
    match port.or(default) {
        None => desk.problem(key, "is missing"),
        Some(0) => desk.problem(key, "must be from 1 to 65535"),
        Some(port) => return port,
    }
    0
}

pub(super) fn routes(desk: &mut Desk<'_>, routing: &[file::Routing]) -> Vec<HttpRoute> {
    let mut routes = Vec::new();
    for (at, route) in routing.iter().enumerate() {
        let key = |name: &str| format!("http.routing[{at}].{name}");
        let target_protocol = route.target_protocol.unwrap_or(route.source_protocol);
        if !route.path.is_empty() && !route.path.starts_with(['/', '*']) {
            desk.problem(&key("path"), format!("`{}` must begin with a slash", route.path));
        }
        let leads = ["http://", "https://", "/"].iter().any(|start| route.redirect_url.starts_with(start));
        if !route.redirect_url.is_empty() && (route.action != Action::Redirect || !leads) {
            desk.problem(
                &key("redirect_url"),
                "is for action = \"redirect\", and begins with http://, https:// or /",
            );
        }
        routes.push(HttpRoute {
            source_protocol: route.source_protocol,
            source_port: port(
                desk,
                &key("source_port"),
                route.source_port,
                Some(usual_port(route.source_protocol)),
            ),
            target_protocol,
            target_port: port(
                desk,
                &key("target_port"),
                route.target_port,
                Some(usual_port(target_protocol)),
            ),
            action: route.action,
            path: route.path.clone(),
            redirect_url: route.redirect_url.clone(),
        });
    }
    routes
}

pub(super) fn health(desk: &mut Desk<'_>, health: &file::Health, routing: &[file::Routing]) -> Health {
    let usual = match health.protocol {
        HealthProtocol::Http => Some(80),
        HealthProtocol::Https => Some(443),
        HealthProtocol::Tcp => None,
    };
    let default = routing.iter().find_map(|route| route.target_port).or(usual);
    let status = health.status_code_from.unwrap_or(200)..=health.status_code_to.unwrap_or(399);
    if status.is_empty() || *status.start() < 100 || *status.end() > 599 {
        desk.problem("http.health.status_code_from", "with status_code_to must be a range within 100 to 599");
    }
    let timeout = desk.span("http.health.timeout", health.timeout.as_ref(), HEALTH_TIMEOUT);
    if timeout.is_zero() {
        desk.problem("http.health.timeout", "must not be zero");
    }
    Health {
        protocol: health.protocol,
        port: port(desk, "http.health.port", health.port, default),
        path: if health.path.is_empty() { "/".to_owned() } else { health.path.clone() },
        timeout,
        status,
    }
}

fn preset(target_port: u16) -> Preset {
    match target_port {
        22 => Preset::Ssh,
        3389 => Preset::Rdp,
        5432 => Preset::Postgres,
        3306 => Preset::Mysql,
        _ => Preset::Tcp,
    }
}

pub(super) fn tcp(desk: &mut Desk<'_>, tcp: &file::Tcp, range: &RangeInclusive<u16>) -> Vec<TcpPort> {
    let mut ports: Vec<TcpPort> = Vec::new();
    let fixed = [("tcp.ssh", &tcp.ssh, 22, Preset::Ssh), ("tcp.rdp", &tcp.rdp, 3389, Preset::Rdp)];
    let fixed = fixed.into_iter().filter_map(|(key, forward, usual, preset)| {
        forward.as_ref().map(|forward| (key.to_owned(), forward, Some(usual), Some(preset)))
    });
    let rules = tcp.forward_rule.iter().enumerate();
    let rules = rules.map(|(at, forward)| (format!("tcp.forward_rule[{at}]"), forward, None, None));
    for (key, forward, usual, speaks) in fixed.chain(rules) {
        let target_port = port(desk, &format!("{key}.port"), forward.port, usual);
        if target_port > 0 && ports.iter().any(|other| other.target_port == target_port) {
            desk.problem(
                &format!("{key}.port"),
                format!("{target_port} is forwarded twice by this rule; keep one"),
            );
        }
        if let Some(connect_on) = forward.connect_on
            && !range.contains(&connect_on)
        {
            desk.problem(
                &format!("{key}.connect_on"),
                format!(
                    "{connect_on} is not in tcpPorts, {}-{}; choose one of these, or leave it out",
                    range.start(),
                    range.end()
                ),
            );
        }
        ports.push(TcpPort {
            target_port,
            connect_on: forward.connect_on,
            preset: forward.protocol.or(speaks).unwrap_or_else(|| preset(target_port)),
            proxy_protocol_in: forward.proxy_protocol_in,
        });
    }
    ports
}

pub(super) fn blocks(desk: &mut Desk<'_>, key: &str, written: &[String]) -> Vec<IpNet> {
    let blocks = written.iter().enumerate();
    blocks.filter_map(|(at, text)| block(desk, &format!("{key}[{at}]"), text)).collect()
}

fn block(desk: &mut Desk<'_>, key: &str, text: &str) -> Option<IpNet> {
    let block = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    if block.is_err() {
        desk.problem(key, format!("`{text}` is no CIDR block; write it as 10.0.0.0/8 or 2001:db8::/32"));
    }
    block.ok()
}

pub(super) fn matches(desk: &mut Desk<'_>, key: &str, written: &[file::Match]) -> Vec<Match> {
    let mut matches = Vec::new();
    for (at, written) in written.iter().enumerate() {
        if *written == file::Match::default() {
            desk.problem(&format!("{key}[{at}]"), "is empty; set path, user_agent or client");
        }
        let client = Some(&written.client).filter(|client| !client.is_empty());
        matches.push(Match {
            path: written.path.clone(),
            user_agent: written.user_agent.clone(),
            client: client.and_then(|client| block(desk, &format!("{key}[{at}].client"), client)),
        });
    }
    matches
}

/// What two rules, or two parts of one, both want to have.
pub(super) fn clashes(
    rules: &BTreeMap<RuleId, Rule>,
    homes: &BTreeMap<RuleId, &str>,
    problems: &mut Vec<Problem>,
) {
    let http =
        rules.values().flat_map(|rule| rule.http.iter().map(|route| (route.source_port, rule.name.as_str())));
    let mut ports: BTreeMap<u16, &str> = http.collect();
    let mut listeners: BTreeMap<u16, (HttpProtocol, &str)> = BTreeMap::new();
    let mut routes: BTreeMap<(&str, u16, &str), &str> = BTreeMap::new();
    for rule in rules.values() {
        let file = homes.get(&rule.id).copied().unwrap_or_default();
        let mut desk = Desk { file, problems };
        for connect_on in rule.tcp.iter().filter_map(|port| port.connect_on) {
            if let Some(first) = ports.insert(connect_on, &rule.name) {
                desk.problem(
                    "tcp.connect_on",
                    format!("{connect_on} is taken by the rule `{first}`; choose another"),
                );
            }
        }
        let domains: BTreeSet<&str> = rule.domains.iter().map(String::as_str).collect();
        for route in &rule.http {
            let (speaks, first) =
                *listeners.entry(route.source_port).or_insert((route.source_protocol, &rule.name));
            if speaks != route.source_protocol {
                desk.problem(
                    "http.routing.source_port",
                    format!(
                        "{} speaks the other protocol for the rule `{first}`; choose another",
                        route.source_port
                    ),
                );
            }
            for domain in &domains {
                if let Some(first) = routes.insert((domain, route.source_port, &route.path), &rule.name) {
                    let place = format!("{domain}:{}{}", route.source_port, route.path);
                    desk.problem(
                        "http.routing",
                        format!(
                            "{place} is routed by the rule `{first}` already; change domain, path or port"
                        ),
                    );
                }
            }
        }
    }
}
