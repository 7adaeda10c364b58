//! What makes a set unusable.

use serde_json::{Value, json};

use super::*;
use crate::example::{clause, flag, group, serving};

fn refused(flags: &[shape::FeatureConfig], segments: &[shape::Segment]) -> Vec<String> {
    match compile(flags, segments) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn check(change: Value, expected: &str) {
    assert_eq!(refused(&[flag("f", change)], &[]), [expected]);
}

#[test]
fn a_flag_must_serve_what_it_has() {
    assert!(refused(&[flag("f", json!({}))], &[]).is_empty());
    check(
        json!({ "offVariation": "x" }),
        "flag f: the off state serves \"x\", which is none of its variations",
    );
    check(json!({ "defaultServe": {} }), "flag f: there is no default to serve");
    check(
        json!({ "rules": [{ "priority": 1, "clauses": [], "serve": {} }] }),
        "flag f: a rule serves nothing",
    );
    check(
        json!({ "variationToTargetMap": [{ "variation": "x" }] }),
        "flag f: a list of targets serves \"x\", which is none of its variations",
    );
    check(
        json!({ "kind": "json", "variations": [{ "identifier": "false", "value": "{" }] }),
        "flag f: the value of its variation \"false\" is not JSON",
    );
    check(
        json!({ "kind": "int", "variations": [{ "identifier": "false", "value": "NaN" }] }),
        "flag f: the value of its variation \"false\" is not a number",
    );
    check(
        json!({ "variations": [{ "identifier": "false", "value": "no" }] }),
        "flag f: the value of its variation \"false\" is not true or false",
    );
}

#[test]
fn all_problems_are_told_at_once() {
    let flags = [
        flag("f", json!({ "offVariation": "x" })),
        flag("g", json!({ "offVariation": "y" })),
        flag("g", json!({})),
    ];
    assert_eq!(refused(&flags, &[group("", json!({}))]).len(), 4);
}

#[test]
fn circles_are_refused() {
    let needs = |name: &str, other: &str| {
        flag(name, json!({ "prerequisites": [{ "feature": other, "variations": [] }] }))
    };
    assert_eq!(refused(&[needs("a", "b"), needs("b", "a"), serving("c", "true")], &[]).len(), 2);
    assert_eq!(refused(&[needs("a", "a")], &[]).len(), 1);
    assert!(refused(&[needs("a", "b"), needs("b", "c")], &[]).is_empty());
    let within =
        |name: &str, other: &str| group(name, json!({ "rules": [clause("", "segmentMatch", &[other])] }));
    assert_eq!(refused(&[], &[within("a", "b"), within("b", "a")]).len(), 2);
    assert!(refused(&[], &[within("a", "b"), within("b", "gone")]).is_empty());
    let deep: Vec<_> =
        (0..80).map(|number| needs(&format!("f{number}"), &format!("f{}", number + 1))).collect();
    assert!(!refused(&deep, &[]).is_empty(), "too deep to follow");
    assert!(refused(&deep[..60], &[]).is_empty());
}

#[test]
fn what_depends_on_a_change_is_found() {
    let needs = |name: &str, other: &str| {
        flag(name, json!({ "prerequisites": [{ "feature": other, "variations": [] }] }))
    };
    let asks = flag(
        "asks",
        json!({ "variationToTargetMap": [{ "variation": "true", "targetSegments": ["outer"] }] }),
    );
    let rule = json!([{ "priority": 1, "clauses": [clause("", "segmentMatch", &["inner"])], "serve": { "variation": "true" } }]);
    let rules = compile(
        &[
            needs("a", "b"),
            needs("b", "c"),
            serving("c", "true"),
            serving("alone", "true"),
            asks,
            flag("rule", json!({ "rules": rule })),
            needs("late", "asks"),
        ],
        &[
            group("inner", json!({})),
            group("outer", json!({ "rules": [clause("", "segmentMatch", &["inner"])] })),
        ],
    )
    .unwrap();
    let names = |places: Vec<usize>| {
        places.iter().map(|at| rules.flags[*at].identifier.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(rules.told_by_flag("c")), ["a", "b", "c"]);
    assert_eq!(names(rules.told_by_flag("alone")), ["alone"]);
    assert!(rules.told_by_flag("gone").is_empty());
    assert_eq!(names(rules.told_by_group("inner")), ["asks", "late", "rule"]);
    assert_eq!(names(rules.told_by_group("outer")), ["asks", "late"]);
}
