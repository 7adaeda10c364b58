//! Fails when it is asked to, so that a relay can be seen to cope.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    middleware::Next,
    response::{IntoResponse as _, Response},
    routing::put,
};
use common::config::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{admin::is_admitted, answer::Refusal, book::Book, office::Office};

/// What goes wrong; everything is told anew each time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Faults {
    /// How long each answer waits.
    pub(super) slow_ms: u64,
    /// So many answers end in the middle of what they say.
    pub(super) half_pages: u64,
    /// So many answers are 500.
    pub(super) failures: u64,
    /// So many lists, every second one, are as they were when this was asked for.
    pub(super) stale_lists: u64,
    /// Every event comes twice.
    pub(super) duplicate_events: bool,
    /// Every second event comes before the one that it follows.
    pub(super) reorder_events: bool,
    /// How far the clock goes ahead.
    pub(super) clock_ahead_s: u64,
    /// Ends the tokens that were given until now.
    expire_tokens: bool,
    /// Ends all streams.
    drop_streams: bool,
    /// Tokens of older generations are not taken.
    #[serde(skip)]
    pub(super) generation: u64,
    /// What was there when the faults were asked for.
    #[serde(skip)]
    pub(super) before: Arc<Book>,
    #[serde(skip)]
    is_fresh: bool,
}

impl Faults {
    /// What a list is read from instead, when it is to be stale.
    pub(super) fn stale(&mut self) -> Option<Arc<Book>> {
        if self.stale_lists == 0 {
            return None;
        }
        self.is_fresh = !self.is_fresh;
        (self.is_fresh && take(&mut self.stale_lists)).then(|| Arc::clone(&self.before))
    }
}

/// `PUT /faults`.
pub(super) fn router(office: &Arc<Office>, token: Option<Secret>) -> Router {
    Router::new().route("/faults", put(change)).with_state((Arc::clone(office), token))
}

async fn change(
    State((office, token)): State<(Arc<Office>, Option<Secret>)>,
    headers: HeaderMap,
    Json(mut told): Json<Faults>,
) -> Result<Json<Value>, Refusal> {
    if !is_admitted(token.as_ref(), &headers) {
        return Err(Refusal::new(StatusCode::UNAUTHORIZED, "the token is missing or wrong"));
    }
    let book = office.book();
    let is_dropping = told.drop_streams;
    {
        let mut faults = office.faults();
        told.before = book;
        told.generation = faults.generation + u64::from(told.expire_tokens);
        *faults = told;
    }
    office.look.send_modify(|epoch| *epoch += u64::from(is_dropping));
    Ok(Json(json!({})))
}

/// Goes wrong on the way to what would be answered.
pub(super) async fn fail(State(office): State<Arc<Office>>, request: Request, next: Next) -> Response {
    let is_stream = request.uri().path().ends_with("/stream");
    let (slow, is_failure) = {
        let mut faults = office.faults();
        (Duration::from_millis(faults.slow_ms), !is_stream && take(&mut faults.failures))
    };
    tokio::time::sleep(slow).await;
    if is_failure {
        return Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "a fault that was asked for").into_response();
    }
    let answer = next.run(request).await;
    if is_stream || answer.status() != StatusCode::OK || !take(&mut office.faults().half_pages) {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    head.headers.remove("content-length");
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(head, Body::from(body.slice(..body.len() / 2)))
}

/// Whether it is one of those that are left.
fn take(left: &mut u64) -> bool {
    let is_one = *left > 0;
    *left = left.saturating_sub(1);
    is_one
}
