//! Decisions, one table for each stage, and where the dialects part.

use serde_json::{Value, json};

use super::*;
use crate::{
    example::{clause, flag, group, serving, target},
    ruleset::compile,
    shape::{FeatureConfig, Segment, Target},
};

fn decide(flags: &[FeatureConfig], groups: &[Segment], who: &Target, dialect: Dialect) -> (String, Cause) {
    let rules = compile(flags, groups).unwrap();
    let subject = Subject::new(who);
    let evaluation = Evaluation::new(&rules, &subject, dialect);
    let first = rules.flag(&flags[0].feature).unwrap();
    let (variation, cause) = evaluation.variation(first).unwrap();
    let (explained, steps) = evaluation.explain(first);
    assert_eq!(explained, evaluation.decide(first), "what is explained is what is decided");
    assert!(!steps.is_empty());
    (variation.identifier.to_string(), cause)
}

fn check(flags: &[FeatureConfig], groups: &[Segment], who: &Target, expected: (&str, Cause)) {
    let (variation, cause) = decide(flags, groups, who, Dialect::Relay);
    assert_eq!((variation.as_str(), cause), expected);
}

#[test]
fn the_stages_come_in_their_order() {
    let rule = json!([{ "priority": 1, "clauses": [clause("email", "ends_with", &["@x.io"])],
        "serve": { "variation": "true" } }]);
    let named = json!([{ "variation": "true", "targets": [{ "identifier": "ann", "name": "Ann" }] }]);
    let ann = target("ann", json!({}));
    let bob = target("bob", json!({ "email": "bob@x.io" }));
    let eve = target("eve", json!({ "email": "eve@y.io" }));
    let full = |state: &str| {
        let told = json!({ "state": state, "rules": rule, "variationToTargetMap": named });
        [flag("f", told)]
    };
    check(&full("off"), &[], &ann, ("false", Cause::Off));
    check(&full("on"), &[], &ann, ("true", Cause::Target));
    check(&full("on"), &[], &bob, ("true", Cause::Rule));
    check(&full("on"), &[], &eve, ("false", Cause::Default));
    let needs = |wanted: &str| {
        let told = json!({ "variationToTargetMap": named,
            "prerequisites": [{ "feature": "other", "variations": [wanted] }] });
        [flag("f", told), serving("other", "true")]
    };
    check(&needs("true"), &[], &ann, ("true", Cause::Target));
    check(&needs("false"), &[], &ann, ("false", Cause::Prerequisite));
}

#[test]
fn a_chain_of_prerequisites_holds_only_whole() {
    let needs = |name: &str, other: &str| {
        flag(
            name,
            json!({ "defaultServe": { "variation": "true" },
                "prerequisites": [{ "feature": other, "variations": ["true"] }] }),
        )
    };
    let who = target("ann", json!({}));
    let whole = [needs("a", "b"), needs("b", "c"), serving("c", "true")];
    check(&whole, &[], &who, ("true", Cause::Default));
    // B alone is true all the same: only its own prerequisites fail, and they count for A.
    let broken = [needs("a", "b"), needs("b", "c"), serving("c", "false")];
    check(&broken, &[], &who, ("false", Cause::Prerequisite));
    // What is not there counts as met, and ends the search.
    check(&[needs("a", "b"), needs("b", "gone")], &[], &who, ("true", Cause::Default));
}

#[test]
fn rules_are_tried_by_priority() {
    let rule = |priority: i64, variation: &str| {
        json!({ "priority": priority, "clauses": [clause("identifier", "equal", &["ANN"])],
            "serve": { "variation": variation } })
    };
    let told = json!({ "rules": [rule(2, "false"), rule(1, "true")] });
    check(&[flag("f", told)], &[], &target("ann", json!({})), ("true", Cause::Rule));
}

#[test]
fn operators_compare_text() {
    let holds = |attribute: Value, op: &str, values: &[&str]| {
        let rules = json!([{ "priority": 1, "clauses": [clause("a", op, values)],
            "serve": { "variation": "true" } }]);
        let flags = [flag("f", json!({ "rules": rules }))];
        decide(&flags, &[], &target("ann", json!({ "a": attribute })), Dialect::Relay).0 == "true"
    };
    for (attribute, op, values, expected) in [
        (json!("b"), "in", vec!["a", "b"], true),
        (json!("B"), "in", vec!["a", "b"], false),
        (json!("ÄRGER"), "equal", vec!["ärger"], true),
        (json!("Abc"), "equal", vec!["aBC"], true),
        (json!("Abc"), "equal_sensitive", vec!["aBC"], false),
        (json!("Abc"), "equal_sensitive", vec!["Abc"], true),
        // Only the first value counts.
        (json!("b"), "equal", vec!["a", "b"], false),
        (json!("b"), "gt", vec!["a"], true),
        // As text, 9 is more than 10.
        (json!(9), "gt", vec!["10"], true),
        (json!("abc"), "starts_with", vec!["ab"], true),
        (json!("abc"), "ends_with", vec!["bc"], true),
        (json!("abc"), "contains", vec!["b"], true),
        (json!("abc"), "match", vec!["^a.c$"], true),
        (json!("abc"), "match", vec!["("], false),
        (json!(true), "equal", vec!["TRUE"], true),
        (json!(1_000_000.0), "equal", vec!["1000000"], true),
        (json!(1e21), "starts_with", vec!["1000000000000000000000"], true),
        (json!({ "k": 1 }), "equal", vec![r#"{"k":1}"#], true),
        (json!(["x", "y"]), "contains", vec!["\"x\""], true),
        (json!(""), "equal", vec![""], false),
        (json!(null), "equal", vec![""], false),
        (json!("abc"), "unknown", vec!["abc"], false),
        (json!("abc"), "equal", vec![], false),
    ] {
        assert_eq!(holds(attribute.clone(), op, &values), expected, "{attribute} {op} {values:?}");
    }
}

#[test]
fn groups_include_exclude_and_rule() {
    let asks = |groups: &[&str]| {
        [flag("f", json!({ "variationToTargetMap": [{ "variation": "true", "targetSegments": groups }] }))]
    };
    let staff = group(
        "staff",
        json!({ "included": [{ "identifier": "ann" }, { "identifier": "eve" }], "excluded": [{ "identifier": "eve" }],
            "servingRules": [{ "ruleId": "r", "priority": 1, "clauses": [
                clause("mail", "ends_with", &["@x.io"]), clause("role", "equal", &["admin"])] }] }),
    );
    let all = group(
        "all",
        json!({ "rules": [clause("identifier", "contains", &["e"]), clause("role", "in", &["root"])] }),
    );
    let groups = [staff, all];
    let (yes, no) = (("true", Cause::Group), ("false", Cause::Default));
    check(&asks(&["staff"]), &groups, &target("ann", json!({})), yes);
    check(&asks(&["staff"]), &groups, &target("eve", json!({})), no);
    // Being excluded from one ends the search in all.
    check(&asks(&["staff", "all"]), &groups, &target("eve", json!({})), no);
    check(&asks(&["all", "staff"]), &groups, &target("eve", json!({})), yes);
    let admin = json!({ "mail": "a@x.io", "role": "admin" });
    check(&asks(&["staff"]), &groups, &target("bob", admin), yes);
    check(&asks(&["staff"]), &groups, &target("bob", json!({ "mail": "a@x.io" })), no);
    check(&asks(&["all"]), &groups, &target("bob", json!({ "role": "root" })), yes);
    // A group that is gone ends the search, as the Go SDK has it.
    check(&asks(&["gone", "all"]), &groups, &target("eve", json!({})), no);
}

#[test]
fn a_distribution_follows_the_bucket() {
    let split = |parts: Value| {
        [flag(
            "f",
            json!({ "defaultServe": { "distribution": { "bucketBy": "identifier", "variations": parts } } }),
        )]
    };
    let part = |variation: &str, weight: u32| json!({ "variation": variation, "weight": weight });
    // `identifier:test` falls into bucket 57.
    let who = target("test", json!({}));
    check(&split(json!([part("true", 57), part("false", 43)])), &[], &who, ("true", Cause::DefaultSplit));
    check(&split(json!([part("true", 56), part("false", 44)])), &[], &who, ("false", Cause::DefaultSplit));
    check(&split(json!([part("false", 10), part("true", 10)])), &[], &who, ("true", Cause::DefaultSplit));
    check(&split(json!([part("true", 0), part("false", 100)])), &[], &who, ("false", Cause::DefaultSplit));
    check(
        &split(json!([part("true", 100), part("false", 0)])),
        &[],
        &target("", json!({})),
        ("false", Cause::DefaultSplit),
    );
    let by = json!({ "defaultServe": { "distribution": { "bucketBy": "email",
        "variations": [part("true", 60), part("false", 40)] } } });
    // `email:enver.bisevac@harness` falls into bucket 61; without one, the identifier counts under its own name.
    check(
        &[flag("f", by.clone())],
        &[],
        &target("test", json!({ "email": "enver.bisevac@harness" })),
        ("false", Cause::DefaultSplit),
    );
    check(&[flag("f", by)], &[], &who, ("true", Cause::DefaultSplit));
}

#[test]
fn the_dialects_part_where_the_sdks_do() {
    let rule = |clauses: Value| {
        [flag(
            "f",
            json!({ "rules": [{ "priority": 1, "clauses": clauses, "serve": { "variation": "true" } }] }),
        )]
    };
    let who = target("ann", json!({ "age": 30, "plan": "Free", "beta": false }));
    for (clauses, relay, python) in [
        (json!([clause("plan", "equal", &["free"]), clause("age", "equal", &["31"])]), "false", "true"),
        (json!([]), "true", "false"),
        (json!([clause("plan", "match", &["^F"])]), "true", "false"),
        (json!([clause("age", "starts_with", &["3"])]), "true", "false"),
        (json!([clause("age", "gt", &["4"])]), "false", "true"),
        (json!([clause("beta", "equal", &["false"])]), "true", "false"),
        (json!([clause("plan", "gt", &["a"])]), "false", "true"),
        (json!([clause("Identifier", "equal", &["ann"])]), "true", "false"),
    ] {
        let flags = rule(clauses.clone());
        assert_eq!(decide(&flags, &[], &who, Dialect::Relay).0, relay, "{clauses}");
        assert_eq!(decide(&flags, &[], &who, Dialect::Python).0, python, "{clauses}");
    }
}
