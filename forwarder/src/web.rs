//! The Analyzer: what was captured, as pages that a browser shows without scripts, but for the live tail.
//!
//! What stands in them comes from strangers: it goes through `visible`, and the templates escape it.

use askama::Template;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use common::door::{Door, Sign, Way};
use common::pages::{Asset, Assets, Frame, House, render};
use common::visible;

use crate::query::{self, Query};
use crate::store::Store;

mod accounting;
mod body;
mod curl;
mod detail;
mod explain;
mod figures;
mod form;
mod heads;
mod hex;
mod json;
mod list;
mod proxies;
mod statement;
mod tail;
#[cfg(test)]
mod tests;
mod timing;

static HOUSE: House = House {
    product: "Analyzer",
    home: "/",
    folder: "/assets",
    assets: Assets::new(&[
        Asset { name: "analyzer.css", content: include_str!("web/assets/analyzer.css") },
        Asset { name: "analyzer.js", content: include_str!("web/assets/analyzer.js") },
    ]),
};

/// The Analyzer's door.
pub static SIGN: Sign = Sign {
    name: "Analyzer",
    house: &HOUSE,
    reason: "This Analyzer shows captured traffic, and asks for its token",
    setting: "ANALYZER_TOKEN",
    cookie: "wayside_analyzer",
    sign_in: "/sign-in",
    sign_out: "/sign-out",
    way,
};

fn way(path: &str) -> Way {
    match path {
        "/metrics" => Way::Program,
        _ if path.starts_with("/api/") => Way::OwnWords,
        _ => Way::Page,
    }
}

/// What the pages need. Clones share it.
#[derive(Clone)]
pub struct Web {
    store: Store,
    query: Query,
    door: Door,
    /// Where proxies find the forwarder, for whoever has none yet.
    service_port: u16,
}

impl Web {
    /// Shows this store; the door knows who has signed in.
    pub fn new(store: Store, query: Query, door: Door, service_port: u16) -> Self {
        Self { store, query, door, service_port }
    }

    /// What the pages have in common, for the page at this place.
    fn frame(&self, at: &'static str) -> Frame {
        self.door.frame(at)
    }
}

/// The pages, without a listener and without a door before them.
pub fn router(web: Web) -> Router {
    Router::new()
        .route("/", get(list::list))
        .route("/pairs/{uuid}", get(detail::detail))
        .route("/pairs/{uuid}/request-body", get(detail::request_body))
        .route("/pairs/{uuid}/response-body", get(detail::response_body))
        .route("/tail", get(tail::tail))
        .route("/proxies", get(proxies::proxies))
        .route("/accounting", get(accounting::accounting))
        .route("/sql", get(statement::form).post(statement::answer))
        .fallback(not_found)
        .with_state(web)
}

/// A page that says that there is none.
#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    frame: Frame,
    title: &'static str,
    text: String,
}

impl Web {
    fn message(&self, status: StatusCode, title: &'static str, text: impl Into<String>) -> Response {
        render(status, &Message { frame: self.frame(""), title, text: text.into() })
    }

    /// What a reader is told when a question has no answer.
    fn failed(&self, error: &query::Error) -> Response {
        let status = match error {
            query::Error::Refused(_) => StatusCode::BAD_REQUEST,
            query::Error::Late(_) => StatusCode::GATEWAY_TIMEOUT,
            query::Error::Memory => StatusCode::INSUFFICIENT_STORAGE,
            query::Error::Unreadable(source) => {
                tracing::error!(error = format!("{source:#}"), "query cannot be answered");
                StatusCode::INTERNAL_SERVER_ERROR
            }
        };
        let text = visible::lines(error.to_string().as_bytes());
        self.message(status, "This has no answer", text)
    }
}

async fn not_found(State(web): State<Web>, uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        let body = serde_json::json!({ "error": "there is nothing at this path" });
        return (StatusCode::NOT_FOUND, axum::Json(body)).into_response();
    }
    web.message(StatusCode::NOT_FOUND, "Nothing here", "There is no page at this address.")
}
