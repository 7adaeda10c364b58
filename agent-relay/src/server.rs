//! Opens the queue, binds everything, says so, and relays until the stop.

use std::{
    net::TcpListener,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use common::{
    admin::{self, Readiness},
    daemon::VERSION,
    descriptors::room_for_connections,
    drain::Drain,
    listen, notify,
    trust::Trust,
};
use tokio::sync::Semaphore;

use crate::{
    config::Config,
    fleet::Fleet,
    intake::Intake,
    keys::Keys,
    queue::{Queue, Quota},
    relay::Relay,
    route::Routes,
    stats,
    upstream::{self, Upstream},
};

/// Deliveries at a time.
const DELIVERIES: usize = 64;
/// How often an upstream is asked how it is.
const CHECK: Duration = Duration::from_secs(5);

/// Runs the relay until the drain is over.
///
/// # Errors
/// When the queue cannot be opened or a port cannot be listened on.
pub async fn serve(config: Config, drain: Drain) -> anyhow::Result<()> {
    tracing::info!(version = VERSION, "START Wayside Agent Relay");
    if matches!(config.trust, Trust::Anybody) {
        tracing::warn!("skip_ssl_validation is on: whoever stands in between can read and change everything");
    }
    std::fs::create_dir_all(&config.data_dir).context("make the data folder; DATA_DIR changes where")?;
    let _lock = lock(&config)?;
    let quota = Quota { bytes: config.max_bytes, agent_bytes: config.agent_max_bytes };
    let queue = Queue::open(&config.data_dir, quota).context("open the queue")?;
    let balance = queue.balance();
    tracing::info!(queued = balance.queued, bytes = queue.queued_bytes(), "the queue is open");
    let keys = Arc::new(Keys::open(&config.data_dir).context("read the salt of the key tags")?);
    let fleet = Arc::new(Fleet::default());
    let dialer = upstream::dialer(&config.trust, config.proxy.clone())?;
    let upstreams: Vec<_> = config
        .upstreams
        .iter()
        .map(|spec| Arc::new(Upstream::new(spec.clone(), Arc::clone(&dialer), drain.clone())))
        .collect();
    let relay = Arc::new(Relay {
        queue: Arc::clone(&queue),
        upstreams: upstreams.clone(),
        routes: Routes::new(config.rules.clone(), config.others.clone()),
        keys: Arc::clone(&keys),
        fleet: Arc::clone(&fleet),
        patience: config.patience,
        max_age: config.max_age,
        held: Mutex::default(),
    });
    let stats = listen::bind(config.stats).context("serve the stats; STATS_ADDR changes where")?;
    tracing::info!(addr = %stats.local_addr()?, "Starting stats listener");
    serve_stats(stats, stats::router(&relay, Readiness::default(), drain.clone()), &drain);

    let memory = usize::try_from(config.memory_bytes >> 10).unwrap_or(usize::MAX);
    let intake = Arc::new(Intake {
        queue: Arc::clone(&queue),
        relay: Arc::clone(&relay),
        keys,
        fleet,
        max_body: config.body_max_bytes,
        memory: Semaphore::new(memory.min(Semaphore::MAX_PERMITS)),
        room: Arc::new(Semaphore::new(room_for_connections(2).min(Semaphore::MAX_PERMITS))),
    });
    for address in &config.listen {
        let listener = listen::bind(*address).context("listen for agents; LISTEN_PORT changes where")?;
        tracing::info!(addr = %listener.local_addr()?, "Starting agent listener");
        drain.spawn(Arc::clone(&intake).accept(listener, drain.clone()));
    }
    for _ in 0..DELIVERIES {
        drain.spawn(Arc::clone(&relay).run(drain.clone()));
    }
    for index in 0..upstreams.len() {
        drain.spawn(Arc::clone(&relay).check(index, CHECK, drain.clone()));
    }
    notify::tell(notify::READY);
    drain.started().await;
    upstreams.iter().for_each(|upstream| upstream.let_go());
    drain.idle().await;
    queue.settle().await;
    Ok(())
}

fn serve_stats(listener: TcpListener, router: admin::Router, drain: &Drain) {
    let until = drain.clone();
    drain.spawn(async move {
        if let Err(error) = admin::serve(listener, router, until).await {
            tracing::error!(%error, "the stats are no longer served");
        }
    });
}

/// Keeps every other process out of the data folder.
fn lock(config: &Config) -> anyhow::Result<std::fs::File> {
    let path = config.data_dir.join("lock");
    let file = std::fs::File::options().create(true).append(true).open(&path).context("open the lock")?;
    file.try_lock().with_context(|| format!("{} is in use by another process", config.data_dir.display()))?;
    Ok(file)
}

#[cfg(test)]
mod tests;
