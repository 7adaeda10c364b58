//! What the command line asks: of the running daemon over its API, or, to check, of the files alone.

mod check;
mod client;
pub mod line;
mod table;

use std::io::Write;

use anyhow::Context as _;
use serde_json::{Value, json};

pub use self::{check::check, client::Daemon};

/// Every rule, as a table or as the API tells it.
///
/// # Errors
/// When the daemon does not answer, or refuses.
pub fn rules(daemon: &Daemon, as_json: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let rules = daemon.ask("GET", "rules", None)?;
    if as_json {
        return print(&rules, out);
    }
    let rules = rules.as_array().context("understand the answer")?;
    let mut rows =
        vec![["NAME", "STATE", "SINCE (UTC)", "CLIENTS COME TO", "WHY"].map(str::to_owned).to_vec()];
    for rule in rules {
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let list = |key: &str| rule.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let domains = list("domains").into_iter().filter_map(|domain| domain.as_str().map(str::to_owned));
        let ports = list("connect").into_iter().filter_map(|pair| {
            let (what, port) = (pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_u64()?);
            Some(format!("{port} ({what})"))
        });
        let why = ["error", "kept_awake_by", "why"].map(text).into_iter().find(|why| !why.is_empty());
        // To the second: more is noise.
        let since = text("since").split('.').next().unwrap_or_default().trim_end_matches('Z').to_owned();
        let places: Vec<_> = domains.chain(ports).collect();
        rows.push(vec![text("name"), text("state"), since, places.join(", "), why.unwrap_or_default()]);
    }
    table::write(&rows, out)
}

/// Brings a rule's target up.
///
/// # Errors
/// When the daemon does not answer, or refuses.
pub fn warmup(daemon: &Daemon, name: &str, minutes: Option<u64>, out: &mut dyn Write) -> anyhow::Result<()> {
    let body = json!({ "source": "command line", "idle_time_mins": minutes });
    told(&daemon.ask_rule("POST", name, "warmup", &body)?, out)
}

/// Brings a rule's target down; with `force` although it is in use.
///
/// # Errors
/// When the daemon does not answer, or refuses.
pub fn cooldown(
    daemon: &Daemon,
    name: &str,
    force: bool,
    propagate: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let body = json!({ "force": force, "propagate": propagate });
    told(&daemon.ask_rule("POST", name, "cooldown", &body)?, out)
}

/// What ran and what was saved.
///
/// # Errors
/// When the daemon does not answer, or refuses.
pub fn ledger(
    daemon: &Daemon,
    query: &[(&str, String)],
    as_json: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let savings = daemon.ask("GET", &format!("rules/savings/cumulative?{query}"), None)?;
    if as_json {
        return print(&savings, out);
    }
    let list = |key: &str| savings.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let number = |value: Option<&Value>| value.and_then(Value::as_f64).unwrap_or_default();
    let mut rows =
        vec![["FROM", "RAN", "STOPPED", "POTENTIAL", "ACTUAL", "SAVED"].map(str::to_owned).to_vec()];
    let (running, stopped) = (list("running_seconds"), list("stopped_seconds"));
    let (potential, actual, saved) = (list("potential_cost"), list("actual_cost"), list("savings"));
    let hours = |seconds: f64| format!("{:.1} h", seconds / 3600.0);
    for (at, day) in list("days").iter().enumerate() {
        let mut row = vec![day.as_str().unwrap_or_default().to_owned()];
        row.extend([&running, &stopped].map(|list| hours(number(list.get(at)))));
        row.extend([&potential, &actual, &saved].map(|list| format!("{:.2}", number(list.get(at)))));
        rows.push(row);
    }
    let sum = |list: &[Value]| list.iter().filter_map(Value::as_f64).sum::<f64>();
    let mut total = vec!["total".to_owned(), hours(sum(&running)), hours(sum(&stopped))];
    for key in ["total_potential_cost", "total_actual_cost", "total_savings"] {
        total.push(format!("{:.2}", number(savings.get(key))));
    }
    rows.push(total);
    table::write(&rows, out)?;
    if let Some(percent) = savings.get("savings_percent").and_then(Value::as_f64) {
        writeln!(out, "{percent:.1} % saved")?;
    }
    Ok(())
}

fn print(value: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    Ok(writeln!(out, "{value:#}")?)
}

fn told(rule: &Value, out: &mut dyn Write) -> anyhow::Result<()> {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).map(str::as_bytes).unwrap_or_default();
    let shown = |key: &str| common::visible::short(text(key), table::MOST_CHARACTERS);
    Ok(writeln!(out, "{} is {}", shown("name"), shown("state"))?)
}
