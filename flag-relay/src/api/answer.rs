//! Pure. How everything is answered: one place for what clients see of success and of failure.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

/// What every answer and every stream lets pages of other origins see.
pub(crate) const ORIGINS: (HeaderName, HeaderValue) =
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// An answer to one request.
#[derive(Debug)]
pub(crate) struct Answer(Box<Response<Full<Bytes>>>);

impl Answer {
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, JSON, body.into())
    }

    pub(crate) fn text(body: String) -> Self {
        let openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        Self::new(StatusCode::OK, HeaderValue::from_static(openmetrics), body.into())
    }

    /// `{"error":"…"}`
    pub(crate) fn error(status: StatusCode, told: &str) -> Self {
        Self::told(status, &json!({ "error": told }))
    }

    pub(crate) fn told(status: StatusCode, told: &serde_json::Value) -> Self {
        Self::new(status, JSON, told.to_string().into())
    }

    pub(crate) fn unchanged() -> Self {
        let mut answer = Self(Box::new(Response::new(Full::default())));
        *answer.0.status_mut() = StatusCode::NOT_MODIFIED;
        answer.with(ORIGINS.0, ORIGINS.1)
    }

    pub(crate) fn preflight() -> Self {
        let mut answer = Self(Box::new(Response::new(Full::default())));
        *answer.0.status_mut() = StatusCode::NO_CONTENT;
        let set = HeaderValue::from_static;
        answer
            .with(ORIGINS.0, ORIGINS.1)
            .with(header::ACCESS_CONTROL_ALLOW_METHODS, set("GET, POST, OPTIONS"))
            .with(header::ACCESS_CONTROL_ALLOW_HEADERS, set("*, Authorization"))
            .with(header::ACCESS_CONTROL_MAX_AGE, set("7200"))
    }

    fn new(status: StatusCode, kind: HeaderValue, body: Bytes) -> Self {
        let mut answer = Self(Box::new(Response::new(Full::new(body))));
        *answer.0.status_mut() = status;
        answer.with(header::CONTENT_TYPE, kind).with(ORIGINS.0, ORIGINS.1)
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    pub(crate) fn tagged(self, tag: &str) -> Self {
        let exposed = HeaderValue::from_static("ETag");
        match HeaderValue::try_from(tag) {
            Ok(tag) => self.with(header::ETAG, tag).with(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed),
            Err(_) => self,
        }
    }

    pub(crate) fn allowing(self, methods: &'static str) -> Self {
        self.with(header::ALLOW, HeaderValue::from_static(methods))
    }

    /// It may be otherwise soon.
    pub(crate) fn later(self) -> Self {
        self.with(header::RETRY_AFTER, HeaderValue::from_static("2"))
    }

    /// The connection ends with it: what is left of the request is not read.
    pub(crate) fn closing(self) -> Self {
        self.with(header::CONNECTION, HeaderValue::from_static("close"))
    }

    /// Echoes the id of the request, or gives it this one.
    pub(crate) fn with_request_id(self, told: Option<&HeaderValue>, otherwise: u64) -> Self {
        let id = told.filter(|id| id.len() <= 128).cloned();
        let id = id.or_else(|| HeaderValue::try_from(format!("{otherwise:016x}")).ok());
        match id {
            Some(id) => self.with(HeaderName::from_static("x-request-id"), id),
            None => self,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.0.status()
    }

    pub(crate) fn into_response(self) -> Response<Full<Bytes>> {
        *self.0
    }
}
