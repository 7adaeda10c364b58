//! `flag-relay saas`: a flag service for those who host their own, and for tests: what a relay asks of the hosted one,
//! and an API to write what it serves.

mod admin;
mod answer;
mod book;
mod change;
mod faults;
mod office;
mod outbound;
mod pass;
mod proxykey;
mod streams;

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use axum::Router;
use common::{
    admin::{self as pages, Readiness},
    config::{Error, Secret, Setting, Settings},
    daemon::{self, Configured, Daemon},
    drain::Drain,
    listen,
    telemetry::Layout,
};

use self::office::Office;

static SETTINGS: [Setting; 5] = [
    Setting::new("listen", "ADDRESS", "Where relays and administrators connect", Some("127.0.0.1:7100")),
    Setting::new("data_dir", "FOLDER", "Where everything is kept", Some("/var/lib/wayside/flag-saas")),
    Setting::new("admin_token", "SECRET", "Who writes off loopback must bear it", None),
    Setting::new("account", "ID", "The account that relays are told", Some("local")),
    Setting::new("faults", "BOOL", "Whether it fails when asked to, for tests", Some("false")),
];

/// What is fixed about the service.
pub static SAAS: Daemon = Daemon {
    name: "flag-saas",
    about: "Be the flag service that relays ask",
    settings: &SETTINGS,
    layout: Layout::LevelMsgTime,
    threads: 2,
};

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    listen: SocketAddr,
    data_dir: PathBuf,
    admin_token: Option<Secret>,
    account: String,
    faults: bool,
}

impl Configured for Config {
    fn health(&self) -> SocketAddr {
        self.listen
    }
}

impl Config {
    /// Understands the settings.
    ///
    /// # Errors
    /// With every problem at once.
    pub fn resolve(mut settings: Settings) -> Result<Self, Error> {
        let listen = settings.address("listen");
        let admin_token = settings.secret("admin_token");
        if !listen.ip().is_loopback() && admin_token.is_none() {
            settings.refuse("listen", "use an address of loopback, or set ADMIN_TOKEN");
        }
        let config = Self {
            listen,
            data_dir: settings.required("data_dir").into(),
            admin_token,
            account: settings.required("account"),
            faults: settings.flag("faults"),
        };
        settings.or_ok(config)
    }
}

/// Runs the service until the drain is over.
///
/// # Errors
/// When the data folder cannot be used or the address cannot be listened on.
pub async fn serve(config: Config, drain: Drain) -> anyhow::Result<()> {
    std::fs::create_dir_all(&config.data_dir).context("make the data folder; DATA_DIR changes where")?;
    let lock = std::fs::File::options().create(true).append(true).open(config.data_dir.join("lock"));
    let lock = lock.context("open the lock")?;
    lock.try_lock().with_context(|| format!("{} is in use by another process", config.data_dir.display()))?;
    let office = Office::open(&config.data_dir, &config.account).context("read what was kept")?;
    let office = Arc::new(office);
    let mut router = Router::new()
        .nest("/api/1.0", outbound::router(&office, drain.clone()))
        .merge(admin::router(&office, config.admin_token.clone()));
    if config.faults {
        tracing::info!("faults can be asked for");
        router = router.merge(faults::router(&office, config.admin_token));
    }
    let router = router.merge(pages::health(Readiness::default(), drain.clone()));
    let listener = listen::bind(config.listen).context("serve the flag service; LISTEN changes where")?;
    tracing::info!(addr = %listener.local_addr()?, "serving the flag service");
    daemon::ready();
    pages::serve(listener, router, drain.clone()).await.context("serve the flag service")?;
    drain.idle().await;
    drop(lock);
    Ok(())
}
