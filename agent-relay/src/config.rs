//! What agent-relay can be told, and what it then does.

mod tables;

use std::{net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use common::{
    config::{Error, Secret, Setting, Settings},
    daemon::Configured,
    listen,
    trust::Trust,
};

use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::{
    intake::gate::Gate,
    route::Rule,
    tcp,
    upstream::{Base, Proxies, Spec, WebProxy},
};

/// Every setting. The old ones have the names that the agents' own files have.
pub static SETTINGS: [Setting; 29] = [
    Setting::new("dd_url", "URL,…", "Where data goes: one or more base URLs", None),
    Setting::new(
        "api_key",
        "KEY,…",
        "Replaces the keys of the agents; without it theirs are passed on",
        None,
    ),
    Setting::new("listen_port", "PORT,…", "Where agents connect", Some("17123,18123")),
    Setting::new("non_local_traffic", "BOOL", "Whether agents of other hosts may connect", Some("false")),
    Setting::new(
        "bind_host",
        "ADDRESS",
        "The address to listen on without non_local_traffic",
        Some("localhost"),
    ),
    Setting::new("proxy_host", "HOST", "The web proxy on the way out", None),
    Setting::new("proxy_port", "PORT", "The port of the web proxy", Some("3128")),
    Setting::new("proxy_user", "NAME", "Who the web proxy wants to know", None),
    Setting::new("proxy_password", "SECRET", "The password for the web proxy", None),
    Setting::new("no_proxy", "HOST,…", "Hosts that are reached without the web proxy", None),
    Setting::new("skip_ssl_validation", "BOOL", "Whether any certificate is believed", Some("false")),
    Setting::new("ca_certs", "FILE", "PEM certificates that vouch for the upstreams, and no others", None),
    Setting::new("forwarder_timeout", "TIME", "How long an upstream may take to answer", Some("20s")),
    Setting::new("dns_servers", "ADDRESS,…", "Name servers; without it those of the system", None),
    Setting::new("data_dir", "FOLDER", "Where the queue is", Some("/var/lib/wayside/agent-relay")),
    Setting::new("tls_cert", "FILE", "PEM certificates for agents, who then speak TLS", None),
    Setting::new("tls_key", "FILE", "The PEM key of tls_cert", None),
    Setting::new(
        "intake_token",
        "SECRET",
        "What agents have to bring, as a bearer's token or their API key",
        None,
    ),
    Setting::new("intake_allow", "NETWORK,…", "Networks of agents; without it all", None),
    Setting::new("trusted_proxies", "NETWORK,…", "Load balancers whose X-Forwarded-For is believed", None),
    Setting::new("stats_token", "SECRET", "What whoever looks at the stats has to bring", None),
    Setting::new("stats_socket", "FILE", "A unix socket for the commands of HAProxy's stats socket", None),
    Setting::new(
        "stats_addr",
        "ADDRESS",
        "Where the stats are; off loopback only with a stats_token",
        Some("127.0.0.1:3835"),
    ),
    Setting::new("queue_max_bytes", "BYTES", "How much may wait in all", Some("10GiB")),
    Setting::new("dead_max_bytes", "BYTES", "How much is kept of dead letters", Some("1GiB")),
    Setting::new("queue_max_age", "TIME", "What waited longer becomes a dead letter", Some("10days")),
    Setting::new("agent_max_bytes", "BYTES", "How much of one agent may wait", Some("1GiB")),
    Setting::new("body_max_bytes", "BYTES", "The largest body that is taken", Some("64MiB")),
    Setting::new("memory_max_bytes", "BYTES", "Memory for bodies on their way to disk", Some("96MiB")),
];

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) stats: SocketAddr,
    pub(crate) data_dir: PathBuf,
    pub(crate) upstreams: Vec<Spec>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) others: Vec<usize>,
    pub(crate) tcp: Vec<tcp::Spec>,
    pub(crate) proxies: Proxies,
    pub(crate) dns_servers: Vec<SocketAddr>,
    pub(crate) gate: Gate,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) stats_token: Option<Secret>,
    pub(crate) stats_socket: Option<PathBuf>,
    pub(crate) dead_max_bytes: u64,
    pub(crate) trust: Trust,
    pub(crate) patience: Duration,
    pub(crate) max_bytes: u64,
    pub(crate) max_age: Duration,
    pub(crate) agent_max_bytes: u64,
    pub(crate) body_max_bytes: u64,
    pub(crate) memory_bytes: u64,
}

impl Configured for Config {
    fn health(&self) -> SocketAddr {
        self.stats
    }
}

impl Config {
    /// Understands the settings.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn resolve(mut settings: Settings) -> Result<Self, Error> {
        let listen = listeners(&mut settings);
        let mut upstreams = from_urls(&mut settings);
        let (rules, others) = tables::read(&mut settings, &mut upstreams);
        let tcp = tables::tcp(&mut settings, listen.first().copied());
        if upstreams.is_empty() && tcp.is_empty() {
            settings.refuse("dd_url", "tell at least one URL, here or as an [[upstream]], or a [[tcp]]");
        }
        let stats = settings.address("stats_addr");
        let stats_token = settings.secret("stats_token");
        if !stats.ip().is_loopback() && stats_token.is_none() {
            settings.refuse("stats_addr", "set a stats_token as well, or use an address of loopback");
        }
        let body_max_bytes = settings.bytes("body_max_bytes");
        let memory_bytes = settings.bytes("memory_max_bytes");
        if memory_bytes < body_max_bytes {
            settings.refuse("memory_max_bytes", "use at least body_max_bytes");
        }
        if body_max_bytes > 1 << 30 {
            settings.refuse("body_max_bytes", "use at most 1GiB");
        }
        let skips = settings.flag("skip_ssl_validation");
        let trust = match settings.optional("ca_certs") {
            _ if skips => Trust::Anybody,
            Some(file) => Trust::File(file.into()),
            None => Trust::System,
        };
        let config = Self {
            listen,
            stats,
            data_dir: settings.optional("data_dir").unwrap_or_default().into(),
            upstreams,
            rules,
            others,
            tcp,
            proxies: web_proxies(&mut settings),
            dns_servers: name_servers(&mut settings),
            gate: Gate {
                allow: networks(&mut settings, "intake_allow"),
                token: settings.secret("intake_token"),
                trusted: networks(&mut settings, "trusted_proxies"),
            },
            tls: certificate(&mut settings),
            stats_token,
            stats_socket: settings.optional("stats_socket").map(PathBuf::from),
            dead_max_bytes: settings.bytes("dead_max_bytes"),
            trust,
            patience: patience(&mut settings),
            max_bytes: settings.bytes("queue_max_bytes"),
            max_age: settings.duration("queue_max_age"),
            agent_max_bytes: settings.bytes("agent_max_bytes"),
            body_max_bytes,
            memory_bytes,
        };
        settings.or_ok(config)
    }
}

/// The agents' own files have a number of seconds.
fn patience(settings: &mut Settings) -> Duration {
    match settings.optional("forwarder_timeout").and_then(|told| told.parse().ok()) {
        Some(seconds) => Duration::from_secs(seconds),
        None => settings.duration("forwarder_timeout"),
    }
}

fn listeners(settings: &mut Settings) -> Vec<SocketAddr> {
    let is_open = settings.flag("non_local_traffic");
    let host = settings.optional("bind_host").unwrap_or_default().to_owned();
    let host = if host == "localhost" { "127.0.0.1" } else { &host };
    let address: IpAddr = host.parse().unwrap_or_else(|_| {
        settings.refuse("bind_host", "use localhost or an IP address");
        IpAddr::from([127, 0, 0, 1])
    });
    let mut addresses = Vec::new();
    for port in settings.list("listen_port") {
        match port.parse() {
            Ok(port) if is_open => addresses.push(listen::everywhere(port)),
            Ok(port) => addresses.push(SocketAddr::new(address, port)),
            Err(_) => settings.refuse("listen_port", "use ports from 1 to 65535, with commas between"),
        }
    }
    addresses
}

/// Whether this can stand in a query as it is.
fn is_key(key: &Secret) -> bool {
    key.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
}

/// The upstreams of `dd_url`, with their keys in the same order, or one key for all.
fn from_urls(settings: &mut Settings) -> Vec<Spec> {
    let urls = settings.list("dd_url");
    let keys: Vec<Secret> = settings.list("api_key").iter().map(|key| Secret::from(key.as_str())).collect();
    if keys.iter().any(|key| !is_key(key)) {
        settings.problem("API_KEY: use letters, digits and -_.~ only".to_owned());
    }
    if keys.len() > 1 && keys.len() != urls.len() {
        settings.problem("API_KEY: tell one key, or one for each URL in DD_URL".to_owned());
    }
    let mut upstreams = Vec::new();
    for (index, url) in urls.iter().enumerate() {
        match Base::parse(url) {
            Some(base) => upstreams.push(Spec {
                name: base.authority(),
                base,
                weight: 1,
                health: None,
                key: keys.get(index).or(keys.first()).cloned(),
            }),
            None => settings
                .refuse("dd_url", "use URLs such as https://app.example.com, without a user or a query"),
        }
    }
    upstreams
}

fn networks(settings: &mut Settings, key: &'static str) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for told in settings.list(key) {
        let one = told.parse::<IpAddr>().map(IpNet::from).ok();
        match told.parse().ok().or(one) {
            Some(network) => networks.push(network),
            None => settings.refuse(key, "use networks such as 10.0.0.0/8, with commas between"),
        }
    }
    networks
}

/// Name servers, on port 53 unless they say another.
fn name_servers(settings: &mut Settings) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for told in settings.list("dns_servers") {
        let bare = told.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53)).ok();
        match told.parse().ok().or(bare) {
            Some(server) => servers.push(server),
            None => settings.refuse("dns_servers", "use addresses such as 10.0.0.53 or 127.0.0.1:5353"),
        }
    }
    servers
}

fn certificate(settings: &mut Settings) -> Option<(PathBuf, PathBuf)> {
    let told = |key: &str| settings.optional(key).map(PathBuf::from);
    match (told("tls_cert"), told("tls_key")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            settings.problem("TLS_CERT and TLS_KEY: set both, or none".to_owned());
            None
        }
    }
}

fn web_proxies(settings: &mut Settings) -> Proxies {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut except = settings.list("no_proxy");
    if except.is_empty() {
        let told = variable("no_proxy").unwrap_or_default();
        except.extend(told.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
    }
    let told = settings.optional("proxy_host").map(str::to_owned);
    if let Some(host) = told {
        let port = settings.port("proxy_port");
        let user = settings.optional("proxy_user").map(str::to_owned);
        let credentials = user.map(|user| {
            let password = settings.secret("proxy_password");
            Secret::from(format!("{user}:{}", password.as_ref().map_or("", Secret::expose)).as_str())
        });
        let proxy = Some(WebProxy { host, port, credentials, except });
        return Proxies { http: proxy.clone(), https: proxy };
    }
    let mut proxy = |names: [&str; 2]| {
        let url = names.into_iter().find_map(variable)?;
        let proxy = from_url(&url, except.clone());
        if proxy.is_none() {
            let mend = "use http://host:port, with user:password@ if it wants them";
            settings.problem(format!("{}: {mend}", names.join(" or ")));
        }
        proxy
    };
    let https = proxy(["https_proxy", "HTTPS_PROXY"]);
    let http = proxy(["http_proxy", "HTTP_PROXY"]);
    // The agents of old went everywhere through the one for https.
    Proxies { http: http.or_else(|| https.clone()), https }
}

/// A web proxy as the usual environment variables have it.
fn from_url(url: &str, except: Vec<String>) -> Option<WebProxy> {
    let whole = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
    let url = Url::parse(&whole).ok().filter(|url| url.scheme() == "http")?;
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let plain = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
    let credentials = if url.username().is_empty() {
        None
    } else {
        let password = plain(url.password().unwrap_or_default())?;
        Some(Secret::from(format!("{}:{password}", plain(url.username())?).as_str()))
    };
    // The parser takes a port that is the usual one of http for none.
    let is_told = |port: &str| whole.trim_end_matches('/').ends_with(port);
    let port = url.port().unwrap_or(if is_told(":80") { 80 } else { 3128 });
    Some(WebProxy { host, port, credentials, except })
}

#[cfg(test)]
mod tests;
