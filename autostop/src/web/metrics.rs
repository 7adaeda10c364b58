//! The numbers of the control plane, as `/metrics` shows them.

use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::{Web, look::LOOKS};
use crate::control::{Asked, view};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    operation: &'static str,
    outcome: &'static str,
}

/// What is counted.
struct Numbers {
    states: BTreeMap<&'static str, i64>,
    calls: BTreeMap<(&'static str, &'static str), u64>,
    dropped_lines: u64,
    open: i64,
    parked: i64,
    attached: usize,
    away: usize,
    trouble: bool,
}

/// `GET /metrics`
pub(super) async fn metrics(State(web): State<Web>) -> Response {
    let Ok(numbers) = web.control.look(count).await else { return web.stopping() };
    let mut text = String::new();
    if encode(&mut text, &registry(&numbers)).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
        .into_response()
}

fn count(asked: &Asked<'_>) -> Numbers {
    let mut numbers = Numbers {
        states: LOOKS.iter().map(|look| (look.state, 0)).collect(),
        calls: BTreeMap::new(),
        dropped_lines: 0,
        open: 0,
        parked: 0,
        attached: asked.links.len(),
        away: asked.kept.planes.len().saturating_sub(asked.links.len()),
        trouble: asked.trouble.is_some(),
    };
    for rule in view::rules(asked) {
        if let Some(number) = numbers.states.get_mut(rule.state.as_str()) {
            *number += 1;
        }
        numbers.open += i64::from(rule.open);
        numbers.parked += i64::from(rule.parked);
    }
    for caller in asked.callers.values() {
        numbers.dropped_lines += caller.dropped_lines();
        for count in caller.counts() {
            *numbers.calls.entry((count.op, count.outcome)).or_default() += count.calls;
        }
    }
    numbers
}

fn registry(numbers: &Numbers) -> Registry {
    let mut registry = Registry::with_prefix("lw_proxy");
    let rules = Family::<InState, Gauge>::default();
    for (state, number) in &numbers.states {
        rules.get_or_create(&InState { state }).set(*number);
    }
    registry.register("rules", "Rules, by state", rules);
    let calls = Family::<Call, Counter>::default();
    for ((operation, outcome), number) in &numbers.calls {
        calls.get_or_create(&Call { operation, outcome }).inc_by(*number);
    }
    registry.register("provider_calls", "Calls of providers, by what was asked and how it ended", calls);
    let dropped = Counter::<u64>::default();
    dropped.inc_by(numbers.dropped_lines);
    registry.register(
        "provider_dropped_lines",
        "Lines of plug-ins that were no answers, or too late",
        dropped,
    );
    let planes = Family::<InState, Gauge>::default();
    for (state, number) in [("attached", numbers.attached), ("away", numbers.away)] {
        planes.get_or_create(&InState { state }).set(i64::try_from(number).unwrap_or(i64::MAX));
    }
    registry.register("planes", "Data planes that are known, by whether they are attached", planes);
    for (name, help, value) in [
        ("open", "Connections and requests that are open", numbers.open),
        ("parked", "Clients that are held until a target is ready", numbers.parked),
        ("journal_trouble", "1 while the journal cannot be written", i64::from(numbers.trouble)),
    ] {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    }
    registry
}
