//! Who captures: every run of every proxy that was heard of.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use super::accounting::{Sheet, sheet};
use super::figures::{self, Moment};
use common::pages::render;
use common::visible;

use super::{Frame, Web};
use crate::store;

/// Runs that are shown.
const MOST: usize = 200;

/// One run of a proxy.
struct Run {
    id: String,
    /// Of its exchanges.
    link: String,
    service: String,
    namespace: String,
    version: String,
    listens: String,
    leads: String,
    state: &'static str,
    meaning: &'static str,
    class: &'static str,
    heard: Moment,
    ago: String,
    started: Moment,
    sheet: Sheet,
}

#[derive(Template)]
#[template(path = "proxies.html")]
struct Proxies {
    frame: Frame,
    runs: Vec<Run>,
    more: usize,
    service_port: u16,
}

/// `GET /proxies`
pub(super) async fn proxies(State(web): State<Web>) -> Response {
    let now = Timestamp::now();
    let accounts = web.store.accounting();
    let mut runs = web.store.proxies();
    // Those that live first, and of the others those that were heard of last.
    runs.sort_by_key(|run| (run.state.closed || run.state.cut, std::cmp::Reverse(run.state.last_heard_ms)));
    let more = runs.len().saturating_sub(MOST);
    let shown = runs.into_iter().take(MOST).map(|proxy| {
        let account = accounts.get(&proxy.id).cloned().unwrap_or_default();
        run(proxy, sheet(&account), now)
    });
    let template =
        Proxies { frame: web.frame("proxies"), runs: shown.collect(), more, service_port: web.service_port };
    render(StatusCode::OK, &template)
}

fn run(proxy: store::Proxy, sheet: Sheet, now: Timestamp) -> Run {
    let short = |text: &str| visible::short(text.as_bytes(), 120);
    let (state, class, meaning) = match (proxy.state.closed, proxy.state.cut) {
        (true, _) => ("closed", "done", "It said that it ends."),
        (_, true) => ("cut", "bad", "It was no longer heard of, or another run took its place."),
        _ => ("open", "good", "It checks in."),
    };
    let told = proxy.state.registration.unwrap_or_default();
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("instance", &proxy.id).finish();
    let millis = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let is_registered = !told.upstream_host.is_empty();
    Run {
        id: short(&proxy.id),
        link: format!("/?{query}"),
        service: short(&told.service),
        namespace: short(&told.namespace),
        version: short(&told.version),
        listens: if is_registered { format!("port {}", told.listen_port) } else { "–".to_owned() },
        leads: if is_registered {
            short(&format!("{}:{}", told.upstream_host, told.upstream_port))
        } else {
            "–".to_owned()
        },
        state,
        meaning,
        class,
        heard: figures::moment(millis(proxy.state.last_heard_ms)),
        ago: figures::ago(proxy.state.last_heard_ms, now),
        started: figures::moment(i64::try_from(told.started_at_ns).unwrap_or(i64::MAX)),
        sheet,
    }
}
