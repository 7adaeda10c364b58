//! What a relay asks: its token, the configuration in pages, lists of flags and groups, and where its metrics go.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequestParts, Path, Query, State},
    http::{HeaderMap, StatusCode, request::Parts},
    middleware,
    routing::{get, post},
};
use common::drain::Drain;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::Refusal,
    book::{Book, Environment, Standing},
    faults,
    office::Office,
    proxykey::ProxyKey,
    streams,
};
use crate::{api::bearer, secret::KeyHash, shape::Target};

const MOST_BODY_BYTES: usize = 16 << 20;
const MOST_PAGE: usize = 1000;

/// What every answer needs.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) office: Arc<Office>,
    pub(super) drain: Drain,
}

pub(super) fn router(office: &Arc<Office>, drain: Drain) -> Router {
    Router::new()
        .route("/proxy/auth", post(authenticate))
        .route("/proxy/config", get(configuration))
        .route("/client/auth", post(admit))
        .route("/stream", get(streams::open))
        .route("/client/env/{environment}/feature-configs", get(flags))
        .route("/client/env/{environment}/target-segments", get(groups))
        .route("/metrics/{environment}", post(count))
        .layer(DefaultBodyLimit::max(MOST_BODY_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(office), faults::fail))
        .with_state(Desk { office: Arc::clone(office), drain })
}

/// Who asks: the value of its key, and the book at that moment.
pub(super) struct Asker {
    pub(super) hash: KeyHash,
    pub(super) book: Arc<Book>,
    pub(super) key: ProxyKey,
}

impl FromRequestParts<Desk> for Asker {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self, Refusal> {
        Self::admit(&desk.office, &parts.headers)
    }
}

impl Asker {
    fn admit(office: &Office, headers: &HeaderMap) -> Result<Self, Refusal> {
        let refuse = || Refusal::new(StatusCode::UNAUTHORIZED, "the token is missing, wrong or has run out");
        let (now_ms, generation) = (office.now_ms(), office.faults().generation);
        let token = bearer(headers).ok_or_else(refuse)?;
        let hash = office.passes.read(token, generation, now_ms).ok_or_else(refuse)?;
        let book = office.book();
        match book.standing(&hash, now_ms) {
            Standing::Good(key) => Ok(Self { hash, key: key.clone(), book: Arc::clone(&book) }),
            _ => Err(refuse()),
        }
    }

    fn environment<'a>(&self, book: &'a Book, id: &str) -> Result<&'a Environment, Refusal> {
        let found = book.environments.get(id).filter(|found| self.key.opens(&found.place));
        found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, "there is no such environment"))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    proxy_key: String,
}

async fn authenticate(State(desk): State<Desk>, Json(asked): Json<Asked>) -> Result<Json<Value>, Refusal> {
    let (office, hash) = (&desk.office, KeyHash::of(&asked.proxy_key));
    let now_ms = office.now_ms();
    match office.book().standing(&hash, now_ms) {
        Standing::Good(_) => {
            let generation = office.faults().generation;
            let token = office.passes.sign(&office.account, &hash, generation, now_ms);
            Ok(Json(json!({ "authToken": token })))
        }
        Standing::Deleted => Err(Refusal::new(StatusCode::GONE, "the proxy key was deleted")),
        Standing::Unknown => Err(Refusal::new(StatusCode::UNAUTHORIZED, "the proxy key is unknown")),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Admitted {
    api_key: String,
    #[serde(default)]
    target: Option<Target>,
}

/// A relay tells of a target that an SDK brought; the token is good for nothing here, where SDKs are not served.
async fn admit(State(desk): State<Desk>, Json(asked): Json<Admitted>) -> Result<Json<Value>, Refusal> {
    let (office, hash) = (&desk.office, KeyHash::of(&asked.api_key));
    let (book, told) = (office.book(), hash.to_string());
    let opened = book.environments.iter().find(|(_, environment)| environment.keys.contains(&told));
    let Some((id, _)) = opened else {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "the SDK key is unknown"));
    };
    if let Some(target) = asked.target.filter(|target| !target.identifier.is_empty()) {
        office.see(id, target);
    }
    // One after the other: both look into the same.
    let (now_ms, generation) = (office.now_ms(), office.faults().generation);
    let token = office.passes.sign(&office.account, &hash, generation, now_ms);
    Ok(Json(json!({ "authToken": token })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Page {
    page_number: usize,
    page_size: usize,
    environment: Option<String>,
}

impl Default for Page {
    fn default() -> Self {
        Self { page_number: 0, page_size: 10, environment: None }
    }
}

async fn configuration(State(desk): State<Desk>, Query(page): Query<Page>, asker: Asker) -> Json<Value> {
    let book = desk.office.listed();
    let opened = book.opened_by(&asker.key);
    let wanted: Vec<_> =
        opened.filter(|(id, _)| page.environment.as_ref().is_none_or(|wanted| wanted == *id)).collect();
    let size = page.page_size.clamp(1, MOST_PAGE);
    let shown = wanted.iter().skip(page.page_number.saturating_mul(size)).take(size);
    let environments: Vec<Value> = shown
        .map(|(id, environment)| {
            json!({
                "id": id,
                "apiKeys": environment.keys,
                "featureConfigs": environment.flags.values().collect::<Vec<_>>(),
                "segments": environment.groups.values().collect::<Vec<_>>(),
            })
        })
        .collect();
    Json(json!({
        "itemCount": wanted.len(),
        "pageCount": wanted.len().div_ceil(size),
        "pageIndex": page.page_number,
        "pageSize": size,
        "version": book.version,
        "environments": environments,
    }))
}

async fn flags(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Json<Value>, Refusal> {
    let book = desk.office.listed();
    Ok(Json(json!(asker.environment(&book, &id)?.flags.values().collect::<Vec<_>>())))
}

async fn groups(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asker: Asker,
) -> Result<Json<Value>, Refusal> {
    let book = desk.office.listed();
    Ok(Json(json!(asker.environment(&book, &id)?.groups.values().collect::<Vec<_>>())))
}

async fn count(
    State(desk): State<Desk>,
    Path(id): Path<String>,
    asker: Asker,
    Json(posted): Json<Value>,
) -> Result<Json<Value>, Refusal> {
    asker.environment(&asker.book, &id)?;
    let data = posted.get("metricsData").and_then(Value::as_array);
    let counted: Vec<_> = data.into_iter().flatten().filter_map(datum).collect();
    desk.office.count(&id, &counted)?;
    Ok(Json(Value::Null))
}

/// The flag, the variation, and how often.
fn datum(told: &Value) -> Option<(String, String, u64)> {
    let attributes = told.get("attributes")?.as_array()?;
    let text = |key: &str| {
        let found = attributes.iter().find(|told| told.get("key").is_some_and(|told| told == key));
        Some(found?.get("value")?.as_str()?.to_owned())
    };
    Some((text("featureIdentifier")?, text("variationIdentifier")?, told.get("count")?.as_u64()?))
}
