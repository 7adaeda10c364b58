//! What an operator sees: pages, the balance, the agents, the upstreams, HAProxy's columns, metrics and health.

mod agents;
pub(crate) mod board;
mod csv;
mod metrics;
mod outage;
mod pages;
pub(crate) mod socket;

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use common::{
    admin::{self, Readiness},
    config::Secret,
    door::{Door, Sign, Way},
    drain::Drain,
    pages::{Asset, Assets, House},
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use self::board::Board;
use crate::beside::beside;

static HOUSE: House = House {
    product: "Agent Relay",
    home: "/",
    folder: "/assets",
    assets: Assets::new(&[Asset { name: "stats.css", content: include_str!("stats/assets/stats.css") }]),
};

static SIGN: Sign = Sign {
    name: "agent-relay",
    house: &HOUSE,
    reason: "The stats of this relay ask for their token",
    setting: "STATS_TOKEN",
    cookie: "wayside_relay",
    sign_in: "/sign-in",
    sign_out: "/sign-out",
    way: |path| match path {
        "/livez" | "/readyz" | "/healthz" => Way::Open,
        "/" | "/agents" => Way::Page,
        _ => Way::Program,
    },
};

/// Everything under the address of the stats.
pub(crate) fn router(board: &Arc<Board>, token: Option<Secret>, drain: Drain) -> Router {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics::Numbers::new(Arc::clone(board))));
    let door = Door::new(&SIGN, move || token.clone());
    let router = Router::new()
        .route("/;csv", get(csv))
        .route("/api/v1/balance", get(balance))
        .route("/api/v1/agents", get(agents))
        .route("/api/v1/upstreams", get(upstreams))
        .route("/api/v1/outage", get(outage))
        .route("/api/v1/dead-letters", get(dead_letters))
        .route("/api/v1/dead-letters/{id}", axum::routing::delete(remove))
        .route("/api/v1/dead-letters/{id}/replay", post(replay))
        .with_state(Arc::clone(board))
        .merge(pages::router(Arc::clone(board), door.clone()))
        .merge(admin::health(Readiness::default(), drain))
        .merge(admin::metrics(Arc::new(registry)));
    door.guard(router)
}

async fn csv(State(board): State<Arc<Board>>) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], csv::table(&board)).into_response()
}

async fn balance(State(board): State<Arc<Board>>) -> Response {
    Json(board.relay.queue.balance()).into_response()
}

async fn agents(State(board): State<Arc<Board>>) -> Json<Value> {
    Json(json!({ "agents": agents::told(&board) }))
}

async fn outage(State(board): State<Arc<Board>>) -> Response {
    Json(board.outage()).into_response()
}

async fn upstreams(State(board): State<Arc<Board>>) -> Json<Value> {
    let plan = board.relay.plan();
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
                "status": board::status(upstream),
                "up": !upstream.breaker().is_open(),
                "is_relay": upstream.is_relay.load(Ordering::Relaxed),
                "busy": count(&counts.busy),
                "requests": count(&counts.requests),
                "connections": count(&counts.connections),
                "connect_errors": count(&counts.connect_errors),
                "response_errors": count(&counts.response_errors),
                "retries": count(&counts.retries),
                "answers": counts.answers.iter().map(count).collect::<Vec<_>>(),
                "check": upstream.check().map(|check| check.status),
            })
        })
        .collect();
    Json(json!({ "upstreams": upstreams }))
}

async fn dead_letters(State(board): State<Arc<Board>>) -> Response {
    // There may be very many of them.
    match beside(move || board.relay.queue.dead_letters()).await.and_then(|letters| letters) {
        Ok(letters) => Json(json!({ "dead_letters": letters })).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn remove(State(board): State<Arc<Board>>, Path(id): Path<String>) -> StatusCode {
    match beside(move || board.relay.queue.remove_dead(&id)).await.and_then(|removed| removed) {
        Ok(true) => StatusCode::NO_CONTENT,
        Ok(false) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn replay(State(board): State<Arc<Board>>, Path(id): Path<String>) -> StatusCode {
    match board.relay.queue.replay_dead(&id).await {
        Ok(Some(Ok(()))) => StatusCode::ACCEPTED,
        Ok(Some(Err(_))) => StatusCode::SERVICE_UNAVAILABLE,
        Ok(None) => StatusCode::NOT_FOUND,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
