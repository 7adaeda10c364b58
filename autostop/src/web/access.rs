//! Who may ask the API.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use tokio::sync::watch;

use crate::config::Live;

/// Lets only those pass who bring `authToken`, as `Authorization: Bearer` or as `x-api-key`.
pub(super) async fn check(
    State(live): State<watch::Receiver<Arc<Live>>>,
    request: Request,
    next: Next,
) -> Response {
    let token = live.borrow().auth_token.clone();
    let Some(token) = token else {
        let told = "403: set authToken in the configuration; without it nobody may ask this.\n";
        return (StatusCode::FORBIDDEN, told).into_response();
    };
    if told(request.headers()).is_some_and(|told| token.matches(told)) {
        return next.run(request).await;
    }
    let told = "401: send Authorization: Bearer, or x-api-key, with the authToken of the configuration.\n";
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], told).into_response()
}

fn told(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|told| told.as_bytes().strip_prefix(b"Bearer "));
    bearer.or_else(|| headers.get("x-api-key").map(|told| told.as_bytes()))
}
