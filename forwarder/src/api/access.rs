//! Who may ask: those who bear the token, and no page of another site.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
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

/// The token that a request bears (RFC 6750 §2.1).
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let told = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, token) = told.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Whether a page of another site asks: a browser says where a request comes from; what is no browser says
/// nothing.
pub(crate) fn is_foreign(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return true;
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).map(|host| host.as_bytes()).unwrap_or_default();
    let origin = origin.as_bytes();
    let authority = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    host.is_empty() || authority != Some(host)
}
