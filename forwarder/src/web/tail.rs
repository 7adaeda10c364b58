//! What is being captured, as it comes: the page; the script follows `/api/v1/tail` for it.

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use common::pages::render;

use super::form::{self, Form};
use super::list::Suggestions;
use super::{Frame, Web};

#[derive(Template)]
#[template(path = "tail.html")]
struct Tail {
    frame: Frame,
    form: Form,
    suggestions: Suggestions,
    protocols: Vec<&'static str>,
    /// Of the events; empty when the question makes no sense.
    events: String,
    refreshing: String,
}

/// `GET /tail`
pub(super) async fn tail(State(web): State<Web>, RawQuery(query): RawQuery) -> Response {
    let asked = form::read(query.as_deref(), Timestamp::now());
    let is_right = asked.wrong.is_empty();
    let filters = asked.filters();
    let also = if filters.is_empty() { "?" } else { "&" };
    let template = Tail {
        frame: web.frame("tail"),
        form: asked.form(),
        suggestions: Suggestions::of(&web.store),
        protocols: Suggestions::protocols(),
        events: if is_right { format!("/api/v1/tail{filters}") } else { String::new() },
        refreshing: format!("/{filters}{also}refresh=5"),
    };
    render(if is_right { StatusCode::OK } else { StatusCode::BAD_REQUEST }, &template)
}
