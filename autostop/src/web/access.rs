//! Who may ask the API.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use common::door::bearer;
use serde_json::json;
use tokio::sync::watch;

use crate::config::Live;

/// Lets only those pass who bring `authToken`, as `Authorization: Bearer` or as `x-api-key`; the door makes
/// whoever has signed in bring it.
pub(super) async fn check(
    State(live): State<watch::Receiver<Arc<Live>>>,
    request: Request,
    next: Next,
) -> Response {
    let token = live.borrow().auth_token.clone();
    let told = |told: &str| Json(json!({ "errors": [{ "message": told }] }));
    let Some(token) = token else {
        let body = told("set authToken in the configuration; without it nobody may ask this");
        return (StatusCode::FORBIDDEN, body).into_response();
    };
    if shows(request.headers(), |told| token.matches(told)) {
        return next.run(request).await;
    }
    let body = told("send Authorization: Bearer, or x-api-key, with the authToken of the configuration");
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response()
}

fn shows(headers: &HeaderMap, matches: impl Fn(&[u8]) -> bool) -> bool {
    let key = headers.get("x-api-key").map(|told| told.as_bytes());
    bearer(headers).or(key).is_some_and(matches)
}
