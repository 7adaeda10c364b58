//! `/dashboard/savings`: what ran and what was saved, in the time that is asked for.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::StatusCode,
    response::Response,
};

use common::pages::render;

use super::{
    Frame, Web,
    chart::{self, Chart},
    figures, line, shown,
    span::Span,
};
use crate::{
    control::view::{self, Past},
    ledger::{self, GroupBy, Savings},
};

/// One rule's part.
struct Part {
    id: String,
    name: String,
    ran: String,
    rested: String,
    cost: String,
    saved: String,
}

#[derive(Template)]
#[template(path = "savings.html")]
struct SavingsPage {
    frame: Frame,
    from: String,
    to: String,
    group_by: &'static str,
    /// What is wrong with the time that was asked for.
    wrong: Option<String>,
    chart: Option<Chart>,
    saved: String,
    wakes: Vec<(&'static str, u64)>,
    stops: Vec<(&'static str, u64)>,
    dry_run: bool,
    parts: Vec<Part>,
}

/// `GET /dashboard/savings`
pub(super) async fn page(State(web): State<Web>, Query(span): Query<Span>) -> Response {
    answer(&web, &span).await.unwrap_or_else(|_| web.stopping())
}

async fn answer(web: &Web, span: &Span) -> anyhow::Result<Response> {
    let now = web.control.look(|asked| asked.now.wall).await?;
    let group_by = match span.group_by {
        GroupBy::Day => "day",
        GroupBy::Week => "week",
        GroupBy::Month => "month",
    };
    let (status, wrong, period) = match span.period(now) {
        Ok(period) => (StatusCode::OK, None, period),
        Err(wrong) => {
            let period = Span::default().period(now).map_err(anyhow::Error::msg)?;
            (StatusCode::BAD_REQUEST, Some(shown(&wrong)), period)
        }
    };
    let from = period.from;
    let past = web.control.look(move |asked| view::past(asked, from)).await?;
    let accounts: Vec<_> = past.iter().map(Past::account).collect();
    let all = ledger::savings(&accounts, &period);
    let parts = past.iter().map(|past| part(past, &ledger::savings(&[past.account()], &period)));
    let told = |told: &Option<String>, default: jiff::Timestamp| {
        told.as_deref()
            .filter(|told| !told.is_empty())
            .map_or_else(|| default.strftime("%Y-%m-%d").to_string(), shown)
    };
    Ok(render(
        status,
        &SavingsPage {
            frame: web.frame("savings"),
            from: told(&span.from, period.from),
            to: span.to.as_deref().map(shown).unwrap_or_default(),
            group_by,
            wrong,
            chart: chart::draw(&all),
            saved: line::told(&all),
            wakes: all.wakes.into_iter().collect(),
            stops: all.stops.into_iter().collect(),
            dry_run: all.dry_run,
            parts: parts.collect(),
        },
    ))
}

fn part(past: &Past, savings: &Savings) -> Part {
    let money = |amount: f64| past.price_per_hour.map(|_| figures::sum(amount)).unwrap_or_default();
    Part {
        id: past.id.clone(),
        name: shown(&past.name),
        ran: figures::hours(savings.running_seconds.iter().sum()),
        rested: figures::hours(savings.stopped_seconds.iter().sum()),
        cost: money(savings.total_actual_cost),
        saved: line::told(savings),
    }
}
