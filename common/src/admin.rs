//! What an operator asks a daemon: is it alive, is it ready, what are its numbers.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

pub use axum::Router;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use prometheus_client::registry::Registry;
use tokio::{net::TcpStream, sync::Semaphore};

use crate::{drain::Drain, listen};

/// So many are served at a time; others wait in the kernel.
const MOST_CLIENTS: usize = 1024;
/// How long a client may take to ask, and to ask again.
const QUESTION: Duration = Duration::from_secs(60);

/// What the daemon still waits for before it is ready; shared by whoever makes it so.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    pending: Arc<Mutex<BTreeSet<&'static str>>>,
}

impl Readiness {
    /// Not ready until this is done.
    pub fn wait_for(&self, what: &'static str) {
        self.pending().insert(what);
    }

    /// This is done.
    pub fn done(&self, what: &'static str) {
        self.pending().remove(what);
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, BTreeSet<&'static str>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/livez` and `/healthz` answer while the process does; `/readyz` says 503 with what it waits for
/// until it is ready, and again once the stop was asked for.
pub fn health(readiness: Readiness, drain: Drain) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state((readiness, drain))
}

async fn ready(State((readiness, drain)): State<(Readiness, Drain)>) -> (StatusCode, String) {
    if drain.is_started() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n".to_owned());
    }
    let pending: Vec<_> = readiness.pending().iter().copied().collect();
    if pending.is_empty() {
        (StatusCode::OK, "ok\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", pending.join(", ")))
    }
}

/// `/metrics` in the OpenMetrics text format.
pub fn metrics(registry: Arc<Registry>) -> Router {
    Router::new().route("/metrics", get(encode)).with_state(registry)
}

async fn encode(State(registry): State<Arc<Registry>>) -> axum::response::Response {
    let mut text = String::new();
    if prometheus_client::encoding::text::encode(&mut text, &registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

/// Serves a router until the stop is asked for. What was asked by then is answered by tasks that the stop waits for.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(listener: TcpListener, router: Router, drain: Drain) -> std::io::Result<()> {
    let room = Arc::new(Semaphore::new(MOST_CLIENTS));
    listen::accept(listener, &room, &drain, |stream, peer, place| {
        let (router, until) = (router.clone(), drain.clone());
        drain.spawn(async move {
            stream.set_nodelay(true).ok();
            if let Err(error) = converse(stream, router, &until).await {
                tracing::debug!(%peer, %error, "a connection broke");
            }
            drop(place);
        });
    })
    .await
}

async fn converse(stream: TcpStream, router: Router, drain: &Drain) -> hyper::Result<()> {
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(QUESTION)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
        .with_upgrades();
    let mut conversation = pin!(conversation);
    tokio::select! {
        ended = conversation.as_mut() => ended,
        () = drain.lingered() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn ask(client: &mut TcpStream) -> String {
        client.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn who_was_accepted_just_before_the_stop_is_answered() {
        let listener = listen::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let drain = Drain::default();
        let (router, until) = (health(Readiness::default(), drain.clone()), drain.clone());
        drain.spawn_own(async move { serve(listener, router, until).await.unwrap() });
        let mut first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        // They are accepted in their order.
        assert!(ask(&mut second).await.starts_with("HTTP/1.1 200"));
        drain.ask();
        assert!(ask(&mut first).await.starts_with("HTTP/1.1 200"));
        drain.idle().await;
    }
}
