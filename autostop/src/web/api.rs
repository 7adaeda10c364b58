//! The documented API: rules, their health, warm up, cool down, savings.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{Path, Query, State},
    http::StatusCode,
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    access,
    proxies::{self, Office},
    shelf,
    span::Span,
};
use crate::{
    config::Live,
    control::{Control, Input, view},
    ledger,
    machine::{Event, Refusal},
    rule::{Rule, RuleId},
};

/// The documented base of all paths; `{account}` is not looked at, since there is one account here.
const BASE: &str = "/gateway/lw/api/accounts/{account}/autostopping";
/// A warm up by hand lasts this long unless it says otherwise.
pub(super) const WARMUP: Duration = Duration::from_mins(5);

/// A week: for longer there are schedules.
pub(super) const MOST_WARMUP_MINS: u64 = 7 * 24 * 60;

pub(super) type RulePath = Path<(String, String)>;

pub(super) fn router(office: Office, live: watch::Receiver<Arc<Live>>) -> Router {
    let written = shelf::router(office.clone());
    let others = proxies::router(office.clone());
    let routes = Router::new()
        .route("/rules", get(rules))
        .route("/rules/list", post(rules))
        .route("/rules/savings/cumulative", get(all_savings))
        .route("/rules/{id}", get(rule))
        .route("/rules/{id}/health", get(health))
        .route("/rules/{id}/warmup", post(warmup))
        .route("/rules/{id}/cooldown", post(cooldown))
        .route("/rules/{id}/cooldown_meta", get(cooldown_meta))
        .route("/rules/{id}/toggle_state", put(toggle))
        .route("/rules/{id}/savings", get(savings))
        .route("/rules/{id}/history", get(history))
        .route("/planes", get(planes))
        .route("/planes/{plane}", axum::routing::delete(forget))
        .with_state(office)
        .merge(written)
        .merge(others);
    Router::new().nest(BASE, routes).route_layer(from_fn_with_state(live, access::check))
}

/// What is answered when something cannot be done.
pub(super) enum Failed {
    Unknown,
    Refused(Refusal),
    Bad(String),
    /// All that is wrong, each with its key, and the status that goes with it.
    Problems(StatusCode, Vec<Value>),
    Stopping,
}

impl From<anyhow::Error> for Failed {
    fn from(_: anyhow::Error) -> Self {
        Self::Stopping
    }
}

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let (status, told) = match self {
            Self::Problems(status, all) => return (status, Json(json!({ "errors": all }))).into_response(),
            Self::Unknown => (StatusCode::NOT_FOUND, "there is no such rule".to_owned()),
            Self::Refused(refusal) => (StatusCode::CONFLICT, refusal.to_string()),
            Self::Bad(told) => (StatusCode::BAD_REQUEST, told),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping".to_owned()),
        };
        (status, Json(json!({ "errors": [{ "message": told }] }))).into_response()
    }
}

pub(super) type Answer = Result<Json<Value>, Failed>;

pub(super) fn answer(response: impl serde::Serialize) -> Json<Value> {
    Json(json!({ "response": response }))
}

/// Ours, then those of other proxies as these told of them last.
async fn rules(State(office): State<Office>) -> Answer {
    let ours = office.control.look(view::rules).await?;
    let mut all: Vec<_> = ours.into_iter().map(|rule| json!(rule)).collect();
    let shelf = office.book.shelf();
    all.extend(shelf.others().map(|(proxy, rule)| proxies::seen(&office.fleet, proxy, rule)));
    Ok(answer(all))
}

/// A rule goes by its id, and by its name.
async fn find(office: &Office, told: &str) -> Result<RuleId, Failed> {
    if let Some(id) = found(&office.control, told).await? {
        return Ok(id);
    }
    let (_, proxy) = elsewhere(office, told).ok_or(Failed::Unknown)?;
    let message = format!("the rule is minded by the proxy {proxy}: ask there");
    Err(Failed::Problems(StatusCode::CONFLICT, vec![json!({ "message": message })]))
}

/// A rule of another proxy, and that proxy's name.
fn elsewhere(office: &Office, told: &str) -> Option<(Rule, String)> {
    let shelf = office.book.shelf();
    let by_name = RuleId::of(told);
    let mut others = shelf.others();
    let found = others.find(|(_, rule)| rule.id.as_str() == told || rule.id == by_name);
    found.map(|(proxy, rule)| (rule.clone(), proxy.to_owned()))
}

/// How a rule is, ours or another proxy's.
async fn look(office: &Office, told: &str) -> Result<Value, Failed> {
    if let Some(id) = found(&office.control, told).await? {
        let found = office.control.look(move |asked| view::rule(asked, &id)).await?;
        return found.map(|rule| json!(rule)).ok_or(Failed::Unknown);
    }
    let (rule, proxy) = elsewhere(office, told).ok_or(Failed::Unknown)?;
    Ok(proxies::seen(&office.fleet, &proxy, &rule))
}

/// The rule of this id or name, if there is one.
pub(super) async fn found(control: &Control, told: &str) -> anyhow::Result<Option<RuleId>> {
    let (by_name, told) = (RuleId::of(told), told.to_owned());
    let found = control.look(move |asked| {
        let mut ids = asked.mind.rules().iter().map(|rule| &rule.id);
        ids.find(|id| id.as_str() == told || **id == by_name).cloned()
    });
    found.await
}

async fn rule(State(office): State<Office>, Path((_, id)): RulePath) -> Answer {
    Ok(answer(look(&office, &id).await?))
}

async fn health(State(office): State<Office>, Path((_, id)): RulePath) -> Answer {
    let found = look(&office, &id).await?;
    let target_url = found.pointer("/addresses/0");
    Ok(answer(json!({
        "id": found.get("id"), "state": found.get("state"), "target_url": target_url, "error": found.get("error"),
    })))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Warmup {
    idle_time_mins: Option<u64>,
    source: String,
    forced_trigger: Option<bool>,
}

async fn warmup(State(office): State<Office>, Path((_, id)): RulePath, body: String) -> Answer {
    let told: Warmup = optional(&body)?;
    let id = find(&office, &id).await?;
    let keep = match told.idle_time_mins {
        None => WARMUP,
        Some(mins @ 0..=MOST_WARMUP_MINS) => Duration::from_mins(mins),
        Some(_) => return Err(Failed::Bad(format!("idle_time_mins is {MOST_WARMUP_MINS} at most"))),
    };
    let over_schedule = told.forced_trigger.unwrap_or(true);
    tracing::info!(rule = %id, source = told.source.escape_debug().to_string(), "warm up asked for");
    ask(&office.control, id, Event::Warmup { keep, over_schedule }).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cooldown {
    propagate: bool,
    force: bool,
}

async fn cooldown(State(office): State<Office>, Path((_, id)): RulePath, body: String) -> Answer {
    let told: Cooldown = optional(&body)?;
    let id = find(&office, &id).await?;
    let control = office.control;
    let with = if told.propagate { goes_down_with(&control, &id).await? } else { Vec::new() };
    for dependant in with {
        // One that is down already, or in use, is no reason to leave the others up.
        control.ask(dependant, Event::Cooldown { force: told.force }).await?.ok();
    }
    match control.ask(id.clone(), Event::Cooldown { force: told.force }).await? {
        // It follows once those that depend on it are down and it is idle.
        Err(Refusal::Needed) if told.propagate => {}
        done => done.map_err(Failed::Refused)?,
    }
    seen(&control, id).await
}

async fn goes_down_with(control: &Control, id: &RuleId) -> Result<Vec<RuleId>, Failed> {
    let id = id.clone();
    Ok(control.look(move |asked| asked.mind.rules().graph().goes_down_with(&id)).await?)
}

async fn cooldown_meta(State(office): State<Office>, Path((_, id)): RulePath) -> Answer {
    let id = find(&office, &id).await?;
    let names: Vec<_> = goes_down_with(&office.control, &id).await?.iter().map(ToString::to_string).collect();
    Ok(answer(names))
}

#[derive(Deserialize)]
struct Toggle {
    disable: bool,
}

async fn toggle(State(office): State<Office>, Path((_, id)): RulePath, Query(told): Query<Toggle>) -> Answer {
    let id = find(&office, &id).await?;
    ask(&office.control, id, if told.disable { Event::Disable } else { Event::Enable }).await
}

async fn ask(control: &Control, id: RuleId, event: Event) -> Answer {
    control.ask(id.clone(), event).await?.map_err(Failed::Refused)?;
    seen(control, id).await
}

async fn seen(control: &Control, id: RuleId) -> Answer {
    let found = control.look(move |asked| view::rule(asked, &id)).await?;
    found.map(answer).ok_or(Failed::Unknown)
}

async fn savings(State(office): State<Office>, Path((_, id)): RulePath, Query(span): Query<Span>) -> Answer {
    let id = known(&office, &id).await?;
    added_up(&office, Some(id), &span).await
}

async fn all_savings(State(office): State<Office>, Query(span): Query<Span>) -> Answer {
    added_up(&office, None, &span).await
}

/// The id of a rule, ours or another proxy's.
async fn known(office: &Office, told: &str) -> Result<RuleId, Failed> {
    let ours = found(&office.control, told).await?;
    ours.or_else(|| elsewhere(office, told).map(|(rule, _)| rule.id)).ok_or(Failed::Unknown)
}

/// Of one rule, or of all: ours, and those of other proxies as far as these told.
async fn added_up(office: &Office, only: Option<RuleId>, span: &Span) -> Answer {
    let period = span.period(Timestamp::now()).map_err(Failed::Bad)?;
    let from = period.from;
    let shelf = office.book.shelf();
    let past = office.control.look(move |asked| {
        let all = asked.mind.rules().iter().chain(shelf.others().map(|(_, rule)| rule));
        view::past_of(asked, all.filter(|rule| only.as_ref().is_none_or(|id| *id == rule.id)), from)
    });
    let past = past.await?;
    let accounts: Vec<_> = past.iter().map(view::Past::account).collect();
    Ok(answer(ledger::savings(&accounts, &period)))
}

async fn history(State(office): State<Office>, Path((_, id)): RulePath) -> Answer {
    let id = known(&office, &id).await?;
    Ok(answer(office.control.look(move |asked| view::history(asked, &id, 500)).await?))
}

async fn planes(State(control): State<Control>) -> Answer {
    Ok(answer(control.look(view::planes).await?))
}

async fn forget(State(control): State<Control>, Path((_, plane)): RulePath) -> Answer {
    let (reply, done) = tokio::sync::oneshot::channel();
    control.tell(Input::Forget(plane.into(), reply)).await?;
    match done.await {
        Ok(true) => Ok(answer("forgotten")),
        Ok(false) => Err(Failed::Bad("only a plane that is known and away can be forgotten".to_owned())),
        Err(_) => Err(Failed::Stopping),
    }
}

/// A body may be left out.
fn optional<T: Default + serde::de::DeserializeOwned>(body: &str) -> Result<T, Failed> {
    if body.trim().is_empty() {
        return Ok(T::default());
    }
    serde_json::from_str(body)
        .map_err(|error| Failed::Bad(format!("the body is not what is wanted: {error}")))
}
