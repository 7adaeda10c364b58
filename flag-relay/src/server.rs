//! Brings everything together: serves what was kept, reads the source, and runs until the stop.

mod secret;
mod sources;

use std::{
    fs::File,
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::Context as _;
use common::{
    admin::{self, Readiness},
    daemon::{self, VERSION},
    descriptors::room_for_connections,
    drain::Drain,
    listen,
};
use tokio::{task::spawn_blocking, time};

use crate::{
    api::{Api, Seen, now},
    config::{Config, Source},
    front::Front,
    keep::Keep,
    meters::Meters,
    roster::Roster,
    source::standing::Standing,
    status,
    store::Store,
    tls,
    token::Tokens,
    usage::Usage,
};

/// What readiness waits for.
const SOURCE: &str = "the first flags";

/// Runs the relay until the drain is over.
///
/// # Errors
/// When the data folder cannot be used or a port cannot be listened on.
pub async fn serve(config: Config, drain: Drain) -> anyhow::Result<()> {
    tracing::info!(version = VERSION, "starting flag-relay");
    if config.bypass_auth {
        tracing::warn!("BYPASS_AUTH is on: whoever reaches the port reads every flag");
    }
    std::fs::create_dir_all(&config.data_dir).context("make the data folder; DATA_DIR changes where")?;
    let _lock = lock(&config)?;
    let secret = secret::read_or_make(&config).context("read the secret of the tokens")?;
    let acceptor = config.tls.as_ref().map(|(chain, key)| tls::acceptor(chain, key)).transpose()?;
    let keep = Keep::open(&config.data_dir).context("open what was kept")?;
    let now_ms = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
    let (store, standing) = (Arc::new(Store::default()), Arc::new(Standing::new(now_ms)));
    let meters = Arc::new(Meters::default());
    // A port that is to be found is another one.
    let metrics_port = config.prometheus.filter(|port| *port == 0 || *port != config.listen.port());
    let api = Arc::new(Api {
        store: Arc::clone(&store),
        standing: Arc::clone(&standing),
        tokens: Tokens::new(&secret),
        bypass_auth: config.bypass_auth,
        seen: Seen::default(),
        usage: match &config.source {
            Source::Service(_) | Source::Replica if config.metric_post.is_some() => Usage::passed_on(),
            _ => Usage::default(),
        },
        meters: Arc::clone(&meters),
        roster: Roster::default(),
        targets: OnceLock::new(),
        shows_metrics: metrics_port.is_none() && config.prometheus.is_some(),
    });
    let readiness = Readiness::default();
    readiness.wait_for(SOURCE);
    let listener = listen::bind(config.status).context("serve the status; STATUS_ADDR changes where")?;
    tracing::info!(addr = %listener.local_addr()?, "serving the status");
    let router = status::router(&api, config.status_token.clone(), readiness.clone(), drain.clone());
    serve_status(listener, router, &drain);
    if let Some(port) = metrics_port {
        let listener =
            listen::bind(listen::everywhere(port)).context("serve the metrics; PROMETHEUS_PORT")?;
        tracing::info!(addr = %listener.local_addr()?, "serving the metrics");
        serve_status(listener, status::metrics(&api), &drain);
    }

    let (own, kept) = (Arc::clone(&store), keep.clone());
    spawn_blocking(move || own.apply(kept.read())).await.context("read what was kept")?;
    let spool = sources::follow(&config, &api, &drain).await?;
    tracing::info!(environments = store.world().environments.len(), "the flags are read");
    drain.spawn(keep.run(Arc::clone(&store), drain.clone()));

    let listener = listen::bind(config.listen).context("listen for SDKs; PORT changes where")?;
    tracing::info!(addr = %listener.local_addr()?, "listening for SDKs");
    let front =
        Arc::new(Front::new(Arc::clone(&api), acceptor, room_for_connections(1), config.grace.mul_f64(0.6)));
    drain.spawn(front.accept(listener, drain.clone()));
    drain.spawn(become_ready(Arc::clone(&api), readiness, drain.clone()));
    if let Some(every) = config.heartbeat {
        drain.spawn(say(Arc::clone(&api), every, drain.clone()));
    }
    daemon::ready();
    drain.started().await;
    drain.idle().await;
    // What SDKs posted until the end is passed on after the next start.
    if let Some(spool) = spool {
        spool.keep();
    }
    Ok(())
}

/// Ready once there is something to serve.
async fn become_ready(api: Arc<Api>, readiness: Readiness, drain: Drain) {
    const LOOK: Duration = Duration::from_millis(200);
    while api.store.world().environments.is_empty() {
        tokio::select! {
            () = drain.started() => return,
            () = time::sleep(LOOK) => {}
        }
    }
    readiness.done(SOURCE);
}

/// Says from time to time how the relay is.
async fn say(api: Arc<Api>, every: Duration, drain: Drain) {
    loop {
        tokio::select! {
            () = drain.started() => return,
            () = time::sleep(every) => {}
        }
        let (state, environments) = (api.standing.now(), api.store.world().environments.len());
        tracing::info!(
            config = ?state.config.state,
            stream = ?state.stream.state,
            environments,
            streams = api.meters.streams.get(),
            "heartbeat"
        );
    }
}

fn serve_status(listener: TcpListener, router: admin::Router, drain: &Drain) {
    let until = drain.clone();
    drain.spawn(async move {
        if let Err(error) = admin::serve(listener, router, until).await {
            tracing::error!(%error, "the status is no longer served");
        }
    });
}

/// Keeps every other process out of the data folder.
fn lock(config: &Config) -> anyhow::Result<File> {
    let path = config.data_dir.join("lock");
    let file = File::options().create(true).append(true).open(&path).context("open the lock")?;
    file.try_lock().with_context(|| format!("{} is in use by another process", config.data_dir.display()))?;
    Ok(file)
}
