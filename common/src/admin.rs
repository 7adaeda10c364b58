//! What an operator asks a daemon: is it alive, is it ready, what are its numbers.

use std::{
    collections::BTreeSet,
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
};

pub use axum::Router;
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use prometheus_client::registry::Registry;

use crate::drain::Drain;

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

/// Serves a router until the stop was asked for and its last answer is out.
///
/// # Errors
/// When the listener cannot be used.
pub async fn serve(listener: TcpListener, router: Router, drain: Drain) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    axum::serve(listener, router).with_graceful_shutdown(async move { drain.started().await }).await
}
