//! What the Analyzer's port answers below `/api/v1`.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use common::{config::Secret, drain::Drain};
use serde_json::{Value, json};

use crate::export::{self, Format};
use crate::query::pairs::TIME_BUDGET;
use crate::query::sql::Limits;
use crate::query::{self, Query};
use crate::rrpair::rrpair;
use crate::store::Store;
use crate::store::identity::Uuid;

pub(crate) mod access;
pub mod parameters;
mod tail;
#[cfg(test)]
mod tests;

use parameters::{Parameters, Wrong};

/// What the API needs. Clones share it.
#[derive(Clone)]
pub struct Api {
    store: Store,
    query: Query,
    token: Option<Arc<Secret>>,
    drain: Option<Drain>,
}

impl Api {
    /// Answers from this store; with a token, only to those who bear it.
    pub fn new(store: Store, token: Option<String>) -> Self {
        let query = Query::live(store.clone());
        let token = token.map(|token| Arc::new(Secret::from(token.as_str())));
        Self { store, query, token, drain: None }
    }

    /// What it asks; the limits of a query are for all who share it.
    pub fn query(&self) -> Query {
        self.query.clone()
    }

    /// Those who follow are let go when this asks for the stop.
    #[must_use]
    pub fn until(mut self, drain: Drain) -> Self {
        self.drain = Some(drain);
        self
    }
}

/// The routes, without a listener.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/api/v1/pairs", get(pairs))
        .route("/api/v1/pairs/{*uuid}", get(pair))
        .route("/api/v1/proxies", get(proxies))
        .route("/api/v1/accounting", get(accounting))
        .route("/api/v1/stats", get(stats))
        .route("/api/v1/tail", get(tail::tail))
        .route("/api/v1/export", get(export))
        .route("/api/v1/sql", post(sql))
        .layer(from_fn_with_state(api.clone(), access::check))
        .with_state(api)
}

/// What a client is told when something is wrong: one place decides.
enum Failed {
    Wrong(Wrong),
    Query(query::Error),
    NoSuchPair,
}

impl From<Wrong> for Failed {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

impl From<query::Error> for Failed {
    fn from(error: query::Error) -> Self {
        Self::Query(error)
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let (status, body) = match self {
            Self::Wrong(wrong) => {
                (StatusCode::BAD_REQUEST, json!({ "error": wrong.mend, "parameter": wrong.parameter }))
            }
            Self::NoSuchPair => {
                (StatusCode::NOT_FOUND, json!({ "error": "there is no exchange of this id" }))
            }
            Self::Query(error) => {
                let status = match &error {
                    query::Error::Refused(_) => StatusCode::BAD_REQUEST,
                    query::Error::Late(_) => StatusCode::GATEWAY_TIMEOUT,
                    query::Error::Memory => StatusCode::INSUFFICIENT_STORAGE,
                    query::Error::Unreadable(source) => {
                        tracing::error!(error = format!("{source:#}"), "query cannot be answered");
                        StatusCode::INTERNAL_SERVER_ERROR
                    }
                };
                (status, json!({ "error": error.to_string() }))
            }
        };
        (status, Json(body)).into_response()
    }
}

async fn pairs(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Value>, Failed> {
    let mut parameters = Parameters::read(query.as_deref(), jiff::Timestamp::now());
    let filter = parameters.filter()?;
    let limit = parameters.limit()?;
    let cursor = parameters.cursor()?;
    parameters.end()?;
    let page = api.query.pairs(&filter, limit, cursor, TIME_BUDGET).await?;
    let pairs: Vec<_> = page.rows.iter().map(rrpair).collect();
    let next = page.next.map(|next| next.to_string());
    Ok(Json(json!({ "pairs": pairs, "next": next, "complete": page.complete })))
}

/// Takes the hyphenated form, and the base64 of the `uuid` field of an RRPair.
async fn pair(State(api): State<Api>, Path(told): Path<String>) -> Result<Json<Value>, Failed> {
    let of_base64 = || {
        let bytes = BASE64_STANDARD.decode(&told).or_else(|_| BASE64_URL_SAFE_NO_PAD.decode(&told)).ok()?;
        Some(Uuid(u128::from_be_bytes(bytes.try_into().ok()?)))
    };
    let uuid = Uuid::parse(&told).or_else(of_base64).ok_or(Wrong {
        parameter: "uuid".to_owned(),
        mend: "uuid must be 32 hexadecimal digits, or the base64 of an RRPair's uuid".to_owned(),
    })?;
    let row = api.query.pair(uuid).await?.ok_or(Failed::NoSuchPair)?;
    Ok(Json(rrpair(&row)))
}

async fn accounting(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "proxies": api.store.accounting() }))
}

async fn proxies(State(api): State<Api>) -> Json<Value> {
    let runs = api.store.proxies().into_iter().map(|proxy| {
        let registration = proxy.state.registration.unwrap_or_default();
        let millis = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        json!({
            "id": proxy.id,
            "epoch": format!("{:016x}", proxy.epoch),
            "service": registration.service,
            "namespace": registration.namespace,
            "version": registration.version,
            "proxy_type": registration.proxy_type,
            "upstream_host": registration.upstream_host,
            "upstream_port": registration.upstream_port,
            "listen_port": registration.listen_port,
            "started_at": crate::rrpair::time(i64::try_from(registration.started_at_ns).unwrap_or(i64::MAX)),
            "first_heard": crate::rrpair::time(millis(proxy.state.first_heard_ms)),
            "last_heard": crate::rrpair::time(millis(proxy.state.last_heard_ms)),
            "stored_through": proxy.state.through,
            "state": if proxy.state.closed { "closed" } else if proxy.state.cut { "cut" } else { "open" },
        })
    });
    Json(json!({ "proxies": runs.collect::<Vec<_>>() }))
}

async fn stats(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Json<Value>, Failed> {
    let mut parameters = Parameters::read(query.as_deref(), jiff::Timestamp::now());
    let (since, until) = (parameters.time("since")?, parameters.time("until")?);
    parameters.end()?;
    let stats = api.query.stats(since, until, Limits::default()).await?;
    Ok(Json(json!(stats)))
}

async fn export(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Failed> {
    let mut parameters = Parameters::read(query.as_deref(), jiff::Timestamp::now());
    let filter = parameters.filter()?;
    let format = parameters.format()?.unwrap_or(Format::JsonLines);
    parameters.end()?;
    let body = axum::body::Body::from_stream(export::stream(api.query, filter, format));
    Ok(([(header::CONTENT_TYPE, format.media_type())], body).into_response())
}

/// The body is the statement itself, or JSON with the statement as `query`.
async fn sql(State(api): State<Api>, body: String) -> Result<Json<Value>, Failed> {
    let told = serde_json::from_str::<Value>(&body).ok();
    let text = match told.as_ref().and_then(|told| told.get("query")?.as_str()) {
        Some(text) => text.to_owned(),
        None => body,
    };
    let answer = api.query.sql(&text, Limits::default()).await?;
    Ok(Json(json!(answer)))
}
