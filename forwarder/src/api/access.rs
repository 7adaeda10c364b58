//! Who may ask: those who bear the token, and no page of another site.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use common::door::{bearer, is_foreign};
use serde_json::json;

use super::Api;

pub(super) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    if let Some(token) = &api.token
        && !bearer(request.headers()).is_some_and(|told| token.matches(told))
    {
        let body = Json(json!({ "error": "send Authorization: Bearer with the token of the Analyzer" }));
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], body).into_response();
    }
    if request.method() != Method::GET && request.method() != Method::HEAD && is_foreign(request.headers()) {
        let body = Json(json!({ "error": "a page of another origin may not ask this" }));
        return (StatusCode::FORBIDDEN, body).into_response();
    }
    next.run(request).await
}
