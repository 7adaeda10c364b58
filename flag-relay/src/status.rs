//! What an operator sees: environments, streams, usage, metrics and health.

mod page;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{IntoResponse as _, Response},
    routing::get,
};
use common::{
    admin::{self, Readiness},
    config::Secret,
    door::{Door, Sign, Way},
    drain::Drain,
    pages::{Asset, Assets, House},
};
use serde_json::{Value, json};

use crate::api::Api;

static HOUSE: House = House {
    product: "Flag Relay",
    home: "/",
    folder: "/assets",
    assets: Assets::new(&[Asset { name: "status.css", content: include_str!("status/assets/status.css") }]),
};

static SIGN: Sign = Sign {
    name: "flag-relay",
    house: &HOUSE,
    reason: "The status of this relay asks for its token",
    setting: "STATUS_TOKEN",
    cookie: "wayside_flag_relay",
    sign_in: "/sign-in",
    sign_out: "/sign-out",
    way: |path| match path {
        "/livez" | "/readyz" | "/healthz" => Way::Open,
        "/" => Way::Page,
        _ => Way::Program,
    },
};

/// Everything under the address of the status.
pub(crate) fn router(api: &Arc<Api>, token: Option<Secret>, readiness: Readiness, drain: Drain) -> Router {
    let door = Door::new(&SIGN, move || token.clone());
    let router = Router::new()
        .route("/api/v1/environments", get(environments))
        .route("/api/v1/streams", get(streams))
        .route("/api/v1/usage", get(usage))
        .with_state(Arc::clone(api))
        .merge(page::router(Arc::clone(api), door.clone()))
        .merge(metrics(api))
        .merge(admin::health(readiness, drain));
    door.guard(router)
}

/// The metrics alone.
pub(crate) fn metrics(api: &Arc<Api>) -> Router {
    Router::new().route("/metrics", get(numbers)).with_state(Arc::clone(api))
}

async fn numbers(State(api): State<Arc<Api>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], api.meters.text()).into_response()
}

async fn environments(State(api): State<Arc<Api>>) -> Json<Value> {
    let (world, state) = (api.store.world(), api.standing.now());
    let mut streams: BTreeMap<Arc<str>, u64> = BTreeMap::new();
    for ((environment, _), count) in api.roster.count(&api.seen) {
        *streams.entry(environment).or_default() += count;
    }
    let mut told: Vec<_> = world.environments.values().collect();
    told.sort_by(|one, other| one.id.cmp(&other.id));
    let told: Vec<Value> = told
        .iter()
        .map(|environment| {
            json!({
                "id": &*environment.id,
                "name": &*environment.name,
                "flags": environment.rules.flags().len(),
                "groups": environment.rules.groups.len(),
                "keys": environment.keys.len(),
                "streams": streams.get(&environment.id).copied().unwrap_or_default(),
            })
        })
        .collect();
    Json(json!({
        "config": state.config,
        "stream": state.stream,
        "read_ms": state.read_ms,
        "problems": state.problems,
        "environments": told,
    }))
}

async fn streams(State(api): State<Arc<Api>>) -> Json<Value> {
    let told: Vec<Value> = api
        .roster
        .count(&api.seen)
        .into_iter()
        .map(|((environment, sdk), count)| {
            json!({
                "environment": &*environment,
                "language": sdk.language,
                "version": sdk.version,
                "type": sdk.kind,
                "streams": count,
            })
        })
        .collect();
    Json(json!({ "streams": told }))
}

async fn usage(State(api): State<Arc<Api>>) -> Json<Value> {
    let all = api.usage.all();
    let uses: Vec<Value> = all
        .iter()
        .map(|(used, count)| {
            json!({
                "environment": &*used.environment,
                "flag": used.flag,
                "variation": used.variation,
                "language": used.language,
                "version": used.version,
                "type": used.kind,
                "evaluations": count.evaluations,
                "last_ms": count.last_ms,
                "targets": count.targets,
            })
        })
        .collect();
    let world = api.store.world();
    let asked: HashSet<(&str, &str)> =
        all.iter().map(|(used, _)| (&*used.environment, &*used.flag)).collect();
    let mut unused = Vec::new();
    for environment in world.environments.values() {
        for flag in environment.rules.flags() {
            if !asked.contains(&(&*environment.id, &*flag.identifier)) {
                unused.push(json!({ "environment": &*environment.id, "flag": &*flag.identifier }));
            }
        }
    }
    Json(json!({ "uses": uses, "unused": unused, "uncounted": api.usage.uncounted() }))
}
