//! Binds everything, says so, serves until the stop, and flushes what was captured.

use std::{
    net::TcpListener,
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::Context as _;
use common::{
    admin::{self, Readiness},
    daemon::{self, VERSION, build_time},
    descriptors::room_for_connections,
    drain::Drain,
    listen,
};
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    connection::Shared,
    link::{Link, Place},
    metrics::Metrics,
    queue::Queue,
    redaction::Redaction,
    tap::{Outlet, now_ns},
    worker,
};

/// Runs the proxy until the drain is over.
///
/// # Errors
/// When a port cannot be listened on, or a thread cannot be had.
pub async fn serve(config: Config, drain: Drain) -> anyhow::Result<()> {
    let version = VERSION;
    tracing::info!(version, buildTime = build_time(), "START Wayside Network Proxy");
    let listener = listen::bind(listen::everywhere(config.listen_port))?;
    let listen_port = listener.local_addr()?.port();
    tracing::info!(network = "tcp", addr = format!(":{listen_port}"), "Starting proxy listener");

    let queue = Arc::new(Queue::new(config.capture_memory, fastrand::u64(1..)));
    let metrics = Arc::new(Metrics::default());
    serve_admin(&config, &queue, &metrics, &drain)?;
    let (redaction, redacted) = Redaction::start(Arc::clone(&queue), Arc::clone(&metrics), config.redactor)?;
    let shared = Shared {
        upstream: Arc::new(config.upstream.clone()),
        outlet: Outlet {
            queue: Arc::clone(&queue),
            redaction,
            metrics: Arc::clone(&metrics),
            limits: config.limits,
        },
        numbers: Arc::new(AtomicU64::new(0)),
    };
    let room = Semaphore::new(room_for_connections(2).clamp(config.workers, Semaphore::MAX_PERMITS));
    let kit = worker::Kit { room: Arc::new(room), shared, drain: drain.clone() };
    let workers = worker::start(config.workers, &listener, &kit)?;
    drop((listener, kit));
    daemon::ready();

    let place = Place {
        listen_port,
        upstream_host: config.upstream.host,
        upstream_port: config.upstream.port,
        started_at_ns: now_ns(),
    };
    let link = Link { identity: config.identity, forwarder: config.forwarder, queue, metrics, place };
    let closing = CancellationToken::new();
    let linked = link.start(closing.clone())?;
    let relayed = async {
        let ended = finish(workers, &drain).await;
        // Once nobody offers anything any more, what was offered is queued.
        redacted.await.ok();
        closing.cancel();
        ended
    };
    let (relayed, linked) = tokio::join!(relayed, linked);
    if linked.is_err() {
        // It is not worth cutting anyone's traffic for.
        tracing::error!("the link to the forwarder failed; what was captured since is lost");
    }
    relayed
}

fn serve_admin(config: &Config, queue: &Arc<Queue>, metrics: &Metrics, drain: &Drain) -> anyhow::Result<()> {
    let readiness = Readiness::default();
    let health = listen::bind(config.health).context("serve /healthz; HEALTH_ADDR changes where")?;
    tracing::info!(addr = %health.local_addr()?, "Starting health listener");
    serve_router(health, admin::health(readiness, drain.clone()), drain);
    if let Some(address) = config.metrics {
        let registry = metrics.registry(Arc::clone(queue));
        let listener = listen::bind(address).context("serve /metrics; METRICS_HTTP_PORT changes where")?;
        tracing::info!(addr = %listener.local_addr()?, "Starting metrics listener");
        serve_router(listener, admin::metrics(Arc::new(registry)), drain);
    }
    Ok(())
}

fn serve_router(listener: TcpListener, router: admin::Router, drain: &Drain) {
    let until = drain.clone();
    drain.spawn(async move {
        if let Err(error) = admin::serve(listener, router, until).await {
            tracing::error!(%error, "health and metrics are no longer served");
        }
    });
}

/// Waits for the workers. One that ends before the stop takes the proxy with it, since its connections
/// are gone and nobody accepts in its place.
async fn finish(workers: Vec<worker::End>, drain: &Drain) -> anyhow::Result<()> {
    let mut workers: FuturesUnordered<_> = workers.into_iter().collect();
    while let Some(ended) = workers.next().await {
        if ended.is_err() || !drain.is_started() {
            drain.insist();
            anyhow::bail!("a worker ended by itself");
        }
    }
    Ok(())
}
