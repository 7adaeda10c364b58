//! Pure. Understands a `haproxy.cfg`: its fronts in TCP mode become `[[tcp]]`, and the rest is told.

use std::{
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use super::conf::{plain, quoted};

/// What begins a part of the file.
const HEADINGS: [&str; 5] = ["global", "defaults", "frontend", "backend", "listen"];

/// What begins a part that says nothing of connections.
const OTHER_HEADINGS: [&str; 12] = [
    "resolvers",
    "peers",
    "userlist",
    "cache",
    "program",
    "mailers",
    "ring",
    "http-errors",
    "fcgi-app",
    "log-forward",
    "crt-store",
    "traces",
];

/// One server of a backend.
#[derive(Clone, Debug, Default)]
struct Server {
    name: String,
    address: Option<String>,
    weight: Option<u32>,
    check: bool,
    check_port: Option<u16>,
    send_proxy: Option<u8>,
}

/// What a part says; a part that says nothing takes what stands in `defaults`.
#[derive(Clone, Debug, Default)]
struct Part {
    kind: String,
    name: String,
    binds: Vec<String>,
    accepts_proxy: bool,
    is_http: Option<bool>,
    has_stats: bool,
    default_backend: Option<String>,
    servers: Vec<Server>,
    most: Option<u32>,
    retries: Option<u32>,
    redispatches: bool,
    logs: bool,
    connect: Option<String>,
    client: Option<String>,
    server: Option<String>,
}

/// Whether this is the configuration of HAProxy.
pub(super) fn is_one(text: &str) -> bool {
    let words = text.lines().filter_map(|line| line.split_whitespace().next());
    words.filter(|word| HEADINGS.contains(word)).count() >= 2
}

struct Reader {
    told: String,
    /// The first is for `global` and `defaults`, and for what stands before any heading.
    parts: Vec<Part>,
    /// The part that is read.
    at: usize,
    has_defaults: bool,
    socket: Option<String>,
    name_servers: Vec<String>,
}

/// The TOML that says the same.
pub(super) fn import(text: &str) -> String {
    let mut reader = Reader {
        told: String::new(),
        parts: vec![Part::default()],
        at: 0,
        has_defaults: false,
        socket: None,
        name_servers: Vec::new(),
    };
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split_once('#').map_or(line, |(before, _)| before).trim();
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some((first, rest)) = words.split_first()
            && let Some(note) = reader.take(first, rest)
        {
            // Writing to a text cannot fail, here and below.
            writeln!(reader.told, "# line {number}: {}: {}", plain(line), plain(&note)).ok();
        }
    }
    let mut toml = String::from("# Made by `agent-relay import`.\n");
    if let Some(socket) = &reader.socket {
        writeln!(toml, "stats_socket = {}", quoted(socket)).ok();
    }
    if !reader.name_servers.is_empty() {
        let servers: Vec<_> = reader.name_servers.iter().map(|server| quoted(server)).collect();
        writeln!(toml, "dns_servers = [{}]", servers.join(", ")).ok();
    }
    let tables = reader.tables();
    toml.push_str(&reader.told);
    toml.push_str(&tables);
    toml
}

impl Reader {
    /// Takes one line up; returns what there is to say of it.
    fn take(&mut self, first: &str, rest: &[&str]) -> Option<String> {
        if HEADINGS.contains(&first) || OTHER_HEADINGS.contains(&first) {
            return self.begin(first, rest);
        }
        let word = |at: usize| rest.get(at).copied().unwrap_or_default();
        let number = rest.first().and_then(|told| told.parse().ok());
        let text = || (!rest.is_empty()).then(|| word(1).to_owned());
        if (first, word(0)) == ("stats", "socket") && self.at == 0 {
            self.socket = text().filter(|path| path.starts_with('/'));
            return self.socket.is_none().then(|| "only a path can be listened on".to_owned());
        }
        let part = self.parts.get_mut(self.at)?;
        match (first, word(0)) {
            ("bind", address) => return part.bind(address, rest.get(1..).unwrap_or_default()),
            ("mode", mode) => part.is_http = Some(mode == "http"),
            ("maxconn", _) => part.most = number,
            ("retries", _) => part.retries = number,
            ("default_backend", name) => part.default_backend = Some(name.to_owned()),
            ("server", _) => return part.server(rest),
            ("balance", "roundrobin" | "static-rr") => {}
            ("balance", _) => return Some("connections go to servers in turn here, by weight".to_owned()),
            ("option", "redispatch") => part.redispatches = true,
            ("option", "tcplog") => part.logs = true,
            ("option", "dontlognull") => return Some("it is always so here".to_owned()),
            ("timeout", "connect") => part.connect = text().and_then(|told| time(&told)),
            ("timeout", "client") => part.client = text().and_then(|told| time(&told)),
            ("timeout", "server") => part.server = text().and_then(|told| time(&told)),
            ("stats", "enable" | "uri") => {
                part.has_stats = true;
                return Some("the stats are on stats_addr, their table on /;csv".to_owned());
            }
            ("log", _) => return Some("logs go to stderr; see --log-level".to_owned()),
            ("daemon" | "user" | "group" | "chroot" | "nbproc" | "nbthread" | "pidfile", _) => {
                return Some("that is the business of systemd".to_owned());
            }
            ("nameserver", _) => {
                let server = word(1).to_owned();
                if server.parse::<SocketAddr>().is_err() && server.parse::<IpAddr>().is_err() {
                    return Some("no address of a name server".to_owned());
                }
                self.name_servers.push(server);
            }
            ("hold" | "parse-resolv-conf" | "resolve_retries", _) => {
                return Some(
                    "names are asked again by themselves, and the last good answer is kept".to_owned(),
                );
            }
            _ => return Some("not known here".to_owned()),
        }
        None
    }

    fn begin(&mut self, kind: &str, rest: &[&str]) -> Option<String> {
        if matches!(kind, "global" | "defaults") {
            self.at = 0;
            let again = kind == "defaults" && self.has_defaults;
            self.has_defaults |= kind == "defaults";
            return again.then(|| "it is read as one with the defaults before".to_owned());
        }
        let name = rest.first().copied().unwrap_or_default().to_owned();
        let mut part = Part { kind: kind.to_owned(), name, ..Part::default() };
        let mut note = None;
        if let Some(address) = rest.get(1).filter(|told| told.contains(':')) {
            note = Some("HAProxy itself wants this as a line with bind; it is read as one".to_owned());
            part.bind(address, &[]);
        }
        if OTHER_HEADINGS.contains(&kind) && kind != "resolvers" {
            note = Some("it and what is below it are left out".to_owned());
        }
        self.at = self.parts.len();
        self.parts.push(part);
        note
    }

    /// A table for each front in TCP mode.
    fn tables(&mut self) -> String {
        let common = self.parts.first().cloned().unwrap_or_default();
        let mut told = String::new();
        let mut tables = String::new();
        let fronts = self.parts.iter().filter(|part| matches!(part.kind.as_str(), "frontend" | "listen"));
        for front in fronts {
            let name = &plain(&front.name);
            if front.has_stats {
                let places = plain(&front.binds.join(" "));
                writeln!(told, "# {name}: its page is stats_addr here, on loopback unless there is a stats_token (there: {places})").ok();
                continue;
            }
            let backend = front.default_backend.as_deref().unwrap_or(&front.name);
            let is_back = |part: &&Part| matches!(part.kind.as_str(), "backend" | "listen");
            let mut backs = self.parts.iter().filter(is_back);
            let back = backs.find(|part| part.name == backend && !part.servers.is_empty());
            if front.is_http.or(common.is_http).unwrap_or(false) {
                writeln!(told, "# {name}: in HTTP mode; agents find the same on listen_port, and its servers are an [[upstream]] each").ok();
                continue;
            }
            let Some(back) = back else {
                writeln!(told, "# {name}: left out: there is no server in {}", plain(backend)).ok();
                continue;
            };
            for bind in &front.binds {
                match port(bind) {
                    Some(port) => tables.push_str(&table(&common, front, back, bind, port)),
                    None => {
                        let bind = plain(bind);
                        writeln!(told, "# {name}: {bind} is left out: no address with one port").ok();
                    }
                }
            }
        }
        told + &tables
    }
}

/// A length of time of theirs, which without a unit is in milliseconds.
fn time(told: &str) -> Option<String> {
    let is_bare = told.bytes().all(|byte| byte.is_ascii_digit());
    let time = if is_bare { format!("{told}ms") } else { told.to_owned() };
    humantime::parse_duration(&time).is_ok().then_some(time)
}

impl Part {
    fn bind(&mut self, address: &str, rest: &[&str]) -> Option<String> {
        self.binds.extend(address.split(',').map(str::to_owned));
        self.accepts_proxy |= rest.contains(&"accept-proxy");
        rest.contains(&"ssl").then(|| "TLS is not ended in TCP mode here; see tls_cert for agents".to_owned())
    }

    fn server(&mut self, words: &[&str]) -> Option<String> {
        let mut words = words.iter().copied().peekable();
        let mut server = Server { name: words.next().unwrap_or_default().to_owned(), ..Server::default() };
        server.address =
            words.next_if(|word| word.contains(['.', ':']) || *word == "localhost").map(str::to_owned);
        let mut unknown = Vec::new();
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|told| told.parse::<u32>().ok());
            match word {
                "check" => server.check = true,
                "port" => server.check_port = number().and_then(|port| port.try_into().ok()),
                "weight" => server.weight = number(),
                "send-proxy" => server.send_proxy = Some(1),
                "send-proxy-v2" => server.send_proxy = Some(2),
                other => unknown.push(other),
            }
        }
        let note = match (&server.address, unknown.is_empty()) {
            (None, _) => Some("it has no address: put one in below".to_owned()),
            (Some(_), true) => None,
            (Some(_), false) => Some(format!("not known here: {}", unknown.join(" "))),
        };
        self.servers.push(server);
        note
    }
}

/// The port of what is listened on, if it is something that can be here.
fn port(bind: &str) -> Option<u16> {
    let address = bind.parse::<SocketAddr>().ok().map(|address| address.port());
    address.or_else(|| bind.trim_start_matches('*').strip_prefix(':')?.parse().ok())
}

fn table(common: &Part, front: &Part, back: &Part, bind: &str, port: u16) -> String {
    let is_whole = back.servers.iter().all(|server| server.address.is_some());
    let mut lines = vec![
        "[[tcp]]".to_owned(),
        format!("name = {}", quoted(&front.name)),
        format!("backend = {}", quoted(&back.name)),
        format!("listen = {}", quoted(bind)),
    ];
    let most = front.most.or(common.most);
    lines.extend(most.map(|most| format!("max_connections = {most}")));
    lines.extend(back.retries.or(common.retries).map(|retries| format!("retries = {retries}")));
    lines.push(format!("redispatch = {}", back.redispatches || common.redispatches));
    let own = |one: &Option<String>, other: &Option<String>| one.clone().or_else(|| other.clone());
    let connect = own(&back.connect, &common.connect);
    lines.extend(connect.map(|time| format!("connect_timeout = {}", quoted(&time))));
    let (client, server) = (own(&front.client, &common.client), own(&back.server, &common.server));
    let length = |time: &Option<String>| time.as_ref().and_then(|time| humantime::parse_duration(time).ok());
    let idle = if length(&client) >= length(&server) { client } else { server };
    lines.extend(idle.map(|time| format!("idle_timeout = {}", quoted(&time))));
    if front.accepts_proxy {
        lines.push("accept_proxy = true".to_owned());
    }
    if front.logs || back.logs || common.logs {
        lines.push("log = true".to_owned());
    }
    for server in &back.servers {
        let address = server.address.as_deref().unwrap_or("host:port");
        // Without a port it is that which was connected to.
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let address = if has_port || !is_whole { address.to_owned() } else { format!("{address}:{port}") };
        let address = address.as_str();
        lines.push("[[tcp.servers]]".to_owned());
        lines.push(format!("name = {}", quoted(&server.name)));
        lines.push(format!("address = {}", quoted(address)));
        lines.extend(server.weight.map(|weight| format!("weight = {weight}")));
        if server.check {
            lines.push("check = true".to_owned());
        }
        lines.extend(server.check_port.map(|port| format!("check_port = {port}")));
        lines.extend(server.send_proxy.map(|version| format!("send_proxy = {version}")));
    }
    let mut text = String::new();
    if !is_whole {
        text.push_str("# Not whole as it stands: put in the address, and take off the marks.\n");
    }
    for line in lines {
        let mark = if is_whole { "" } else { "# " };
        writeln!(text, "{mark}{line}").ok();
    }
    text
}

#[cfg(test)]
mod tests;
