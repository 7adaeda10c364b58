//! Opens the store, binds everything, says so, serves until the stop.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use common::{
    admin::{self, Readiness},
    config::Secret,
    daemon::{self, VERSION, build_time},
    door::Door,
    drain::Drain,
    listen,
    wire::capture_service_server::CaptureServiceServer,
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{service::interceptor::InterceptedService, transport::Server};

use crate::{
    api::{self, Api},
    config::Config,
    metrics,
    service::{Gate, MAX_MESSAGE_BYTES, Service},
    store::Store,
    web::{self, Web},
};

/// What one peer may have open at once, and have on its way.
const STREAMS_PER_PEER: u32 = 16;
const WINDOW_BYTES: u32 = 2 << 20;
const FRAME_BYTES: u32 = 256 << 10;
/// A peer that does not answer for so long is gone.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Runs the forwarder until the drain is over.
///
/// # Errors
/// When a port cannot be listened on, or the store cannot be opened.
pub async fn serve(config: Config, drain: Drain) -> anyhow::Result<()> {
    tracing::info!("SERVICE_PORT: {}", config.service_port);
    tracing::info!("START Forwarder {VERSION} compiled at {}", build_time());
    tracing::info!("DLP is not configured, skipping");
    let grpc = listen::bind(listen::everywhere(config.service_port)).context("SERVICE_PORT changes where")?;
    let listener = listen::bind(config.analyzer).context("ANALYZER_ADDR changes where")?;
    let store = Store::open(config.store)?;

    let service = Service::new(store.clone(), config.proxy_timeout, drain.clone());
    tracing::info!(
        "Starting reaper for proxies that haven't checked in after {}",
        humantime::format_duration(config.proxy_timeout)
    );
    drain.spawn(service.clone().reap());

    let readiness = Readiness::default();
    let metrics = metrics::registry(store.clone(), service.clone());
    let token = config.analyzer_token.map(|token| token.expose().to_owned());
    let asked = token.as_deref().map(Secret::from);
    let door = Door::new(&web::SIGN, move || asked.clone());
    let api = Api::new(store.clone(), token).until(drain.clone());
    let pages = web::router(Web::new(store.clone(), api.query(), door.clone(), grpc.local_addr()?.port()));
    let behind = pages.merge(api::router(api)).merge(admin::metrics(Arc::new(metrics)));
    let router = door.guard(behind).merge(admin::health(readiness, drain.clone()));
    tracing::info!("Starting Analyzer on http://{}", listener.local_addr()?);
    let until = drain.clone();
    drain.spawn(async move {
        if let Err(error) = admin::serve(listener, router, until).await {
            tracing::error!(%error, "the Analyzer is no longer served");
        }
    });

    let mut server = Server::builder()
        .max_concurrent_streams(STREAMS_PER_PEER)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .tcp_nodelay(true);
    if let Some(tls) = config.tls {
        server = server.tls_config(tls).context("use FORWARDER_TLS_CERT and FORWARDER_TLS_KEY")?;
    }
    let capture = CaptureServiceServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let capture = InterceptedService::new(capture, Gate(config.token));
    tracing::info!("Starting gRPC listener on port 0.0.0.0:{}", grpc.local_addr()?.port());
    daemon::ready();

    let incoming = TcpListenerStream::new(TcpListener::from_std(grpc)?);
    let serving = server.add_service(capture).serve_with_incoming_shutdown(incoming, drain.started());
    let sealing = store.run();
    let stopped = async {
        let served = tokio::select! {
            served = serving => served.context("serve gRPC"),
            () = drain.insisted() => Ok(()),
        };
        drain.ask();
        store.close().await;
        served
    };
    let (served, ()) = tokio::join!(stopped, sealing);
    served
}
