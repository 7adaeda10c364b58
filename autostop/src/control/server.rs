//! Opens the journal, takes up the rules, binds everything, says so, serves until the stop.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::ArgMatches;
use common::{
    admin::{self, Readiness},
    config::{Error, Settings},
    daemon::{self, Configured, VERSION, build_time},
    drain::Drain,
    listen,
};
use futures::TryFutureExt as _;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

use super::{
    book::Book,
    folder,
    link::Links,
    mind::Mind,
    record::{Kept, Record},
    run::{self, Parts},
    shared::Shared,
    vault::Vault,
};
use crate::{
    config::{self, Config, Source},
    journal::{self, Journal},
    machine::Pace,
    provider::batch::Caller,
    rule::Problem,
    wire::link_service_server::LinkServiceServer,
};

/// A checked configuration, with rules that were checked against it.
pub struct Start {
    config: Config,
    book: Book,
}

impl Configured for Start {
    fn health(&self) -> std::net::SocketAddr {
        self.config.health()
    }
}

impl Start {
    /// Understands the settings, and the rules.
    ///
    /// # Errors
    /// With every problem of the settings at once, or else of the rules.
    pub fn resolve(settings: Settings) -> Result<Self, Error> {
        let config = Config::control_plane(settings)?;
        let told =
            |problems: Vec<Problem>| Error::Problems(problems.iter().map(ToString::to_string).collect());
        let book = Book::open(&config).map_err(told)?;
        Ok(Self { config, book })
    }
}

/// Runs the control plane until the drain is over.
///
/// # Errors
/// When a port cannot be listened on, or the journal cannot be opened.
pub async fn serve(matches: ArgMatches, start: Start, drain: Drain) -> anyhow::Result<()> {
    let Start { config, book } = start;
    let book = Arc::new(book);
    tracing::info!(version = VERSION, buildTime = build_time(), "START lw_proxy");
    let planes = listen::bind(config.usage_tracking).context("usageTrackingPort changes where")?;
    let status = listen::bind(config.proxy_listen).context("proxyPort changes where")?;
    let (journal, kept) = open(&config.state_dir)?;

    let callers: BTreeMap<_, _> = config
        .providers
        .iter()
        .map(|(name, options)| (name.clone(), Caller::new(name, options, &drain)))
        .collect();
    let vault = Vault::open(&config.state_dir, callers.clone());
    let mind = Mind::new(kept.planes.clone(), Pace::default());
    let parts = Parts {
        journal,
        kept,
        rules: book.shelf().rules().clone(),
        callers,
        certificates: vault.certificates(&config.live),
        account_id: config.account_id.clone(),
        tcp_ports: config.tcp_ports,
        drain: drain.clone(),
    };
    let (control, run) = run::prepare(parts, mind);
    let source = Source::new(&crate::LW_PROXY, &matches, Config::control_plane);
    let live = config::watch(source, config.live.clone(), &drain)?;
    if config.api_url.is_some() && folder::stamp(&config.rules_dir).is_ok_and(|stamp| !stamp.is_empty()) {
        let folder = config.rules_dir.display().to_string();
        tracing::warn!(folder, "rules in rulesDir are passed over: they come from apiURL");
    }
    if let Some(shared) = Shared::of(&config, Arc::clone(&book), control.clone(), live.clone()) {
        drain.spawn(shared.follow(drain.clone()));
    }
    let (told, rules, until) = (control.clone(), Arc::clone(&book), drain.clone());
    let following = vault.follow(told, rules, live.clone(), until)?;
    drain.spawn(following);
    let (follower, told, until) = (Arc::clone(&book), control.clone(), drain.clone());
    drain.spawn(async move { follower.follow(&told, &until).await });

    let router = crate::web::router(control.clone(), book, &config, live)
        .merge(admin::health(Readiness::default(), drain.clone()));
    tracing::info!(addr = %status.local_addr()?, "Starting status listener");
    let until = drain.clone();
    drain.spawn(async move {
        if let Err(error) = admin::serve(status, router, until).await {
            tracing::error!(%error, "status and API are no longer served");
        }
    });
    tracing::info!(addr = %planes.local_addr()?, "Starting usage tracking listener");
    let links = LinkServiceServer::new(Links::new(control, drain.clone()));
    let until = drain.clone();
    let planes = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .http2_keepalive_timeout(Some(Duration::from_secs(5)))
        .add_service(links)
        .serve_with_incoming_shutdown(TcpListenerStream::new(TcpListener::from_std(planes)?), async move {
            until.started().await;
        })
        .map_err(anyhow::Error::from);
    daemon::ready();
    tokio::try_join!(run, planes)?;
    Ok(())
}

/// What cannot be read is put aside and told; the machines look at their targets before they act anyway.
fn open(state_dir: &Path) -> anyhow::Result<(Journal<Record>, Kept)> {
    let folder = state_dir.join("control");
    fs::create_dir_all(&folder)
        .with_context(|| format!("make {}; stateDir changes where", folder.display()))?;
    let (journal, recovered) = match Journal::open(&folder) {
        Err(error @ journal::Error::Damaged { .. }) => {
            tracing::error!(%error, "journal is damaged, the rest of it is kept");
            Journal::salvage(&folder)
        }
        opened => opened,
    }
    .context("open the journal")?;
    if recovered.torn_bytes > 0 {
        tracing::info!(bytes = recovered.torn_bytes, "journal ended in a write that was never acknowledged");
    }
    if let Some(damage) = recovered.damage {
        let kept = damage.kept.display().to_string();
        tracing::error!(
            lostBytes = damage.lost_bytes,
            kept,
            "records are lost; the damaged journal is put aside"
        );
    }
    Ok((journal, recovered.records.into_iter().collect()))
}
