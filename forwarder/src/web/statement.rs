//! A page for SQL: a statement in, a table out.

use askama::Template;
use axum::extract::{Form, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use common::pages::render;
use common::visible;

use super::{Frame, Web, figures};
use crate::query;
use crate::query::sql::{Answer, Column, Limits};
use crate::store::schema::COLUMNS;

/// Rows that a page shows; the API gives more.
const MOST_ROWS: usize = 500;
/// Characters of a cell.
const MOST_CHARACTERS: usize = 300;

/// Statements to begin with.
const EXAMPLES: [(&str, &str); 4] = [
    (
        "Slowest paths",
        "SELECT service, method, path, count(*) AS n, round(avg(duration_ns) / 1e6, 2) AS mean_ms, round(max(duration_ns) / 1e6, 2) AS max_ms\nFROM exchanges\nWHERE protocol = 'http'\nGROUP BY service, method, path\nORDER BY max_ms DESC\nLIMIT 20",
    ),
    (
        "Errors by hour",
        "SELECT date_trunc('hour', ts) AS hour, service, count(*) AS n, sum(CASE WHEN status >= 500 THEN 1 ELSE 0 END) AS errors\nFROM exchanges\nGROUP BY hour, service\nORDER BY hour DESC\nLIMIT 48",
    ),
    (
        "Largest responses",
        "SELECT ts, service, method, path, response_body_bytes\nFROM exchanges\nORDER BY response_body_bytes DESC NULLS LAST\nLIMIT 20",
    ),
    (
        "Odd messages",
        "SELECT ts, uuid, service, findings, \"end\"\nFROM exchanges\nWHERE findings IS NOT NULL OR \"end\" <> 'complete'\nORDER BY ts DESC\nLIMIT 50",
    ),
];

/// A table to show.
struct Table {
    /// Each name with its type, and whether that is a number.
    columns: Vec<(String, String, bool)>,
    /// Each cell with whether it is a number.
    rows: Vec<Vec<(String, bool)>>,
    told: String,
    truncated: bool,
}

#[derive(Template)]
#[template(path = "sql.html")]
struct Sql {
    frame: Frame,
    query: String,
    examples: Vec<(&'static str, String)>,
    columns: Vec<(&'static str, String)>,
    table: Option<Table>,
    error: Option<String>,
    most_rows: usize,
}

impl Sql {
    fn new(web: &Web, query: String) -> Self {
        let link = |statement: &str| {
            let query =
                url::form_urlencoded::Serializer::new(String::new()).append_pair("query", statement).finish();
            format!("/sql?{query}")
        };
        Self {
            frame: web.frame("sql"),
            query,
            examples: EXAMPLES.iter().map(|(name, statement)| (*name, link(statement))).collect(),
            columns: COLUMNS.iter().map(|column| (column.name, (column.kind)().to_string())).collect(),
            table: None,
            error: None,
            most_rows: MOST_ROWS,
        }
    }
}

/// `GET /sql`: the form, with a statement in it if one is given. It is not run.
pub(super) async fn form(State(web): State<Web>, RawQuery(query): RawQuery) -> Response {
    let mut told = url::form_urlencoded::parse(query.as_deref().unwrap_or_default().as_bytes());
    let query = told.find(|(name, _)| name == "query").map(|(_, value)| value.into_owned());
    render(StatusCode::OK, &Sql::new(&web, query.unwrap_or_default()))
}

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct Asked {
    query: String,
}

/// `POST /sql`: the answer.
pub(super) async fn answer(State(web): State<Web>, Form(asked): Form<Asked>) -> Response {
    // Browsers send line ends as CRLF, and would show a textarea's first line end as nothing.
    let query = asked.query.replace("\r\n", "\n");
    let mut shown = Sql::new(&web, query.clone());
    let limits = Limits { rows: MOST_ROWS, ..Limits::default() };
    if query.trim().is_empty() {
        shown.error = Some("Write a statement first, or take one of the examples.".to_owned());
        return render(StatusCode::BAD_REQUEST, &shown);
    }
    let status = match web.query.sql(&query, limits).await {
        Ok(answer) => {
            shown.table = Some(table(&answer));
            StatusCode::OK
        }
        Err(error @ query::Error::Unreadable(_)) => return web.failed(&error),
        Err(error) => {
            shown.error = Some(visible::lines(error.to_string().as_bytes()));
            match error {
                query::Error::Late(_) => StatusCode::GATEWAY_TIMEOUT,
                query::Error::Memory => StatusCode::INSUFFICIENT_STORAGE,
                _ => StatusCode::BAD_REQUEST,
            }
        }
    };
    render(status, &shown)
}

fn table(answer: &Answer) -> Table {
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => ("∅".to_owned(), false),
        Some(Value::Number(number)) => (number.to_string(), true),
        Some(Value::String(text)) => (visible::short(text.as_bytes(), MOST_CHARACTERS), false),
        Some(other) => (visible::short(other.to_string().as_bytes(), MOST_CHARACTERS), false),
    };
    let rows = answer.rows.iter().map(|row| {
        let cells = answer.columns.iter().map(|column| cell(row.get(&column.name)));
        cells.collect()
    });
    let column = |column: &Column| {
        let is_number = ["Int", "UInt", "Float", "Decimal"].iter().any(|kind| column.kind.starts_with(kind));
        (visible::short(column.name.as_bytes(), 100), column.kind.clone(), is_number)
    };
    Table {
        columns: answer.columns.iter().map(column).collect(),
        rows: rows.collect(),
        told: figures::counted(answer.rows.len() as u64, "row"),
        truncated: answer.truncated,
    }
}
