//! One exchange, in everything that is known of it.

use askama::Template;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::body::{self, Body, Content};
use super::figures::{self, Moment};
use super::heads::{self, Head};
use super::list::{Flag, flags, status};
use super::timing::{self, Phase};
use common::pages::render;
use common::visible;

use super::{Frame, Web, curl, explain};
use crate::rrpair::content;
use crate::store::identity::Uuid;
use crate::store::row::{Row, Side};

/// One side of the exchange to show.
struct Shown {
    /// `request` or `response`.
    name: &'static str,
    title: &'static str,
    head: Head,
    head_note: Option<String>,
    body: Body,
    trailers: Head,
    /// The sizes, in a few words.
    sizes: String,
    framing: &'static str,
    /// Of its body as a file.
    download: String,
    /// Of this page with all that is kept.
    show_all: String,
}

#[derive(Template)]
#[template(path = "pair.html")]
struct Detail {
    frame: Frame,
    id: String,
    title: String,
    sentence: String,
    status: String,
    status_class: &'static str,
    flags: Vec<Flag>,
    time: Moment,
    phases: Vec<Phase>,
    total: String,
    connected: String,
    facts: Vec<(&'static str, String)>,
    /// Of the SQL page, with the question for its neighbors in it.
    neighbors: String,
    findings: Vec<(String, &'static str)>,
    end: Option<&'static str>,
    sides: Vec<Shown>,
    no_response: Option<&'static str>,
    informational: Vec<Head>,
    curl: Option<(String, Option<&'static str>)>,
}

/// `GET /pairs/{uuid}`
pub(super) async fn detail(
    State(web): State<Web>,
    Path(told): Path<String>,
    RawQuery(query): RawQuery,
) -> Response {
    let row = match find(&web, &told).await {
        Ok(row) => row,
        Err(response) => return response,
    };
    let mut told = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let all = told.find(|(name, _)| name == "all").map(|(_, value)| value.into_owned());
    render(StatusCode::OK, &show(&web, &row, all.as_deref()))
}

/// `GET /pairs/{uuid}/request-body`
pub(super) async fn request_body(State(web): State<Web>, Path(told): Path<String>) -> Response {
    match find(&web, &told).await {
        Ok(row) => download(&row, "request", Some(&row.request)),
        Err(response) => response,
    }
}

/// `GET /pairs/{uuid}/response-body`
pub(super) async fn response_body(State(web): State<Web>, Path(told): Path<String>) -> Response {
    match find(&web, &told).await {
        Ok(row) => download(&row, "response", row.response.as_ref()),
        Err(response) => response,
    }
}

async fn find(web: &Web, told: &str) -> Result<Row, Response> {
    let none = "There is no exchange of this id. Retention may have removed it, or the address was cut.";
    let missing = || web.message(StatusCode::NOT_FOUND, "No such exchange", none);
    let uuid = Uuid::parse(told).ok_or_else(missing)?;
    let row = web.query.pair(uuid).await.map_err(|error| web.failed(&error))?;
    row.ok_or_else(missing)
}

/// Nothing of what was captured decides the name or the type: a browser must not open it.
fn download(row: &Row, name: &str, side: Option<&Side>) -> Response {
    let disposition = format!("attachment; filename=\"{}-{name}-body.bin\"", row.uuid);
    let told = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, disposition.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (told, side.map(|side| content(side).into_owned()).unwrap_or_default()).into_response()
}

fn show(web: &Web, row: &Row, all: Option<&str>) -> Detail {
    let (status, status_class) = status(row);
    let mut sides = vec![side(row, "request", "Request", &row.request, all)];
    sides.extend(row.response.as_ref().map(|told| side(row, "response", "Response", told, all)));
    let name = visible::short(row.method.as_deref().unwrap_or(&row.protocol).as_bytes(), 40);
    let place = row.path.as_deref().filter(|path| !path.is_empty()).or(row.upstream.as_deref());
    let place = visible::short(place.unwrap_or("unreachable").as_bytes(), 200);
    Detail {
        frame: web.frame("pair"),
        id: row.uuid.to_string(),
        title: format!("{name} {place}"),
        sentence: sentence(row),
        status,
        status_class,
        flags: flags(row),
        time: figures::moment(row.ts_ns),
        phases: timing::phases(row),
        total: figures::duration(row.duration_ns),
        connected: connected(row),
        facts: facts(row),
        neighbors: neighbors(row),
        findings: row
            .findings
            .iter()
            .map(|name| (visible::line(name.as_bytes()), explain::finding(name)))
            .collect(),
        end: explain::end(&row.end).map(|(_, meaning)| meaning),
        no_response: row.response.is_none().then_some("Not one byte of a response came."),
        sides,
        informational: row.informational.iter().map(|raw| heads::head(raw)).collect(),
        curl: curl::command(row),
    }
}

/// What happened, in one sentence.
fn sentence(row: &Row) -> String {
    let short = |text: &str| visible::short(text.as_bytes(), 80);
    let service = short(&row.service);
    let took = figures::duration(row.duration_ns);
    if row.protocol != "http" {
        let sent = figures::size(row.request.wire_bytes);
        let received = figures::size(row.response.as_ref().map_or(0, |side| side.wire_bytes));
        return format!(
            "A {} stream to {service} carried {sent} up and {received} down in {took}.",
            row.protocol
        );
    }
    let method = short(row.method.as_deref().unwrap_or("A request"));
    match (row.status, row.end.as_str(), row.response_first_byte_after_ns) {
        (Some(status), "complete", Some(first)) if figures::duration(first) != took => format!(
            "{service} answered {method} with {status}; the first byte came after {}, the last after {took}.",
            figures::duration(first)
        ),
        (Some(status), "complete", _) => format!("{service} answered {method} with {status} after {took}."),
        (Some(status), "aborted_by_client", _) => {
            format!("{service} was answering {method} with {status} when the client left, after {took}.")
        }
        (Some(status), "aborted_by_server", _) => {
            format!("{service} began to answer {method} with {status} and broke off after {took}.")
        }
        (Some(status), ..) => format!("{service} answered {method} with {status}, over after {took}."),
        (None, "aborted_by_client", _) => {
            format!("The client left after {took}, before {service} answered {method}.")
        }
        (None, "aborted_by_server", _) if row.upstream.is_none() => {
            format!("{service} could not be reached for {method}.")
        }
        (None, "aborted_by_server", _) => {
            format!("{service} closed the connection after {took} without an answer to {method}.")
        }
        (None, ..) => format!("{method} to {service} ended after {took} without an answer."),
    }
}

fn connected(row: &Row) -> String {
    let before = figures::duration(row.connected_before_ns);
    match row.exchange_index {
        0 => format!("The first exchange of its connection, which was accepted {before} before."),
        index => format!(
            "Exchange {} of its connection, which was accepted {before} before.",
            figures::count(u64::try_from(index).unwrap_or_default().saturating_add(1))
        ),
    }
}

fn facts(row: &Row) -> Vec<(&'static str, String)> {
    let short = |text: &str| visible::short(text.as_bytes(), 200);
    let number = |number: i64| figures::count(u64::try_from(number).unwrap_or_default());
    let mut facts = vec![
        ("Service", short(&row.service)),
        ("Instance", short(&row.instance)),
        ("Namespace", short(&row.namespace)),
        ("Cluster", short(&row.cluster)),
        ("Protocol", short(&row.protocol)),
        ("Host asked for", short(row.host.as_deref().unwrap_or_default())),
        ("Client", short(&row.downstream)),
        ("Server", short(row.upstream.as_deref().unwrap_or("none could be reached"))),
        ("Configured server", short(&format!("{}:{}", row.proxy_upstream_host, row.proxy_upstream_port))),
        ("Proxy", short(&format!("goproxy {} ({})", row.proxy_version, row.proxy_type))),
        ("Connection", format!("{}, exchange {}", number(row.connection), number(row.exchange_index))),
        ("Sequence", format!("{} of run {}", number(row.sequence), short(&row.epoch))),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    facts
}

/// The question is only written into the form: a link must not make the daemon work.
fn neighbors(row: &Row) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let statement = format!(
        "SELECT ts, uuid, method, path, status, duration_ns / 1e6 AS ms\nFROM exchanges\nWHERE instance = {} AND epoch = {} AND connection = {}\n  AND ts >= to_timestamp_nanos({})\nORDER BY exchange_index\nLIMIT 100",
        quoted(&row.instance),
        quoted(&row.epoch),
        row.connection,
        row.ts_ns.saturating_sub(row.connected_before_ns),
    );
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("query", &statement).finish();
    format!("/sql?{query}")
}

fn side(row: &Row, name: &'static str, title: &'static str, side: &Side, all: Option<&str>) -> Shown {
    let kept = i64::try_from(side.head.len()).unwrap_or(i64::MAX);
    let (cut, whole) = (figures::exact_size(kept), figures::exact_size(side.head_bytes));
    let coded = if side.framing == "chunked" {
        format!(", {} with chunk lines", figures::size(side.wire_bytes))
    } else {
        String::new()
    };
    Shown {
        name,
        title,
        head: heads::head(&side.head),
        head_note: (kept < side.head_bytes)
            .then(|| format!("Cut short: the first {cut} of {whole} were kept.")),
        body: body::body(side, all == Some(name)),
        trailers: heads::trailers(&side.trailers),
        sizes: format!(
            "head {}, body {}{coded}",
            figures::size(side.head_bytes),
            figures::exact_size(side.body_bytes)
        ),
        framing: match side.framing.as_str() {
            "none" => "no body",
            "length" => "length told by Content-Length",
            "chunked" => "chunked",
            "close" => "until the connection closed",
            _ => "",
        },
        download: format!("/pairs/{}/{name}-body", row.uuid),
        show_all: format!("/pairs/{}?all={name}#{name}", row.uuid),
    }
}
