//! The newest exchanges, by page and by filter.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use common::exchange::Protocol;
use common::pages::render;
use jiff::Timestamp;

use super::figures::{self, Moment};
use super::form::{self, Form};
use common::visible;

use super::{Frame, Web, explain};
use crate::query::pairs::TIME_BUDGET;
use crate::store::{Store, row::Row};

/// Suggestions for the fields of the form.
#[derive(Default)]
pub(super) struct Suggestions {
    pub(super) services: BTreeSet<String>,
    pub(super) instances: BTreeSet<String>,
}

impl Suggestions {
    /// Of a kind at most so many.
    const MOST: usize = 200;

    pub(super) fn of(store: &Store) -> Self {
        let mut suggestions = Self::default();
        for proxy in store.proxies() {
            let service = proxy.state.registration.map(|registration| registration.service);
            suggestions.services.extend(service.filter(|name| !name.is_empty()));
            suggestions.instances.insert(proxy.id);
        }
        for set in [&mut suggestions.services, &mut suggestions.instances] {
            *set = std::mem::take(set).into_iter().take(Self::MOST).collect();
        }
        suggestions
    }

    pub(super) fn protocols() -> Vec<&'static str> {
        Protocol::ALL.iter().map(|protocol| protocol.as_str()).collect()
    }
}

/// Something about an exchange that should be seen in a list.
pub(super) struct Flag {
    pub(super) text: String,
    pub(super) class: &'static str,
    pub(super) meaning: String,
}

/// One exchange as a line of a list.
struct Line {
    id: String,
    time: Moment,
    service: String,
    method: String,
    path: String,
    query: String,
    status: String,
    status_class: &'static str,
    duration: String,
    request: String,
    response: String,
    flags: Vec<Flag>,
}

#[derive(Template)]
#[template(path = "list.html")]
struct List {
    frame: Frame,
    form: Form,
    suggestions: Suggestions,
    protocols: Vec<&'static str>,
    lines: Vec<Line>,
    refresh: Option<u32>,
    /// Of the page with older ones.
    older: Option<String>,
    /// Of the first page, when this is another.
    newest: Option<String>,
    /// The time that the search came to, when it stopped before its end.
    searched_to: Option<Moment>,
    /// Of the same question as a live tail.
    follow: String,
    /// Of the same question as a list that loads itself anew.
    refreshing: String,
    /// Of the same question to the API, and of its answer as a whole.
    api: String,
    is_empty_store: bool,
    proxies: usize,
    service_port: u16,
    budget_seconds: u64,
}

/// `GET /`
pub(super) async fn list(State(web): State<Web>, RawQuery(query): RawQuery) -> Response {
    let asked = form::read(query.as_deref(), Timestamp::now());
    let found = match web.query.pairs(&asked.filter, asked.limit, asked.cursor, TIME_BUDGET).await {
        Ok(found) => found,
        Err(error) => return web.failed(&error),
    };
    let form = asked.form();
    let status = if asked.wrong.is_empty() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let is_plain = !form.is_used && asked.cursor.is_none();
    let filters = asked.filters();
    let also = if filters.is_empty() { "?" } else { "&" };
    let template = List {
        frame: web.frame("list"),
        suggestions: Suggestions::of(&web.store),
        protocols: Suggestions::protocols(),
        is_empty_store: found.rows.is_empty() && found.next.is_none() && is_plain,
        lines: found.rows.iter().map(line).collect(),
        refresh: asked.refresh,
        older: found.next.map(|next| asked.link(Some(next))),
        newest: asked.cursor.map(|_| asked.link(None)),
        searched_to: found.next.filter(|_| !found.complete).map(|next| figures::moment(next.ts_ns)),
        follow: format!("/tail{filters}"),
        refreshing: format!("/{filters}{also}refresh=5"),
        api: filters,
        proxies: web.store.proxies().len(),
        service_port: web.service_port,
        budget_seconds: TIME_BUDGET.as_secs(),
        form,
    };
    render(status, &template)
}

fn line(row: &Row) -> Line {
    let (status, status_class) = status(row);
    let short =
        |text: &Option<String>, most| visible::short(text.as_deref().unwrap_or_default().as_bytes(), most);
    let query = short(&row.query, 120);
    Line {
        id: row.uuid.to_string(),
        time: figures::moment(row.ts_ns),
        service: visible::short(row.service.as_bytes(), 60),
        method: row.method.as_ref().map_or_else(|| row.protocol.clone(), |_| short(&row.method, 20)),
        path: match &row.path {
            Some(path) if !path.is_empty() => visible::short(path.as_bytes(), 200),
            _ => row.upstream.clone().unwrap_or_else(|| "unreachable".to_owned()),
        },
        query: if query.is_empty() { query } else { format!("?{query}") },
        status,
        status_class,
        duration: figures::duration(row.duration_ns),
        request: figures::size(row.request.body_bytes),
        response: row.response.as_ref().map_or_else(|| "–".to_owned(), |side| figures::size(side.body_bytes)),
        flags: flags(row),
    }
}

/// The status as a text, and its class in the style sheet.
pub(super) fn status(row: &Row) -> (String, &'static str) {
    let Some(status) = row.status else { return ("–".to_owned(), "s0") };
    let class = match status {
        100..=199 => "s1",
        200..=299 => "s2",
        300..=399 => "s3",
        400..=499 => "s4",
        500..=599 => "s5",
        _ => "s0",
    };
    (status.to_string(), class)
}

/// What should be seen of an exchange at once.
pub(super) fn flags(row: &Row) -> Vec<Flag> {
    let mut flags = Vec::new();
    if let Some((text, meaning)) = explain::end(&row.end) {
        flags.push(Flag { text: text.to_owned(), class: "bad", meaning: meaning.to_owned() });
    }
    if !row.findings.is_empty() {
        let text = figures::counted(row.findings.len() as u64, "finding");
        let meaning = row.findings.iter().map(|name| explain::finding(name)).collect::<Vec<_>>().join(" ");
        flags.push(Flag { text, class: "warn", meaning });
    }
    if row.request.truncated || row.response.as_ref().is_some_and(|side| side.truncated) {
        let meaning = "Only the start of a head or a body was kept.".to_owned();
        flags.push(Flag { text: "cut short".to_owned(), class: "note", meaning });
    }
    flags
}
