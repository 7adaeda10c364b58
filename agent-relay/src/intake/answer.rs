//! The answers that agents get, in the words that each kind of them knows.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{own, path::Shape};
use crate::upstream::Body;

fn answer(status: StatusCode, kind: &'static str, text: impl Into<bytes::Bytes>) -> Response<Body> {
    let mut response = Response::new(own(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// It is on disk.
pub(super) fn accepted(shape: Shape) -> Response<Body> {
    match shape {
        Shape::Transaction => answer(StatusCode::OK, "text/html; charset=UTF-8", "Transaction: None"),
        Shape::Empty => answer(StatusCode::OK, "text/html; charset=UTF-8", ""),
        Shape::Json => answer(StatusCode::ACCEPTED, "application/json", "{\"status\":\"ok\"}"),
    }
}

/// Keep it, and send it again: every agent does at this status.
pub(super) fn later(after_s: u32) -> Response<Body> {
    let mut response =
        answer(StatusCode::SERVICE_UNAVAILABLE, "application/json", "{\"errors\":[\"try again later\"]}");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after_s));
    response
}

/// Who does not belong here. No agent throws its data away at this status.
pub(super) fn unknown() -> Response<Body> {
    let mut response = answer(
        StatusCode::UNAUTHORIZED,
        "text/plain; charset=utf-8",
        "not from here, or without the token\n",
    );
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The end of this connection.
pub(super) fn close(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = answer(status, "text/plain; charset=utf-8", text);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// A page of our own.
pub(super) fn page(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    answer(status, kind, text)
}

/// Whether the client asks for JSON.
pub(super) fn accepts_json(fields: &HeaderMap) -> bool {
    let accept = fields.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.trim().starts_with("application/json"))
}
