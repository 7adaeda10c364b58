//! The buttons of a rule: warm up, cool down, enable, disable. What cuts somebody is asked twice.

use std::time::Duration;

use askama::Template;
use axum::{
    extract::{Form, Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Redirect, Response},
};
use serde::Deserialize;

use common::pages::render;

use super::{Frame, Message, Web, api, line::Line, shown};
use crate::{
    control::view,
    machine::{Event, Refusal},
    rule::RuleId,
};

/// What a form sends.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Told {
    /// For how long a warm up keeps it up at least.
    minutes: String,
    /// Cut whoever uses it; only the second question sends this.
    force: String,
    /// Cool down first what depends on it.
    propagate: String,
}

/// Whether a cool down is meant.
#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    frame: Frame,
    rule: Line,
    /// It was refused because somebody uses it, or because of who depends on it.
    in_use: bool,
    /// Who depends on it and is not down: id, name, state.
    dependants: Vec<(String, String, &'static str)>,
    /// How many more of these there are.
    more: usize,
}

/// Dependants that are named.
const MOST_NAMED: usize = 20;

/// What the rule's page says of a deed that was done.
pub(super) fn told(done: &str) -> &'static str {
    match done {
        "warmup" => "Warm up was asked for.",
        "cooldown" => "Cool down was asked for: it stops as soon as no data plane objects.",
        "propagate" => {
            "The rules that depend on it are cooled down; it follows when they are down and it is idle."
        }
        "enable" => "The rule is enabled, and the target is looked at.",
        "disable" => "The rule is disabled: the target is left as it is, and nobody is let in.",
        _ => "",
    }
}

/// `POST /dashboard/rules/{id}/{deed}`
pub(super) async fn deed(
    State(web): State<Web>,
    Path((rule, deed)): Path<(String, String)>,
    Form(told): Form<Told>,
) -> Response {
    let done = match api::found(&web.control, &rule).await {
        Ok(Some(id)) => perform(&web, &id, &deed, &told).await,
        Ok(None) => return web.no_such_rule(),
        Err(error) => Err(error),
    };
    done.unwrap_or_else(|_| web.stopping())
}

async fn perform(web: &Web, id: &RuleId, deed: &str, told: &Told) -> anyhow::Result<Response> {
    let event = match deed {
        "warmup" => match minutes(&told.minutes) {
            Some(keep) => Event::Warmup { keep, over_schedule: true },
            None => {
                let text = "Say for how many minutes it stays up, from 1 to 10080.";
                return Ok(refused(web, id, StatusCode::BAD_REQUEST, "That is no time", text));
            }
        },
        "cooldown" => return cool_down(web, id, told).await,
        "enable" => Event::Enable,
        "disable" => Event::Disable,
        _ => return Ok(web.message(StatusCode::NOT_FOUND, "Nothing here", "There is no such button.")),
    };
    tracing::info!(rule = %id, deed, "asked for on the dashboard");
    match web.control.ask(id.clone(), event).await? {
        Ok(()) => Ok(back(id, deed)),
        Err(refusal) => Ok(no(web, id, refusal)),
    }
}

async fn cool_down(web: &Web, id: &RuleId, told: &Told) -> anyhow::Result<Response> {
    let (force, propagate) = (told.force == "yes", told.propagate == "yes");
    let rule = id.clone();
    let seen = web.control.look(move |asked| {
        let rule = view::rule(asked, &rule)?;
        let dependants = rule.needed_by.iter().filter_map(|id| {
            let id = asked.mind.rules().iter().find(|rule| rule.id.as_str() == id)?.id.clone();
            let dependant = view::rule(asked, &id)?;
            let is_up = asked.mind.state(&id).needs() != crate::machine::Needed::Not;
            is_up.then_some((id, dependant))
        });
        Some((dependants.collect::<Vec<_>>(), rule, asked.now.wall))
    });
    let Some((dependants, rule, now)) = seen.await? else { return Ok(web.no_such_rule()) };
    let confirm = |in_use: bool| {
        let named = dependants.iter().take(MOST_NAMED).map(|(id, dependant)| {
            (id.to_string(), shown(&dependant.name), super::look::of(&dependant.state).word)
        });
        let (frame, rule) = (web.frame("rule"), Line::of(&rule, now, None));
        render(
            StatusCode::CONFLICT,
            &Confirm {
                frame,
                rule,
                in_use,
                more: dependants.len().saturating_sub(MOST_NAMED),
                dependants: named.collect(),
            },
        )
    };
    if !dependants.is_empty() && !force && !propagate {
        return Ok(confirm(rule.open > 0 || rule.parked > 0));
    }
    tracing::info!(rule = %id, force, propagate, "cool down asked for on the dashboard");
    if propagate {
        for (dependant, _) in &dependants {
            // One that is in use stays up, and this one with it: its page says why.
            web.control.ask(dependant.clone(), Event::Cooldown { force: false }).await?.ok();
        }
    }
    match web.control.ask(id.clone(), Event::Cooldown { force }).await? {
        Ok(()) => Ok(back(id, "cooldown")),
        Err(Refusal::Needed) if propagate => Ok(back(id, "propagate")),
        Err(Refusal::InUse | Refusal::Needed) => Ok(confirm(true)),
        Err(refusal) => Ok(no(web, id, refusal)),
    }
}

/// Nothing is told: as the API has it.
fn minutes(told: &str) -> Option<Duration> {
    if told.is_empty() {
        return Some(api::WARMUP);
    }
    told.trim()
        .parse()
        .ok()
        .filter(|minutes| (1..=api::MOST_WARMUP_MINS).contains(minutes))
        .map(Duration::from_mins)
}

fn back(id: &RuleId, done: &str) -> Response {
    Redirect::to(&format!("/dashboard/rules/{id}?done={done}")).into_response()
}

fn no(web: &Web, id: &RuleId, refusal: Refusal) -> Response {
    let help = match refusal {
        Refusal::InUse => "It is in use. Wait until nobody uses it.",
        Refusal::Needed => "Another rule depends on it and is not down. Cool that one down first.",
        Refusal::Changing => "It is on its way up, or nobody can say how it is. Try again when it is active.",
        Refusal::Disabled => "The rule is disabled. Enable it first.",
        Refusal::Scheduled => "Its schedule keeps it down. Change the schedule in the rule's file.",
    };
    refused(web, id, StatusCode::CONFLICT, "That cannot be done now", help)
}

fn refused(web: &Web, id: &RuleId, status: StatusCode, title: &str, text: &str) -> Response {
    let back = (format!("/dashboard/rules/{id}"), "Back to the rule".to_owned());
    render(
        status,
        &Message { frame: web.frame("rule"), title: title.to_owned(), text: text.to_owned(), back },
    )
}
