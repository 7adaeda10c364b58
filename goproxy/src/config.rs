//! What goproxy can be told, and what it then does.

use std::{env, net::SocketAddr, thread};

use common::{
    config::{Error, Secret, Setting, Settings},
    daemon::Configured,
};
use ring::rand;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::{
    decode::Limits,
    redact::{Key, Redactor, names::Names},
};

/// Every setting of goproxy, with the names and defaults that its users know.
pub static SETTINGS: [Setting; 22] = [
    Setting::new("proxy_type", "TYPE", "How traffic reaches the proxy: reverse", None),
    Setting::new(
        "proxy_protocol",
        "PROTOCOL",
        "What clients speak to the proxy itself: http or tcp, told apart by what they send",
        Some("http"),
    ),
    Setting::new("proxy_in_port", "PORT", "Where the proxy listens", Some("4143")),
    Setting::new(
        "reverse_proxy_host",
        "HOST",
        "Where the service is: a host name, an address, or an http:// URL",
        Some("localhost"),
    ),
    Setting::new("reverse_proxy_port", "PORT", "The port of the service", Some("80")),
    Setting::new("app_label", "NAME", "Name of the application, the same for all its instances", None),
    Setting::new(
        "app_pod_name",
        "NAME",
        "Unique name of this instance of the application, such as the host name",
        None,
    ),
    Setting::new("app_pod_namespace", "NAME", "Namespace of the application", Some("default")),
    Setting::new("forwarder_addr", "HOST:PORT", "Where the forwarder is", None),
    Setting::new("forwarder_token", "SECRET", "What the forwarder wants to hear before it listens", None),
    Setting::new(
        "forwarder_tls_ca",
        "FILE",
        "PEM certificates that vouch for the forwarder; turns TLS on",
        None,
    ),
    Setting::new(
        "health_addr",
        "ADDRESS",
        "Where /livez, /healthz and /readyz answer",
        Some("127.0.0.1:4144"),
    ),
    Setting::new("metrics_http_enable", "BOOL", "Whether /metrics is served, on loopback", Some("false")),
    Setting::new("metrics_http_port", "PORT", "The port of /metrics", Some("4145")),
    Setting::new("capture_body_limit", "BYTES", "How much of one body is kept", Some("1MiB")),
    Setting::new(
        "capture_memory_limit",
        "BYTES",
        "Memory for what is captured and not yet stored",
        Some("64MiB"),
    ),
    Setting::new(
        "redact_enable",
        "BOOL",
        "Whether secrets are overwritten before they leave the proxy",
        Some("true"),
    ),
    Setting::new(
        "redact_key",
        "SECRET",
        "Key of the tokens that replace secrets: the same key, the same tokens; drawn at each start if not set",
        None,
    ),
    Setting::new(
        "redact_headers",
        "NAMES",
        "Header fields whose values are secrets, separated by commas; `default` stands for a list of common ones",
        Some("default"),
    ),
    Setting::new(
        "redact_fields",
        "NAMES",
        "Names in queries, forms, JSON and XML whose values are secrets; `default` stands for a list of common ones",
        Some("default"),
    ),
    Setting::new(
        "redact_unreadable",
        "withhold|keep",
        "What to do with a body in a coding that cannot be looked into, such as br or zstd",
        Some("withhold"),
    ),
    Setting::new("tls_in_unwrap", "BOOL", "Whether TLS is terminated here; not available yet", Some("false")),
];

/// How much of a head is kept; real ones are far smaller.
const HEAD_LIMIT: usize = 256 << 10;

/// The forwarder reads messages of up to 16 MiB; two bodies of this size with their heads fit.
const MOST_BODY_LIMIT: u64 = 6 << 20;

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// The port for clients.
    pub listen_port: u16,
    /// The service.
    pub upstream: Upstream,
    /// Who this proxy is to the forwarder.
    pub identity: Identity,
    /// The forwarder.
    pub forwarder: Forwarder,
    /// Where the health endpoints are.
    pub health: SocketAddr,
    /// Where the metrics are, if anywhere.
    pub metrics: Option<SocketAddr>,
    /// What is overwritten in what is captured; `None` when nothing is.
    pub redactor: Option<Redactor>,
    /// How much of one exchange is kept.
    pub limits: Limits,
    /// Bytes of memory for capture.
    pub capture_memory: usize,
    /// Threads that relay.
    pub workers: usize,
}

/// The service behind the proxy, resolved anew for each connection.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// A host name or an address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// What a proxy says of itself.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `APP_LABEL`.
    pub service: String,
    /// `APP_POD_NAME`, the proxy's id.
    pub instance: String,
    /// `APP_POD_NAMESPACE`.
    pub namespace: String,
}

/// How to reach the forwarder.
#[derive(Clone, Debug)]
pub struct Forwarder {
    /// As it was configured, for the log.
    pub address: String,
    /// Ready to be connected.
    pub endpoint: Endpoint,
    /// What to authenticate with.
    pub token: Option<Secret>,
}

impl Configured for Config {
    fn health(&self) -> SocketAddr {
        self.health
    }
}

impl Config {
    /// Understands the settings.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn resolve(mut settings: Settings) -> Result<Self, Error> {
        let proxy_type = settings.required("proxy_type");
        if !proxy_type.is_empty() && proxy_type != "reverse" {
            settings.refuse("proxy_type", "use reverse; forward, transparent and dual are not available yet");
        }
        if !matches!(settings.optional("proxy_protocol"), Some("http" | "tcp")) {
            settings.refuse(
                "proxy_protocol",
                "use http or tcp; socks belongs to forward proxies, which are not available yet",
            );
        }
        if settings.flag("tls_in_unwrap") {
            settings.refuse(
                "tls_in_unwrap",
                "leave it off: TLS passes through as an opaque stream, terminating it is not available yet",
            );
        }
        refuse_unknown_redaction(
            &mut settings,
            env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
        );
        let redactor = redactor(&mut settings);
        let upstream = upstream(&mut settings);
        let forwarder = forwarder(&mut settings);
        let metrics_port = settings.listen_port("metrics_http_port");
        let metrics =
            settings.flag("metrics_http_enable").then(|| SocketAddr::from(([127, 0, 0, 1], metrics_port)));
        let body = settings.bytes("capture_body_limit");
        let memory = settings.bytes("capture_memory_limit");
        if memory < 1 << 20 {
            settings.refuse("capture_memory_limit", "use at least 1MiB");
        }
        if body > MOST_BODY_LIMIT {
            settings.refuse(
                "capture_body_limit",
                "use at most 6MiB: request and response must fit into one message to the forwarder",
            );
        }
        let config = Self {
            listen_port: settings.listen_port("proxy_in_port"),
            upstream,
            identity: Identity {
                service: settings.required("app_label"),
                instance: settings.required("app_pod_name"),
                namespace: settings.optional("app_pod_namespace").unwrap_or_default().to_owned(),
            },
            forwarder: forwarder.unwrap_or_else(nowhere),
            health: settings.address("health_addr"),
            metrics,
            redactor,
            limits: Limits { head: HEAD_LIMIT, body: usize::try_from(body).unwrap_or(usize::MAX) },
            capture_memory: usize::try_from(memory).unwrap_or(usize::MAX),
            workers: thread::available_parallelism().map_or(1, usize::from),
        };
        settings.or_ok(config)
    }
}

/// Whoever asks for redaction must not be captured without it.
fn refuse_unknown_redaction(settings: &mut Settings, variables: impl Iterator<Item = String>) {
    let known = |name: &str| SETTINGS.iter().any(|setting| setting.variable() == name);
    for variable in variables.filter(|name| name.starts_with("REDACT_") && !known(name)) {
        settings.refuse(&variable, "remove it, or see --help for what can be redacted");
    }
}

/// Header fields that carry credentials as a rule; see [`Names`] for what they match.
const SECRET_HEADERS: &str = "authorization,authentication-info,cookie,token,api-key,secret,session-id";
/// Names of values that are secrets as a rule; see [`Names`] for what they match.
const SECRET_FIELDS: &str = "password,passwd,passphrase,pwd,secret,token,apikey,privatekey,accesskey,\
    authorization,credential,credentials,sessionid,cardnumber,creditcard,cvv,cvc,cvv2,ssn,otp,pin";

fn redactor(settings: &mut Settings) -> Option<Redactor> {
    let enabled = settings.flag("redact_enable");
    let headers = names(settings, "redact_headers", SECRET_HEADERS);
    let fields = names(settings, "redact_fields", SECRET_FIELDS);
    let keep_unreadable = match settings.optional("redact_unreadable") {
        Some("keep") => true,
        Some("withhold") => false,
        _ => {
            settings.refuse("redact_unreadable", "use withhold or keep");
            false
        }
    };
    let key = match settings.secret("redact_key") {
        Some(secret) if secret.expose().len() < 16 => {
            settings.refuse("redact_key", "use at least 16 characters: a short key can be guessed");
            None
        }
        Some(secret) => Some(Key::of(&secret)),
        None => match rand::generate(&rand::SystemRandom::new()) {
            Ok(drawn) => Some(Key::new(&drawn.expose())),
            Err(_) => {
                settings.refuse("redact_key", "set one: the system gives no randomness to draw it");
                None
            }
        },
    };
    Some(Redactor { key: key?, headers, fields, keep_unreadable }).filter(|_| enabled)
}

fn names(settings: &Settings, key: &str, default: &str) -> Names {
    let told = settings.optional(key).unwrap_or_default().split(',').map(str::trim);
    Names::new(told.flat_map(|name| match name {
        "default" => default.split(',').collect(),
        other => vec![other],
    }))
}

fn upstream(settings: &mut Settings) -> Upstream {
    let port = settings.port("reverse_proxy_port");
    let told = settings.optional("reverse_proxy_host").unwrap_or_default().to_owned();
    let mend = "use a host name, an address or an http:// URL without a path";
    let host = match told.split_once("://") {
        None => told.as_str(),
        Some(("http", host)) => host.trim_end_matches('/'),
        Some(("https", _)) => {
            settings
                .refuse("reverse_proxy_host", "use http://: TLS towards the service is not available yet");
            "localhost"
        }
        Some(_) => "",
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.split_once(']'));
    let (host, port_told) = match (bracketed, host.split_once(':')) {
        (Some((host, rest)), _) => (host, rest.strip_prefix(':')),
        (None, Some((name, port))) if !port.contains(':') => (name, Some(port)),
        _ => (host, None),
    };
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        settings.refuse("reverse_proxy_host", mend);
    }
    let port = match port_told.map(str::parse) {
        None => port,
        Some(Ok(port)) => port,
        Some(Err(_)) => {
            settings.refuse("reverse_proxy_host", mend);
            port
        }
    };
    Upstream { host: host.to_owned(), port }
}

fn forwarder(settings: &mut Settings) -> Option<Forwarder> {
    let address = settings.required("forwarder_addr");
    let ca = settings.optional("forwarder_tls_ca").map(str::to_owned);
    let scheme = if ca.is_some() { "https" } else { "http" };
    let mend = "use host:port, such as localhost:8888";
    let port = address.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
    if !address.is_empty() && (address.contains('/') || !matches!(port, Some(Ok(1..)))) {
        settings.refuse("forwarder_addr", mend);
        return None;
    }
    let mut endpoint = match Endpoint::from_shared(format!("{scheme}://{address}")) {
        Ok(endpoint) => endpoint,
        Err(_) if address.is_empty() => return None,
        Err(_) => {
            settings.refuse("forwarder_addr", mend);
            return None;
        }
    };
    if let Some(path) = ca {
        let tls = std::fs::read(&path)
            .map_err(|error| error.to_string())
            .map(|pem| ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
            .and_then(|tls| endpoint.clone().tls_config(tls).map_err(|error| error.to_string()));
        match tls {
            Ok(with_tls) => endpoint = with_tls,
            Err(error) => settings
                .refuse("forwarder_tls_ca", &format!("use a readable file of PEM certificates ({error})")),
        }
    }
    Some(Forwarder { address, endpoint, token: settings.secret("forwarder_token") })
}

/// Stands in where a problem was told already, so that the others are found too.
fn nowhere() -> Forwarder {
    Forwarder { address: String::new(), endpoint: Endpoint::from_static("http://localhost"), token: None }
}

#[cfg(test)]
mod tests;
