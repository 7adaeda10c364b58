//! `/dashboard/rules/{id}`: everything about one rule.

use askama::Template;
use axum::{
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use jiff::Timestamp;
use serde::Deserialize;

use common::pages::render;

use super::{
    Frame, Web, api,
    chart::{self, Chart},
    figures::{When, when},
    line::Line,
    look::{self, Look},
    shown,
};
use crate::{
    control::view,
    machine::{Change, State as MachineState},
    rule::RuleId,
};

/// Changes that are shown, and when all are asked for.
const CHANGES: usize = 40;
const ALL_CHANGES: usize = 500;

/// One change of state.
struct Changed {
    at: When,
    from: Look,
    to: Look,
    why: String,
    dry_run: bool,
}

#[derive(Template)]
#[template(path = "rule.html")]
struct RulePage {
    frame: Frame,
    rule: Line,
    /// What was just done by hand.
    done: &'static str,
    journal_trouble: bool,
    changes: Vec<Changed>,
    has_more: bool,
    chart: Option<Chart>,
}

/// What the page is asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    done: String,
    history: String,
}

/// `GET /dashboard/rules/{id}`
pub(super) async fn page(
    State(web): State<Web>,
    Path(told): Path<String>,
    Query(asked): Query<Asked>,
) -> Response {
    match api::found(&web.control, &told).await {
        Err(_) => web.stopping(),
        Ok(None) => web.no_such_rule(),
        Ok(Some(id)) if id.as_str() != told => {
            Redirect::to(&format!("/dashboard/rules/{id}")).into_response()
        }
        Ok(Some(id)) => answer(&web, id, &asked).await.unwrap_or_else(|_| web.stopping()),
    }
}

async fn answer(web: &Web, id: RuleId, asked: &Asked) -> anyhow::Result<Response> {
    let most = if asked.history == "all" { ALL_CHANGES } else { CHANGES };
    let seen = web.control.look(move |asked| {
        let history = view::history(asked, &id, most + 1);
        view::rule(asked, &id).map(|rule| (rule, history, asked.now.wall, asked.trouble.is_some()))
    });
    let Some((rule, history, now, journal_trouble)) = seen.await? else { return Ok(web.no_such_rule()) };
    let month = web.books.month(&web.control).await?;
    let savings = month.rules.get(&rule.id);
    Ok(render(
        StatusCode::OK,
        &RulePage {
            frame: web.frame("rule"),
            done: super::deed::told(&asked.done),
            journal_trouble,
            has_more: history.len() > most,
            changes: history.iter().take(most).map(|change| changed(change, now)).collect(),
            chart: savings.and_then(chart::draw),
            rule: Line::of(&rule, now, savings),
        },
    ))
}

fn changed(change: &Change, now: Timestamp) -> Changed {
    let look = |state: MachineState| {
        let name = serde_json::to_value(state).ok();
        look::of(name.as_ref().and_then(|name| name.as_str()).unwrap_or_default())
    };
    Changed {
        at: when(change.at, now),
        from: look(change.from),
        to: look(change.to),
        why: shown(&change.why.to_string()),
        dry_run: change.dry_run,
    }
}
