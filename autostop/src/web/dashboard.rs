//! `/dashboard`: every rule, and what a person should know first.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};
use serde::Deserialize;

use common::pages::render;

use super::{
    Frame, Web, chart,
    chart::Chart,
    figures,
    line::{self, Line},
    look::{LOOKS, Look},
    order, shown,
};
use crate::control::view::{self, Overview};

/// Something to know before anything else.
pub(super) struct Warning {
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) text: String,
    /// Where there is more about it.
    pub(super) link: Option<(String, String)>,
}

#[derive(Template)]
#[template(path = "dashboard.html")]
struct Dashboard {
    frame: Frame,
    warnings: Vec<Warning>,
    /// How many rules are in each state, and whether only these are shown.
    states: Vec<(Look, usize, bool)>,
    all: usize,
    find: String,
    state: &'static str,
    lines: Vec<Line>,
    saved: String,
    chart: Option<Chart>,
}

/// Which rules are asked for.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    state: String,
    find: String,
}

/// The page with these rules.
async fn answer(web: &Web, wanted: Wanted) -> anyhow::Result<Response> {
    let mut seen = web.control.look(view::overview).await?;
    seen.rules.sort_by_cached_key(|rule| order::key(&rule.name));
    let month = web.books.month(&web.control).await?;
    let state = LOOKS.iter().find(|look| look.state == wanted.state).map_or("", |look| look.state);
    let states = LOOKS.iter().map(|look| {
        let number = seen.rules.iter().filter(|rule| rule.state == look.state).count();
        (*look, number, look.state == state)
    });
    let sought = wanted.find.trim().to_lowercase();
    let fits = |rule: &&view::RuleView| {
        let texts = [&rule.name, &rule.id, &rule.provider, &rule.kind].into_iter().chain(&rule.domains);
        (state.is_empty() || rule.state == state)
            && (sought.is_empty() || { texts }.any(|text| text.to_lowercase().contains(&sought)))
    };
    let lines = seen.rules.iter().filter(fits);
    let lines = lines.map(|rule| Line::of(rule, seen.now, month.rules.get(&rule.id)));
    Ok(render(
        StatusCode::OK,
        &Dashboard {
            frame: web.frame("dashboard"),
            warnings: warnings(&seen),
            states: states.filter(|(_, number, is_chosen)| *number > 0 || *is_chosen).collect(),
            all: seen.rules.len(),
            find: shown(wanted.find.trim()),
            state,
            lines: lines.collect(),
            saved: line::told(&month.all),
            chart: chart::draw(&month.all),
        },
    ))
}

/// `GET /dashboard`
pub(super) async fn page(State(web): State<Web>, Query(wanted): Query<Wanted>) -> Response {
    answer(&web, wanted).await.unwrap_or_else(|_| web.stopping())
}

/// What a person should know before anything else.
pub(super) fn warnings(seen: &Overview) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let planes = || Some(("/dashboard/planes".to_owned(), "Data planes".to_owned()));
    let mut warn = |class, title: &str, text: String, link| {
        warnings.push(Warning { class, title: title.to_owned(), text, link });
    };
    if let Some(trouble) = &seen.trouble {
        let text = format!(
            "Nothing is started or stopped until it can be: {}. Make room on the disk of stateDir, or mend it; \
             nothing has to be restarted.",
            shown(trouble)
        );
        warn("bad", "The journal cannot be written.", text, None);
    }
    if !seen.rules.is_empty() && !seen.planes.iter().any(|plane| plane.attached) {
        let text = "Nobody is carried, and nothing is stopped, since nobody can say what is in use. Start \
                    lw_tcp_proxy on this machine, or look at its log.";
        warn("bad", "No data plane is attached.", text.to_owned(), planes());
    }
    for plane in &seen.planes {
        if !plane.attached && seen.planes.iter().any(|other| other.attached) {
            let title = format!("The data plane {} is away.", shown(&plane.name));
            let text =
                "Nothing is stopped until it is back, or forgotten: it may carry connections.".to_owned();
            warn("warn", &title, text, planes());
        }
        let deaf = plane.deaf.as_deref().unwrap_or_default();
        if !deaf.is_empty() {
            let ports: Vec<_> = deaf.iter().take(5).map(|deaf| deaf.port.to_string()).collect();
            let more = if deaf.len() > 5 { ", …" } else { "" };
            let title = format!(
                "The data plane {} cannot listen on {} {}{more}.",
                shown(&plane.name),
                if deaf.len() == 1 { "port" } else { "ports" },
                ports.join(", ")
            );
            warn("warn", &title, "Clients cannot come in there.".to_owned(), planes());
        }
    }
    let errored: Vec<_> = seen.rules.iter().filter(|rule| rule.state == "errored").collect();
    if let [first, rest @ ..] = errored.as_slice() {
        let title = if rest.is_empty() {
            format!("{} is errored.", shown(&first.name))
        } else {
            format!("{} are errored.", figures::counted(errored.len(), "rule"))
        };
        let link = match rest {
            [] => (format!("/dashboard/rules/{}", first.id), "What to do".to_owned()),
            _ => ("/dashboard?state=errored".to_owned(), "Show them".to_owned()),
        };
        let text = if rest.is_empty() {
            first.error.as_deref().map(shown).unwrap_or_default()
        } else {
            String::new()
        };
        warn("bad", &title, text, Some(link));
    }
    warnings
}
