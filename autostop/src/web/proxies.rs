//! The API's part for other proxies that this is the shared control plane of: their rules out, their usage in.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, FromRef, Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::api::{Answer, Failed, RulePath, answer};
use crate::{
    control::{
        Control, Input,
        book::Book,
        fleet::{Fleet, Have, Report},
    },
    rule::RuleFile,
};

/// A report of many rules with everybody who uses them.
const MOST_BYTES: usize = 64 << 20;

/// What is needed to answer other proxies.
#[derive(Clone)]
pub(super) struct Office {
    pub(super) control: Control,
    pub(super) book: Arc<Book>,
    pub(super) fleet: Arc<Fleet>,
    /// Our own name.
    pub(super) here: Arc<str>,
}

impl FromRef<Office> for Control {
    fn from_ref(office: &Office) -> Self {
        office.control.clone()
    }
}

pub(super) fn router(office: Office) -> Router {
    Router::new()
        .route("/loadbalancers", get(list))
        .route("/loadbalancers/{id}/rules", get(rules))
        .route("/loadbalancers/{id}/usage", post(usage).layer(DefaultBodyLimit::max(MOST_BYTES)))
        .with_state(office)
}

async fn list(State(office): State<Office>) -> Answer {
    let shelf = office.book.shelf();
    let one = |proxy: &str| {
        let heard = office.fleet.last(proxy);
        json!({
            "id": proxy,
            "rules": shelf.of(proxy).count(),
            "version": heard.as_ref().map(|heard| heard.version.clone()),
            "last_seen": heard.map(|heard| heard.at),
        })
    };
    Ok(answer(shelf.proxies().map(one).collect::<Vec<_>>()))
}

/// As they are written. Who has them already hears nothing new.
async fn rules(
    State(office): State<Office>,
    Path((_, proxy)): RulePath,
    headers: HeaderMap,
) -> Result<Response, Failed> {
    if *office.here == *proxy {
        return Err(Failed::Bad(format!(
            "{proxy} is this very proxy: apiURL leads back to where it comes from"
        )));
    }
    let shelf = office.book.shelf();
    let told: Vec<&RuleFile> = shelf.of(&proxy).collect();
    let body = json!({ "response": told }).to_string();
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    let tag = format!("\"{:016x}\"", hasher.finish());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag), (header::CONTENT_TYPE, "application/json".to_owned())], body).into_response())
}

/// Takes a report, and says how far the changes of each rule are known once that is kept.
async fn usage(State(office): State<Office>, Path((_, proxy)): RulePath, body: String) -> Answer {
    let report: Report = serde_json::from_str(&body)
        .map_err(|error| Failed::Bad(format!("the body is not what is wanted: {error}")))?;
    let shelf = office.book.shelf();
    let is_own = |id: &crate::rule::RuleId| shelf.elsewhere(id).is_some_and(|(of, _)| of == proxy);
    office.fleet.hear(&proxy, Timestamp::now(), &report, is_own);
    let own = report.changes.into_iter().filter(|(id, _)| is_own(id));
    let changes: Vec<_> =
        own.flat_map(|(id, all)| all.into_iter().map(move |change| (id.clone(), change))).collect();
    if !changes.is_empty() {
        let (reply, kept) = oneshot::channel();
        office.control.tell(Input::Reported(changes, reply)).await?;
        if kept.await != Ok(true) {
            let told = json!({ "message": "the journal cannot be written: come again" });
            return Err(Failed::Problems(StatusCode::SERVICE_UNAVAILABLE, vec![told]));
        }
    }
    let ids: Vec<_> = shelf.of(&proxy).map(|rule| crate::rule::RuleId::of(&rule.name)).collect();
    let have = office.control.look(move |asked| {
        let last = |id: &crate::rule::RuleId| Some(asked.kept.rules.get(id)?.changes.last()?.at);
        ids.into_iter().map(|id| (id.clone(), last(&id))).collect::<Have>()
    });
    Ok(answer(have.await?))
}

/// How another proxy's rule is, as that proxy said it last.
pub(super) fn seen(fleet: &Fleet, proxy: &str, rule: &crate::rule::Rule) -> Value {
    let heard = fleet.last(proxy);
    let told = heard.as_ref().and_then(|heard| heard.rules.get(&rule.id).cloned());
    let unseen = || json!({ "id": rule.id, "name": rule.name, "state": "created", "why": "its proxy did not say anything yet" });
    let mut told = told.filter(Value::is_object).unwrap_or_else(unseen);
    if let Some(told) = told.as_object_mut() {
        told.insert("proxy_id".to_owned(), proxy.into());
        told.insert("reported_at".to_owned(), json!(heard.map(|heard| heard.at)));
    }
    told
}
