//! What an operator sees: the balance, the agents, the upstreams, HAProxy's columns, metrics and health.

mod csv;
mod metrics;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use common::{
    admin::{self, Readiness},
    drain::Drain,
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::{queue::now_ms, relay::Relay};

/// Everything under the address of the stats.
pub(crate) fn router(relay: &Arc<Relay>, readiness: Readiness, drain: Drain) -> Router {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics::Numbers::new(Arc::clone(relay))));
    Router::new()
        .route("/", get(index))
        .route("/;csv", get(csv))
        .route("/api/v1/balance", get(balance))
        .route("/api/v1/agents", get(agents))
        .route("/api/v1/upstreams", get(upstreams))
        .route("/api/v1/dead-letters", get(dead_letters))
        .route("/api/v1/dead-letters/{id}", axum::routing::delete(remove))
        .route("/api/v1/dead-letters/{id}/replay", post(replay))
        .with_state(Arc::clone(relay))
        .merge(admin::health(readiness, drain))
        .merge(admin::metrics(Arc::new(registry)))
}

async fn index() -> Response {
    let links = [
        "/api/v1/balance",
        "/api/v1/agents",
        "/api/v1/upstreams",
        "/api/v1/dead-letters",
        "/;csv",
        "/metrics",
    ];
    let rows: String = links.iter().map(|link| format!("<li><a href=\"{link}\">{link}</a></li>\n")).collect();
    let text = format!("<!doctype html><title>agent-relay</title><h1>agent-relay</h1><ul>\n{rows}</ul>\n");
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response()
}

async fn csv(State(relay): State<Arc<Relay>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], csv::table(&relay)).into_response()
}

async fn balance(State(relay): State<Arc<Relay>>) -> Response {
    Json(relay.queue.balance()).into_response()
}

async fn agents(State(relay): State<Arc<Relay>>) -> Json<Value> {
    let now = now_ms();
    let mut agents: Vec<(u64, Value)> = relay
        .queue
        .agents()
        .into_iter()
        .map(|agent| {
            let seen = relay.fleet.seen(&agent.name).unwrap_or_default();
            let told = json!({
                "agent": agent.name,
                "version": seen.version,
                "last_seen_ms": (seen.last_seen_ms > 0).then_some(seen.last_seen_ms),
                "silent_s": (seen.last_seen_ms > 0).then(|| now.saturating_sub(seen.last_seen_ms) / 1000),
                "refused": seen.refused,
                "last_error": seen.last_error,
                "queued_bytes": agent.queued_bytes(),
                "balance": agent.balance(),
            });
            (seen.last_seen_ms, told)
        })
        .collect();
    // Those that have been silent longest come first.
    agents.sort_by_key(|(last_seen, _)| *last_seen);
    let agents: Vec<Value> = agents.into_iter().map(|(_, told)| told).collect();
    Json(json!({ "agents": agents }))
}

async fn upstreams(State(relay): State<Arc<Relay>>) -> Json<Value> {
    let plan = relay.plan();
    let upstreams: Vec<Value> = plan
        .upstreams
        .iter()
        .map(|upstream| {
            let counts = &upstream.counts;
            let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            json!({
                "name": upstream.spec.name,
                "address": upstream.spec.base.authority(),
                "weight": upstream.spec.weight,
                "up": !upstream.breaker().is_open(),
                "requests": count(&counts.requests),
                "connections": count(&counts.connections),
                "connect_errors": count(&counts.connect_errors),
                "response_errors": count(&counts.response_errors),
                "retries": count(&counts.retries),
                "answers": counts.answers.iter().map(count).collect::<Vec<_>>(),
            })
        })
        .collect();
    Json(json!({ "upstreams": upstreams }))
}

async fn dead_letters(State(relay): State<Arc<Relay>>) -> Response {
    match relay.queue.dead_letters() {
        Ok(letters) => Json(json!({ "dead_letters": letters })).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn remove(State(relay): State<Arc<Relay>>, Path(id): Path<String>) -> StatusCode {
    match relay.queue.remove_dead(&id) {
        Ok(true) => StatusCode::NO_CONTENT,
        Ok(false) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn replay(State(relay): State<Arc<Relay>>, Path(id): Path<String>) -> StatusCode {
    match relay.queue.replay_dead(&id).await {
        Ok(Some(Ok(()))) => StatusCode::ACCEPTED,
        Ok(Some(Err(_))) => StatusCode::SERVICE_UNAVAILABLE,
        Ok(None) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
