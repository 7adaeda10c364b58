//! The wire rules that real SDKs impose.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::{
    environment::History,
    example::{clause, environment, flag, group, serving, target},
    shape::{FeatureConfig, Segment},
};

fn built(flags: Vec<FeatureConfig>, segments: Vec<Segment>) -> Environment {
    let told = crate::shape::Environment { segments, ..environment("e", flags) };
    Environment::build(told, &History::default(), 7).unwrap()
}

fn told(domain: Domain, event: Event, identifier: &str) -> Told {
    let change = Change { domain, event, identifier: identifier.into(), version: 20 };
    Told { number: 3, at: Duration::ZERO, change }
}

fn data(frame: &str) -> Value {
    let mut lines = frame.split('\n');
    assert_eq!(lines.next(), Some("event: *"));
    let data = lines.next().and_then(|line| line.strip_prefix("data: ")).unwrap();
    assert!(!data.starts_with(' ') && frame.is_ascii() && frame.ends_with("}\n\n"), "{frame}");
    assert_eq!(lines.collect::<Vec<_>>(), ["", ""]);
    serde_json::from_str(data).unwrap()
}

#[test]
fn an_event_is_as_documented() {
    let frame = server("71716f30", &told(Domain::Flag, Event::Patch, "f1"));
    let expected = "event: *\ndata: {\"event\":\"patch\",\"domain\":\"flag\",\"identifier\":\"f1\",\"version\":20,\
                    \"environment\":\"71716f30\",\"apiKey\":\"\"}\n\n";
    assert_eq!(frame, expected);
    assert_eq!(chunk(&frame, false), frame);
    assert_eq!(chunk(":\n\n", true), "3\r\n:\n\n\r\n");
}

#[test]
fn nothing_but_ascii_goes_out_and_it_means_the_same() {
    let name = "Größe \u{1f600}\n\"";
    assert_eq!(data(&server("e", &told(Domain::Group, Event::Delete, name)))["identifier"], name);
}

#[test]
fn a_client_is_told_every_value_that_may_be_another() {
    let needs = flag(
        "late",
        json!({ "prerequisites": [{ "feature": "f", "variations": ["true"] }],
        "defaultServe": { "variation": "true" } }),
    );
    let asks =
        flag("asks", json!({ "variationToTargetMap": [{ "variation": "true", "targetSegments": ["g"] }] }));
    let segment = group("g", json!({ "rules": [clause("plan", "equal", &["pro"])] }));
    let environment = built(vec![serving("f", "true"), serving("other", "true"), needs, asks], vec![segment]);
    let who = target("ann", json!({ "plan": "pro" }));
    let values = |told: &Told| {
        let frames = client(&environment, told, &who);
        let told = frames.iter().map(|frame| data(frame));
        told.map(|told| {
            let value = &told["evaluations"][0];
            format!(
                "{} {} {}",
                told["event"].as_str().unwrap(),
                told["identifier"].as_str().unwrap(),
                value["value"]
            )
        })
        .collect::<Vec<_>>()
    };
    assert_eq!(values(&told(Domain::Flag, Event::Create, "f")), ["create f \"true\"", "patch late \"true\""]);
    assert_eq!(values(&told(Domain::Group, Event::Create, "g")), ["patch asks \"true\""]);
    assert_eq!(values(&told(Domain::Flag, Event::Delete, "gone")), ["delete gone null"]);
    assert!(values(&told(Domain::Group, Event::Delete, "nobody")).is_empty());
}

#[test]
fn what_is_too_long_or_empty_is_told_without_the_value() {
    let json = |value: String| {
        flag(
            "f",
            json!({ "kind": "string", "offVariation": "v", "defaultServe": { "variation": "v" },
            "variations": [{ "identifier": "v", "value": value }] }),
        )
    };
    for value in ["x".repeat(MOST_EVENT_BYTES), String::new()] {
        let frames = client(
            &built(vec![json(value)], Vec::new()),
            &told(Domain::Flag, Event::Patch, "f"),
            &target("a", json!({})),
        );
        assert_eq!(frames.len(), 1);
        assert_eq!(data(&frames[0])["evaluations"], Value::Null);
    }
}

#[test]
fn of_many_an_sdk_asks_for_all() {
    let map = json!([{ "variation": "true", "targetSegments": ["g"] }]);
    let flags =
        (0..30).map(|number| flag(&format!("f{number}"), json!({ "variationToTargetMap": map }))).collect();
    let environment = built(flags, vec![group("g", json!({}))]);
    let frames = client(&environment, &told(Domain::Group, Event::Patch, "g"), &target("a", json!({})));
    assert_eq!(frames.len(), 1);
    let told = data(&frames[0]);
    assert_eq!(
        (&told["domain"], &told["event"], &told["evaluations"]),
        (&json!("target-segment"), &json!("patch"), &Value::Null)
    );
}
