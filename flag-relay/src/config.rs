//! What flag-relay can be told, and what it then does.

mod retired;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use common::{
    config::{Error, Secret, Setting, Settings},
    daemon::Configured,
    listen,
};

use crate::{
    shared::Place,
    source::{service::Service, web::Addresses},
};

/// Every setting. Those of the documented relay keep their names and defaults.
pub static SETTINGS: [Setting; 38] = [
    Setting::new("port", "PORT", "Where SDKs connect", Some("7000")),
    Setting::new("status_addr", "ADDRESS", "Where the status and the metrics are", Some("127.0.0.1:7001")),
    Setting::new("data_dir", "FOLDER", "Where what is served is kept", Some("/var/lib/wayside/flag-relay")),
    Setting::new("auth_secret", "SECRET", "Signs the tokens of SDKs; without it, one is made and kept", None),
    Setting::new("bypass_auth", "BOOL", "Whether SDKs are answered without a token", Some("false")),
    Setting::new("offline", "BOOL", "Whether flags come from a folder and nothing else", Some("false")),
    Setting::new("config_dir", "FOLDER", "The folder with the environments", Some("/config")),
    Setting::new("config_url", "URL,…", "Files with environments, asked for from time to time", None),
    Setting::new("config_url_token", "SECRET", "Whoever asks for these files bears it", None),
    Setting::new("poll_interval", "SECONDS", "How often they are asked for", Some("30")),
    Setting::new("proxy_key", "SECRET", "Opens the flag service", None),
    Setting::new("proxy_key_file", "FILE", "The file with that key, looked at for another one", None),
    Setting::new("client_service", "URL", "The flag service", Some("https://config.ff.harness.io/api/1.0")),
    Setting::new(
        "metric_service",
        "URL",
        "Where metrics of SDKs go",
        Some("https://events.ff.harness.io/api/1.0"),
    ),
    Setting::new("read_replica", "BOOL", "Whether a primary writes what this relay serves", Some("false")),
    Setting::new("forward_targets", "BOOL", "Whether the flag service is told of targets", Some("false")),
    Setting::new("metric_post_duration", "SECONDS", "How often metrics go on; 0 for never", Some("60")),
    Setting::new(
        "heartbeat_interval",
        "SECONDS",
        "How often the log says how the relay is; 0 for never",
        Some("60"),
    ),
    Setting::new("generate_offline_config", "BOOL", "Retired: use flag-relay export", Some("false")),
    Setting::new("redis_address", "HOST:PORT,…", "The Redis between primary and replicas", None),
    Setting::new("redis_username", "NAME", "Who Redis wants to know", None),
    Setting::new("redis_password", "SECRET", "The password for Redis", None),
    Setting::new("redis_db", "NUMBER", "The database in Redis", Some("0")),
    Setting::new(
        "redis_master",
        "NAME",
        "What sentinels call the server; the addresses are theirs then",
        None,
    ),
    Setting::new("redis_ca", "FILE", "The authorities to believe instead of the system's, PEM", None),
    Setting::new("redis_cert", "FILE", "The certificate chain to show to Redis, PEM", None),
    Setting::new("redis_key", "FILE", "Its private key, PEM", None),
    Setting::new("redis_pool_size", "NUMBER", "Connections to Redis", Some("10")),
    Setting::new("metrics_stream_max_len", "NUMBER", "How many metrics wait in Redis", Some("1000")),
    Setting::new(
        "metric_stream_read_concurrency",
        "NUMBER",
        "How many read metrics from Redis at a time",
        Some("10"),
    ),
    Setting::new("tls_enabled", "BOOL", "Whether SDKs are spoken to over TLS", Some("false")),
    Setting::new("tls_cert", "FILE", "The certificate chain, PEM", None),
    Setting::new("tls_key", "FILE", "The private key, PEM", None),
    Setting::new("prometheus_port", "PORT", "Shows the metrics to everybody at this port as well", None),
    Setting::new("and_rules", "BOOL", "Retired: rules of groups are always read whole", Some("true")),
    Setting::new("pprof", "BOOL", "Retired: there is no Go profiler in it", Some("false")),
    Setting::new("gcp_profiler_enabled", "BOOL", "Retired: there is no Go profiler in it", Some("false")),
    Setting::new("status_token", "SECRET", "Who asks for the status off loopback must bear it", None),
];

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Where SDKs connect.
    pub listen: SocketAddr,
    /// Where the status and the metrics are.
    pub status: SocketAddr,
    /// What whoever asks for the status must bear.
    pub status_token: Option<Secret>,
    /// Where what is served is kept.
    pub data_dir: PathBuf,
    /// Signs tokens; `None` makes one and keeps it.
    pub auth_secret: Option<Secret>,
    /// Whether tokens are not asked for.
    pub bypass_auth: bool,
    /// Where flags come from.
    pub source: Source,
    /// The Redis between primary and replicas.
    pub redis: Option<Place>,
    /// Whether the flag service is told of the targets that SDKs bring.
    pub forward_targets: bool,
    /// How often metrics go on; `None` for never.
    pub metric_post: Option<Duration>,
    /// The certificate chain and the private key.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Shows the metrics to everybody.
    pub prometheus: Option<u16>,
    /// How often the log says how the relay is.
    pub heartbeat: Option<Duration>,
    /// How long a stop waits for what is open.
    pub grace: Duration,
}

/// Where flags come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder, watched for changes.
    Directory(PathBuf),
    /// Files at addresses.
    Web(Addresses),
    /// The flag service, followed.
    Service(Service),
    /// What a primary wrote into Redis.
    Replica,
}

impl Configured for Config {
    fn health(&self) -> SocketAddr {
        self.status
    }
}

impl Config {
    /// Understands the settings.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn resolve(mut settings: Settings) -> Result<Self, Error> {
        for told in retired::variables(|name| std::env::var_os(name).is_some()) {
            settings.problem(told);
        }
        retired::settings(&mut settings);
        let auth_secret = settings.secret("auth_secret");
        if auth_secret.as_ref().is_some_and(|secret| secret.matches(b"secret")) {
            settings.problem(
                "AUTH_SECRET is the default of the old relay, which everybody knows: use another, or none, and one \
                 is made"
                    .to_owned(),
            );
        }
        let status = settings.address("status_addr");
        let status_token = settings.secret("status_token");
        if !status.ip().is_loopback() && status_token.is_none() {
            settings.refuse("status_addr", "use an address of loopback, or set STATUS_TOKEN");
        }
        let tls = tls(&mut settings);
        let prometheus = settings.optional("prometheus_port").is_some();
        let config = Self {
            listen: listen::everywhere(settings.listen_port("port")),
            status,
            status_token,
            data_dir: settings.optional("data_dir").unwrap_or_default().into(),
            auth_secret,
            bypass_auth: settings.flag("bypass_auth"),
            redis: redis(&mut settings),
            metric_post: seconds(&mut settings, "metric_post_duration"),
            forward_targets: settings.flag("forward_targets"),
            source: source(&mut settings),
            tls,
            prometheus: prometheus.then(|| settings.listen_port("prometheus_port")),
            heartbeat: seconds(&mut settings, "heartbeat_interval"),
            grace: settings.duration("grace_period"),
        };
        settings.or_ok(config)
    }
}

fn source(settings: &mut Settings) -> Source {
    if settings.flag("offline") {
        return Source::Directory(settings.optional("config_dir").unwrap_or_default().into());
    }
    if settings.flag("read_replica") {
        return Source::Replica;
    }
    let urls = settings.list("config_url");
    if !urls.is_empty() {
        if !urls.iter().all(|url| is_url(url)) {
            settings.refuse("config_url", "use http:// or https://");
        }
        let every = seconds(settings, "poll_interval").unwrap_or_else(|| {
            settings.refuse("poll_interval", "use a length of time above zero");
            Duration::MAX
        });
        return Source::Web(Addresses { urls, token: settings.secret("config_url_token"), every });
    }
    let (key, key_file) = (settings.secret("proxy_key"), settings.optional("proxy_key_file").map(Into::into));
    if key.is_none() && key_file.is_none() {
        settings.problem(
            "there is nothing to serve: set PROXY_KEY or PROXY_KEY_FILE, CONFIG_URL, or OFFLINE=true and \
             CONFIG_DIR"
                .to_owned(),
        );
    }
    Source::Service(Service {
        key,
        key_file,
        client_service: address(settings, "client_service"),
        metric_service: address(settings, "metric_service"),
    })
}

/// What is set for Redis; with a folder as the source, nothing is asked.
fn redis(settings: &mut Settings) -> Option<Place> {
    let is_replica = settings.flag("read_replica");
    if settings.flag("offline") {
        return None;
    }
    let addresses = settings.list("redis_address");
    if addresses.is_empty() {
        if is_replica {
            settings
                .problem("READ_REPLICA wants REDIS_ADDRESS: a replica serves what is in Redis".to_owned());
        }
        return None;
    }
    let path = |settings: &Settings, key: &str| settings.optional(key).map(PathBuf::from);
    let identity = match (path(settings, "redis_cert"), path(settings, "redis_key")) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        _ => {
            settings.problem("REDIS_CERT and REDIS_KEY: set both, or none".to_owned());
            None
        }
    };
    Some(Place {
        addresses,
        username: settings.optional("redis_username").map(str::to_owned),
        password: settings.secret("redis_password"),
        database: settings.parse("redis_db", "a number"),
        master: settings.optional("redis_master").map(str::to_owned),
        authorities: path(settings, "redis_ca"),
        identity,
        most_metrics: settings.parse::<usize>("metrics_stream_max_len", "a number").max(1),
    })
}

fn address(settings: &mut Settings, key: &'static str) -> String {
    let told = settings.required(key);
    if !is_url(&told) {
        settings.refuse(key, "use http:// or https://");
    }
    told
}

fn is_url(told: &str) -> bool {
    told.starts_with("http://") || told.starts_with("https://")
}

fn tls(settings: &mut Settings) -> Option<(PathBuf, PathBuf)> {
    if !settings.flag("tls_enabled") {
        return None;
    }
    Some((settings.required("tls_cert").into(), settings.required("tls_key").into()))
}

/// The documented relay has bare numbers of seconds; lengths of time will do too, and 0 is never.
fn seconds(settings: &mut Settings, key: &'static str) -> Option<Duration> {
    let told = settings.optional(key).and_then(|told| told.parse().ok()).map(Duration::from_secs);
    let told = told.unwrap_or_else(|| settings.duration(key));
    Some(told).filter(|told| !told.is_zero())
}

#[cfg(test)]
mod tests;
