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
use jiff::{Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::access;
use crate::{
    config::Live,
    control::{Asked, Control, Input, view},
    ledger::{self, Account, GroupBy, Period},
    machine::{Event, Refusal},
    rule::RuleId,
};

/// The documented base of all paths; `{account}` is not looked at, since there is one account here.
const BASE: &str = "/gateway/lw/api/accounts/{account}/autostopping";
/// A warm up by hand lasts this long unless it says otherwise.
const WARMUP: Duration = Duration::from_mins(5);

type RulePath = Path<(String, String)>;

pub(super) fn router(control: Control, live: watch::Receiver<Arc<Live>>) -> Router {
    let routes = Router::new()
        .route("/rules", get(rules))
        .route("/rules/list", post(rules))
        .route("/rules/savings/cumulative", get(all_savings))
        .route("/rules/{id}", get(rule))
        .route("/v2/rules/{id}", get(rule))
        .route("/rules/{id}/health", get(health))
        .route("/rules/{id}/warmup", post(warmup))
        .route("/rules/{id}/cooldown", post(cooldown))
        .route("/rules/{id}/cooldown_meta", get(cooldown_meta))
        .route("/rules/{id}/toggle_state", put(toggle))
        .route("/rules/{id}/savings", get(savings))
        .route("/rules/{id}/history", get(history))
        .route("/planes", get(planes))
        .route("/planes/{plane}", axum::routing::delete(forget))
        .with_state(control);
    Router::new().nest(BASE, routes).route_layer(from_fn_with_state(live, access::check))
}

/// What is answered when something cannot be done.
enum Failed {
    Unknown,
    Refused(Refusal),
    Bad(String),
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
            Self::Unknown => (StatusCode::NOT_FOUND, "there is no such rule".to_owned()),
            Self::Refused(refusal) => (StatusCode::CONFLICT, refusal.to_string()),
            Self::Bad(told) => (StatusCode::BAD_REQUEST, told),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping".to_owned()),
        };
        (status, Json(json!({ "errors": [{ "message": told }] }))).into_response()
    }
}

type Answer = Result<Json<Value>, Failed>;

fn answer(response: impl serde::Serialize) -> Json<Value> {
    Json(json!({ "response": response }))
}

async fn rules(State(control): State<Control>) -> Answer {
    Ok(answer(control.look(view::rules).await?))
}

/// A rule goes by its id, and by its name.
async fn find(control: &Control, told: &str) -> Result<RuleId, Failed> {
    let (by_name, told) = (RuleId::of(told), told.to_owned());
    let found = control.look(move |asked| {
        let mut ids = asked.mind.rules().iter().map(|rule| &rule.id);
        ids.find(|id| id.as_str() == told || **id == by_name).cloned()
    });
    found.await?.ok_or(Failed::Unknown)
}

async fn rule(State(control): State<Control>, Path((_, id)): RulePath) -> Answer {
    let id = find(&control, &id).await?;
    let found = control.look(move |asked| view::rule(asked, &id)).await?;
    found.map(answer).ok_or(Failed::Unknown)
}

async fn health(State(control): State<Control>, Path((_, id)): RulePath) -> Answer {
    let id = find(&control, &id).await?;
    let found = control.look(move |asked| view::rule(asked, &id)).await?.ok_or(Failed::Unknown)?;
    let target_url = found.addresses.first();
    Ok(answer(
        json!({ "id": found.id, "state": found.state, "target_url": target_url, "error": found.error }),
    ))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Warmup {
    idle_time_mins: Option<u64>,
    source: String,
    forced_trigger: Option<bool>,
}

async fn warmup(State(control): State<Control>, Path((_, id)): RulePath, body: String) -> Answer {
    let told: Warmup = optional(&body)?;
    let id = find(&control, &id).await?;
    let keep = told.idle_time_mins.map_or(WARMUP, |mins| Duration::from_secs(mins.saturating_mul(60)));
    let over_schedule = told.forced_trigger.unwrap_or(true);
    tracing::info!(rule = %id, source = told.source.escape_debug().to_string(), "warm up asked for");
    ask(&control, id, Event::Warmup { keep, over_schedule }).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Cooldown {
    propagate: bool,
    force: bool,
}

async fn cooldown(State(control): State<Control>, Path((_, id)): RulePath, body: String) -> Answer {
    let told: Cooldown = optional(&body)?;
    let id = find(&control, &id).await?;
    let with = if told.propagate { goes_down_with(&control, &id).await? } else { Vec::new() };
    for dependant in with {
        // One that is down already, or in use, is no reason to leave the others up.
        control.ask(dependant, Event::Cooldown { force: told.force }).await?.ok();
    }
    ask(&control, id, Event::Cooldown { force: told.force }).await
}

async fn goes_down_with(control: &Control, id: &RuleId) -> Result<Vec<RuleId>, Failed> {
    let id = id.clone();
    Ok(control.look(move |asked| asked.mind.rules().graph().goes_down_with(&id)).await?)
}

async fn cooldown_meta(State(control): State<Control>, Path((_, id)): RulePath) -> Answer {
    let id = find(&control, &id).await?;
    let names: Vec<_> = goes_down_with(&control, &id).await?.iter().map(ToString::to_string).collect();
    Ok(answer(names))
}

#[derive(Deserialize)]
struct Toggle {
    disable: bool,
}

async fn toggle(
    State(control): State<Control>,
    Path((_, id)): RulePath,
    Query(told): Query<Toggle>,
) -> Answer {
    let id = find(&control, &id).await?;
    ask(&control, id, if told.disable { Event::Disable } else { Event::Enable }).await
}

async fn ask(control: &Control, id: RuleId, event: Event) -> Answer {
    control.ask(id.clone(), event).await?.map_err(Failed::Refused)?;
    let found = control.look(move |asked| view::rule(asked, &id)).await?;
    found.map(answer).ok_or(Failed::Unknown)
}

#[derive(Deserialize)]
struct Span {
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    group_by: GroupBy,
    time_zone: Option<String>,
}

impl Span {
    /// The last thirty days, unless it says otherwise.
    fn period(self, now: Timestamp) -> Result<Period, Failed> {
        let zone = match self.time_zone.as_deref() {
            None => TimeZone::UTC,
            Some(name) => {
                TimeZone::get(name).map_err(|_| Failed::Bad(format!("`{name}` is no time zone")))?
            }
        };
        let day = |told: Option<String>, default: Timestamp| match told {
            None => Ok(default),
            Some(told) => instant(&told, &zone).ok_or_else(|| {
                Failed::Bad(format!("`{told}` is no day such as 2026-11-20, and no RFC 3339 time"))
            }),
        };
        let month = now.checked_sub(720.hours()).unwrap_or(now);
        let (from, to) = (day(self.from, month)?, day(self.to, now)?.min(now));
        if from > to {
            return Err(Failed::Bad("from is after to".to_owned()));
        }
        Ok(Period { from, to, group_by: self.group_by, zone })
    }
}

fn instant(told: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(at) = told.parse() {
        return Some(at);
    }
    Some(told.parse::<Date>().ok()?.to_zoned(zone.clone()).ok()?.timestamp())
}

fn account<'a>(asked: &Asked<'a>, id: &RuleId) -> Option<Account<'a>> {
    let price_per_hour = asked.mind.rules().get(id)?.price_per_hour;
    let changes = asked.kept.rules.get(id).map(|past| past.changes.as_slice()).unwrap_or_default();
    Some(Account { changes, price_per_hour })
}

async fn savings(
    State(control): State<Control>,
    Path((_, id)): RulePath,
    Query(span): Query<Span>,
) -> Answer {
    let id = find(&control, &id).await?;
    let period = span.period(Timestamp::now())?;
    let found = control.look(move |asked| account(asked, &id).map(|one| ledger::savings(&[one], &period)));
    found.await?.map(answer).ok_or(Failed::Unknown)
}

async fn all_savings(State(control): State<Control>, Query(span): Query<Span>) -> Answer {
    let period = span.period(Timestamp::now())?;
    let all = move |asked: &Asked<'_>| {
        let accounts: Vec<_> =
            asked.mind.rules().iter().filter_map(|rule| account(asked, &rule.id)).collect();
        ledger::savings(&accounts, &period)
    };
    Ok(answer(control.look(all).await?))
}

async fn history(State(control): State<Control>, Path((_, id)): RulePath) -> Answer {
    let id = find(&control, &id).await?;
    let changes = move |asked: &Asked<'_>| {
        asked.kept.rules.get(&id).map(|past| past.changes.iter().rev().take(500).cloned().collect::<Vec<_>>())
    };
    Ok(answer(control.look(changes).await?.unwrap_or_default()))
}

async fn planes(State(control): State<Control>) -> Answer {
    let planes = |asked: &Asked<'_>| {
        let one = |plane: &Arc<str>| match asked.links.get(plane) {
            Some(linked) => json!({
                "name": **plane, "attached": true, "since": linked.since, "version": linked.link.version,
                "deaf": linked.deaf.iter().map(|port| json!({ "port": port.port, "error": port.error })).collect::<Vec<_>>(),
            }),
            None => json!({ "name": **plane, "attached": false }),
        };
        asked.kept.planes.iter().map(one).collect::<Vec<_>>()
    };
    Ok(answer(control.look(planes).await?))
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
