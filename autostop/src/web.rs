//! What answers on proxyPort: the hint for people who troubleshoot, the API, the dashboard, the metrics.
//!
//! What stands in the pages comes partly from strangers: it goes through `visible`, and the templates escape it.

mod access;
mod advice;
mod api;
mod books;
mod chart;
mod dashboard;
mod deed;
mod figures;
mod line;
mod look;
mod metrics;
mod order;
mod others;
mod planes;
mod proxies;
mod rule;
mod savings;
mod shelf;
mod span;

use std::sync::Arc;

use askama::Template;
use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use common::{
    door::{Door, Sign, Way},
    pages::{Asset, Assets, Frame, House, render},
    visible,
};
use tokio::sync::watch;

use self::{books::Books, proxies::Office};
use crate::{
    config::{Config, Live},
    control::{Control, book::Book, fleet::Fleet},
};

static HOUSE: House = House {
    product: "Autostop",
    home: "/dashboard",
    folder: "/dashboard/assets",
    assets: Assets::new(&[
        Asset { name: "dashboard.css", content: include_str!("web/assets/dashboard.css") },
        Asset { name: "dashboard.js", content: include_str!("web/assets/dashboard.js") },
    ]),
};

static SIGN: Sign = Sign {
    name: "lw_proxy",
    house: &HOUSE,
    reason: "The dashboard asks for the token in the configuration of lw_proxy",
    setting: "authToken",
    cookie: "wayside_autostop",
    sign_in: "/dashboard/sign-in",
    sign_out: "/dashboard/sign-out",
    way: |path| match path {
        "/" => Way::Open,
        "/metrics" => Way::Program,
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
    book: Arc<Book>,
    fleet: Arc<Fleet>,
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
    let door = Door::new(&SIGN, move || token.borrow().auth_token.clone());
    let fleet = Arc::<Fleet>::default();
    let web = Web {
        control: control.clone(),
        door: door.clone(),
        books: Arc::default(),
        book: Arc::clone(&book),
        fleet: Arc::clone(&fleet),
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
        .route("/metrics", get(metrics::metrics))
        .fallback(not_found)
        .with_state(web);
    let here = config.access_point_id.as_str().into();
    let office = Office { control, book, fleet, here };
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
        let whose = (!self.account.is_empty()).then(|| ("account", shown(&self.account)));
        Frame { whose, ..self.door.frame(at) }
    }

    fn message(&self, status: StatusCode, title: &str, text: &str) -> Response {
        let back = ("/dashboard".to_owned(), "To all rules".to_owned());
        render(status, &Message { frame: self.frame(""), title: title.to_owned(), text: shown(text), back })
    }

    fn no_such_rule(&self) -> Response {
        self.message(StatusCode::NOT_FOUND, "No such rule", "There is no rule of this name; it may be gone.")
    }

    fn stopping(&self) -> Response {
        self.message(StatusCode::SERVICE_UNAVAILABLE, "Stopping", "The control plane is about to end.")
    }
}

/// A stranger's text as a page may have it, before it is escaped.
fn shown(text: &str) -> String {
    visible::short(text.as_bytes(), MOST_CHARACTERS)
}
