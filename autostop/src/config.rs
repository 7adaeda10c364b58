//! What lw_proxy and lw_tcp_proxy can be told: the documented file, read by both.

pub mod certificate;
mod ports;
pub mod reload;

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use clap::Command;
use common::{
    config::{Error, Secret, Setting, Settings},
    daemon::{Configured, Daemon},
    listen,
};
use url::Url;

pub use self::{
    certificate::{Certificate, Files, InStore},
    ports::Ports,
    reload::{Live, Source, watch},
};
use crate::provider;

/// Where the file is unless `--config` says otherwise. It may be absent.
pub const FILE: &str = "/var/lw_proxy/config.toml";

/// Every setting of both daemons: the documented names, then ours.
pub static SETTINGS: [Setting; 12] = [
    Setting::new("accessPointID", "ID", "What the control plane calls this proxy", None),
    Setting::new("apiURL", "URL", "The shared control plane; without it, this proxy is its own", None),
    Setting::new("proxyPort", "PORT", "Where lw_proxy shows its status, API and dashboard", Some("8093")),
    Setting::new(
        "usageTrackingPort",
        "PORT",
        "Where lw_proxy and lw_tcp_proxy meet, on loopback",
        Some("8094"),
    ),
    Setting::new(
        "authToken",
        "SECRET",
        "What the API asks for, and what the shared control plane is told",
        None,
    ),
    Setting::new("accountID", "ID", "Whose rules these are", None),
    Setting::new("rulesDir", "FOLDER", "Where rules are, one file each", Some("/var/lw_proxy/rules.d")),
    Setting::new(
        "stateDir",
        "FOLDER",
        "Where everything is kept that must outlive a restart",
        Some("/var/lib/wayside/autostop"),
    ),
    Setting::new("httpListen", "ADDRESS,…", "Where lw_tcp_proxy takes HTTP", Some("[::]:80")),
    Setting::new("httpsListen", "ADDRESS,…", "Where lw_tcp_proxy takes HTTPS", Some("[::]:443")),
    Setting::new("tcpPorts", "FIRST-LAST", "The ports that TCP rules may get", Some("56000-56999")),
    Setting::new(
        "adminAddr",
        "ADDRESS",
        "Where lw_tcp_proxy answers /livez, /readyz and /metrics",
        Some("127.0.0.1:8095"),
    ),
];

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `accessPointID`, which may be empty.
    pub access_point_id: String,
    /// `accountID`, which may be empty.
    pub account_id: String,
    /// `apiURL`; without it, this proxy is its own control plane.
    pub api_url: Option<Url>,
    /// Where lw_proxy shows its status: on all interfaces, and without a token on loopback only.
    pub proxy_listen: SocketAddr,
    /// Where the two daemons meet, on loopback.
    pub usage_tracking: SocketAddr,
    /// The folder of rule files.
    pub rules_dir: PathBuf,
    /// The folder of everything durable.
    pub state_dir: PathBuf,
    /// Where HTTP is taken; may be empty.
    pub http_listen: Vec<SocketAddr>,
    /// Where HTTPS is taken; may be empty.
    pub https_listen: Vec<SocketAddr>,
    /// The ports that TCP rules may get.
    pub tcp_ports: Ports,
    /// Where lw_tcp_proxy answers its operator.
    pub admin: SocketAddr,
    /// The providers by name.
    pub providers: BTreeMap<String, provider::Options>,
    /// What may change without a restart, as it was at the start; [`watch`] tells of what follows.
    pub live: Live,
    health: SocketAddr,
}

impl Configured for Config {
    fn health(&self) -> SocketAddr {
        self.health
    }
}

/// The command line of one of the two daemons, with the documented place of the file.
pub fn command(daemon: &Daemon) -> Command {
    daemon
        .command()
        .mut_arg("config", |arg| arg.default_value(FILE).help("Configuration file; it may be absent"))
}

impl Config {
    /// Understands the settings as lw_proxy: certificates are read and checked here.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn control_plane(settings: Settings) -> Result<Self, Error> {
        Self::resolve(settings, |config| config.proxy_listen, Certificate::read)
    }

    /// Understands the settings as lw_tcp_proxy, which gets its certificates from lw_proxy and need not be
    /// able to read their files.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn data_plane(settings: Settings) -> Result<Self, Error> {
        Self::resolve(settings, |config| config.admin, |_| Ok(None))
    }

    fn resolve(
        mut settings: Settings,
        health: impl FnOnce(&Self) -> SocketAddr,
        read: impl Fn(&Files) -> Result<Option<Certificate>, String>,
    ) -> Result<Self, Error> {
        let api_url = api_url(&mut settings);
        if api_url.is_some() {
            for key in ["accessPointID", "accountID"] {
                if settings.optional(key).is_none() {
                    settings.refuse(key, "say it: the shared control plane at apiURL knows this proxy by it");
                }
            }
        }
        let (files, in_store) = certificate_places(&mut settings);
        let mut certificates = Vec::new();
        for files in &files {
            match read(files) {
                Ok(certificate) => certificates.extend(certificate),
                Err(problem) => settings.problem(problem),
            }
        }
        let providers = providers(&mut settings);
        for told in &in_store {
            if !providers.contains_key(&told.provider) {
                settings.problem(format!("certificates: there is no provider `{}`", told.provider));
            }
        }
        let auth_token = token(&mut settings);
        let open: fn(u16) -> SocketAddr = if auth_token.is_some() { listen::everywhere } else { loopback };
        let mut config = Self {
            access_point_id: settings.optional("accessPointID").unwrap_or_default().to_owned(),
            account_id: settings.optional("accountID").unwrap_or_default().to_owned(),
            api_url,
            proxy_listen: open(settings.listen_port("proxyPort")),
            usage_tracking: loopback(settings.listen_port("usageTrackingPort")),
            rules_dir: settings.required("rulesDir").into(),
            state_dir: settings.required("stateDir").into(),
            http_listen: settings.addresses("httpListen"),
            https_listen: settings.addresses("httpsListen"),
            tcp_ports: settings.parse("tcpPorts", "two ports from 1 to 65535, such as 56000-56999"),
            admin: settings.address("adminAddr"),
            providers,
            live: Live { auth_token, files, certificates, in_store },
            health: loopback(0),
        };
        config.health = health(&config);
        config.refuse_overlaps(&mut settings);
        settings.or_ok(config)
    }

    /// A port that is told twice would fail only when a rule gets it.
    fn refuse_overlaps(&self, settings: &mut Settings) {
        let listeners = [self.proxy_listen, self.usage_tracking, self.admin].into_iter();
        let listeners = listeners.chain(self.http_listen.iter().chain(&self.https_listen).copied());
        for port in listeners.map(|listener| listener.port()).filter(|port| self.tcp_ports.contains(*port)) {
            settings.refuse("tcpPorts", &format!("leave out {port}, which is listened on already"));
        }
    }
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn api_url(settings: &mut Settings) -> Option<Url> {
    let told = settings.optional("apiURL")?.to_owned();
    match Url::parse(&told) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
        _ => {
            settings.refuse("apiURL", "use an http:// or https:// URL, or leave it empty");
            None
        }
    }
}

/// A token that cannot stand in a header would fail later, and in the dark.
fn token(settings: &mut Settings) -> Option<Secret> {
    let token = settings.secret("authToken")?;
    if !token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
        settings.problem("authToken: use printable ASCII without spaces".to_owned());
    }
    Some(token)
}

/// Each is in two files, or in two secrets of a provider's store.
fn certificate_places(settings: &mut Settings) -> (Vec<Files>, Vec<InStore>) {
    let Some(told) = settings.take("certificates") else { return <_>::default() };
    let mend = "use [[certificates]] with cert and key, the paths of two PEM files, or with provider, cert_secret_id and key_secret_id";
    let Ok(tables) = told.try_into::<Vec<toml::Value>>() else {
        settings.problem(format!("certificates: {mend}"));
        return <_>::default();
    };
    let (mut files, mut in_store) = (Vec::new(), Vec::new());
    for (at, table) in tables.into_iter().enumerate() {
        let read = match table.get("provider") {
            Some(_) => table.try_into().map(|told| in_store.push(told)),
            None => table.try_into().map(|told| files.push(told)),
        };
        match read {
            Ok(()) => {}
            Err(error) => {
                settings.problem(format!("certificates, number {}: {}: {mend}", at + 1, error.message()));
            }
        }
    }
    (files, in_store)
}

fn providers(settings: &mut Settings) -> BTreeMap<String, provider::Options> {
    let mut providers = BTreeMap::new();
    match settings.take("providers") {
        None => {}
        Some(toml::Value::Table(tables)) => {
            for (name, value) in tables {
                match provider::Options::read(&name, value) {
                    Ok(options) => drop(providers.insert(name, options)),
                    Err(problems) => problems.into_iter().for_each(|problem| settings.problem(problem)),
                }
            }
        }
        Some(_) => settings.problem("providers: use a table for each, [providers.NAME]".to_owned()),
    }
    providers
}

#[cfg(test)]
mod tests;
