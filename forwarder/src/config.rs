//! What forwarder can be told, and what it then does.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use common::{
    config::{Error, Secret, Setting, Settings},
    daemon::Configured,
    listen,
};
use tonic::transport::{Identity, ServerTlsConfig};
use url::Url;

use crate::store;

/// Every setting of forwarder, with the names and defaults that its users know.
pub static SETTINGS: [Setting; 16] = [
    Setting::new("service_port", "PORT", "Where proxies register and bring what they captured", Some("8888")),
    Setting::new(
        "cluster_name",
        "NAME",
        "A name for this environment, in every stored exchange",
        Some("default"),
    ),
    Setting::new(
        "analyzer_addr",
        "ADDRESS",
        "Where the Analyzer, the API and /metrics answer [default: 127.0.0.1:8889]",
        None,
    ),
    Setting::new(
        "analyzer_port",
        "PORT",
        "The port of analyzer_addr, when that is all there is to say",
        None,
    ),
    Setting::new("analyzer_token", "SECRET", "What the Analyzer asks for; needed off loopback", None),
    Setting::new("data_dir", "FOLDER", "Where everything is kept", Some("/var/lib/wayside/forwarder")),
    Setting::new(
        "store_url",
        "URL",
        "Where sealed segments go, such as s3://bucket/prefix; without it, data_dir",
        None,
    ),
    Setting::new(
        "store_max_bytes",
        "BYTES",
        "Sealed segments beyond this are removed, oldest first; 0 for no limit",
        Some("20GiB"),
    ),
    Setting::new(
        "store_max_age",
        "TIME",
        "Sealed segments older than this are removed; 0s for no limit",
        Some("30days"),
    ),
    Setting::new("proxy_timeout", "TIME", "A proxy not heard of for so long is reaped", Some("45s")),
    Setting::new("forwarder_token", "SECRET", "What a proxy must say before it is heard", None),
    Setting::new(
        "forwarder_tls_cert",
        "FILE",
        "PEM certificate chain of the gRPC listener; turns TLS on",
        None,
    ),
    Setting::new("forwarder_tls_key", "FILE", "PEM private key of that certificate", None),
    Setting::new("dlp_config", "RULE", "Redaction in the forwarder; not available yet", None),
    Setting::new("filter_rule", "RULE", "What to leave out; not available yet", None),
    Setting::new("exporters", "JSON", "OTLP collectors; not available yet", None),
];

/// The port of the Analyzer when none is told.
const ANALYZER_PORT: u16 = 8889;

/// A checked configuration.
pub struct Config {
    /// The port for proxies.
    pub service_port: u16,
    /// Where the Analyzer is.
    pub analyzer: SocketAddr,
    /// What it asks for.
    pub analyzer_token: Option<Secret>,
    /// How a silent proxy is told from a living one.
    pub proxy_timeout: Duration,
    /// What a proxy must say.
    pub token: Option<Secret>,
    /// How the gRPC listener proves who it is.
    pub tls: Option<ServerTlsConfig>,
    /// How exchanges are kept.
    pub store: store::Options,
}

impl Configured for Config {
    fn health(&self) -> SocketAddr {
        self.analyzer
    }
}

impl Config {
    /// Understands the settings.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn resolve(mut settings: Settings) -> Result<Self, Error> {
        for key in ["dlp_config", "filter_rule", "exporters"] {
            if settings.optional(key).is_some() {
                settings.refuse(
                    key,
                    "leave it out: it is not available yet, and ignoring it would not be what you asked for",
                );
            }
        }
        let analyzer = analyzer(&mut settings);
        let analyzer_token = settings.secret("analyzer_token");
        if !analyzer.ip().is_loopback() && analyzer_token.is_none() {
            settings.refuse(
                "analyzer_addr",
                "set ANALYZER_TOKEN too: off loopback, whoever can connect would see what was captured",
            );
        }
        let defaults = store::Options::default();
        let store = store::Options {
            data_dir: PathBuf::from(settings.required("data_dir")),
            store_url: store_url(&mut settings),
            cluster: settings.required("cluster_name"),
            max_bytes: settings.bytes("store_max_bytes"),
            max_age: settings.duration("store_max_age"),
            ..defaults
        };
        let config = Self {
            service_port: settings.listen_port("service_port"),
            analyzer,
            analyzer_token,
            proxy_timeout: settings.duration("proxy_timeout"),
            token: settings.secret("forwarder_token"),
            tls: tls(&mut settings),
            store,
        };
        if config.proxy_timeout < Duration::from_secs(1) {
            settings.refuse("proxy_timeout", "use at least 1s");
        }
        settings.or_ok(config)
    }
}

fn analyzer(settings: &mut Settings) -> SocketAddr {
    match (settings.optional("analyzer_addr").is_some(), settings.optional("analyzer_port").is_some()) {
        (true, true) => {
            settings.refuse("analyzer_port", "leave it out: analyzer_addr says it already");
            listen::everywhere(0)
        }
        (true, false) => settings.address("analyzer_addr"),
        (false, true) => SocketAddr::from(([127, 0, 0, 1], settings.listen_port("analyzer_port"))),
        (false, false) => SocketAddr::from(([127, 0, 0, 1], ANALYZER_PORT)),
    }
}

fn store_url(settings: &mut Settings) -> Option<Url> {
    let told = settings.optional("store_url")?;
    match Url::parse(told) {
        Ok(url) if matches!(url.scheme(), "s3" | "file") => Some(url),
        _ => {
            settings.refuse("store_url", "use s3://bucket/prefix or file:///folder");
            None
        }
    }
}

fn tls(settings: &mut Settings) -> Option<ServerTlsConfig> {
    let files = ["forwarder_tls_cert", "forwarder_tls_key"];
    if files.iter().all(|key| settings.optional(key).is_none()) {
        return None;
    }
    let mut read = files.map(|key| {
        let Some(path) = settings.optional(key) else {
            settings.refuse(key, "set it too: a certificate and its key belong together");
            return Vec::new();
        };
        std::fs::read(path).unwrap_or_else(|error| {
            settings.refuse(key, &format!("use a readable PEM file ({error})"));
            Vec::new()
        })
    });
    let [certificate, key] = read.each_mut().map(std::mem::take);
    Some(ServerTlsConfig::new().identity(Identity::from_pem(certificate, key)))
}

#[cfg(test)]
mod tests;
