//! What answers on proxyPort: the hint for people who troubleshoot, the API, the dashboard, the metrics.
//!
//! What stands in the pages comes partly from strangers: it goes through `visible`, and the templates escape it.

mod access;
mod advice;
mod api;
mod assets;
mod books;
mod chart;
mod dashboard;
mod deed;
mod figures;
mod line;
mod look;
mod metrics;
mod order;
mod planes;
mod proxies;
mod rule;
mod savings;
mod shelf;
mod sign_in;
mod span;

use std::sync::Arc;

use askama::Template;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use common::{
    door::{Door, Sign, Way},
    visible,
};
use tokio::sync::watch;

use self::{books::Books, proxies::Office};
use crate::{
    config::{Config, Live},
    control::{Control, book::Book},
};

const SIGN: Sign = Sign {
    name: "lw_proxy",
    setting: "authToken",
    cookie: "wayside_autostop",
    sign_in: "/dashboard/sign-in",
    home: "/dashboard",
    way: |path| match path {
        "/" | "/dashboard/sign-in" => Way::Open,
        "/metrics" => Way::Program,
        path if path.starts_with("/dashboard/assets/") => Way::Open,
        path if path.starts_with("/gateway/") => Way::OwnWords,
        _ => Way::Page,
    },
};

/// The longest text of a stranger that a page shows, in characters.
const MOST_CHARACTERS: usize = 200;

/// What the pages need. Clones share it.
#[derive(Clone)]
struct Web {
    control: Control,
    door: Door,
    books: Arc<Books>,
    account: Arc<str>,
    access_point: Arc<str>,
}

/// Everything on proxyPort but health.
pub fn router(
    control: Control,
    book: Arc<Book>,
    config: &Config,
    live: watch::Receiver<Arc<Live>>,
) -> Router {
    let token = live.clone();
    let door = Door::new(SIGN, move || token.borrow().auth_token.clone());
    let web = Web {
        control: control.clone(),
        door: door.clone(),
        books: Arc::default(),
        account: config.account_id.as_str().into(),
        access_point: config.access_point_id.as_str().into(),
    };
    let pages = Router::new()
        .route("/", get(hint))
        .route("/dashboard", get(dashboard::page))
        .route("/dashboard/rules/{id}", get(rule::page))
        .route("/dashboard/rules/{id}/{deed}", post(deed::deed))
        .route("/dashboard/savings", get(savings::page))
        .route("/dashboard/planes", get(planes::page))
        .route("/dashboard/planes/forget", post(planes::forget))
        .route("/dashboard/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .route("/dashboard/sign-out", post(sign_in::sign_out))
        .route("/dashboard/assets/{name}", get(assets::asset))
        .route("/metrics", get(metrics::metrics))
        .fallback(not_found)
        .with_state(web);
    let here = config.access_point_id.as_str().into();
    let office = Office { control, book, fleet: Arc::default(), here };
    door.guard(pages.merge(api::router(office, live)))
}

/// The documented hint that the proxy works: text with the account id.
async fn hint(State(web): State<Web>) -> String {
    format!("lw_proxy {} of account {}\nDashboard: /dashboard\n", web.access_point, web.account)
}

async fn not_found(State(web): State<Web>, uri: Uri) -> Response {
    if uri.path().starts_with("/gateway/") {
        let told = serde_json::json!({ "errors": [{ "message": "there is nothing at this path" }] });
        return (StatusCode::NOT_FOUND, Json(told)).into_response();
    }
    web.message(StatusCode::NOT_FOUND, "Nothing here", "There is no page at this address.")
}

/// What every page shows around its content.
struct Frame {
    /// The page, as the navigation has it.
    at: &'static str,
    /// Of the style sheet and the script.
    version: &'static str,
    account: String,
    can_sign_out: bool,
}

/// A page that says one thing.
#[derive(Template)]
#[template(path = "message.html")]
struct Message {
    frame: Frame,
    title: String,
    text: String,
    /// Where it goes on from here.
    back: (String, String),
}

impl Web {
    fn frame(&self, at: &'static str) -> Frame {
        Frame {
            at,
            version: assets::version(),
            account: shown(&self.account),
            can_sign_out: self.door.asks(),
        }
    }

    fn message(&self, status: StatusCode, title: &str, text: &str) -> Response {
        let back = ("/dashboard".to_owned(), "To all rules".to_owned());
        page(status, &Message { frame: self.frame(""), title: title.to_owned(), text: shown(text), back })
    }

    fn no_such_rule(&self) -> Response {
        self.message(StatusCode::NOT_FOUND, "No such rule", "There is no rule of this name; it may be gone.")
    }

    fn stopping(&self) -> Response {
        self.message(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "The control plane is about to end.")
    }
}

/// A page as an answer.
fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "page cannot be rendered");
            (StatusCode::INTERNAL_SERVER_ERROR, "500: the page cannot be rendered.\n").into_response()
        }
    }
}

/// A stranger's text as a page may have it, before it is escaped.
fn shown(text: &str) -> String {
    visible::short(text.as_bytes(), MOST_CHARACTERS)
}
