//! What SDKs are told, and its versions.

use serde_json::{Value, json};

use super::*;
use crate::example::{clause, environment, flag, group, serving};

fn build(told: shape::Environment, before: &History, now_s: u64) -> Environment {
    Environment::build(told, before, now_s).unwrap()
}

fn versions(environment: &Environment) -> Vec<u64> {
    environment.as_told().flags.iter().map(|flag| flag.version).collect()
}

#[test]
fn nothing_is_null_and_the_strictest_sdk_finds_everything() {
    let mut told = environment("e", vec![serving("f", "true")]);
    told.flags[0].variation_to_target_map =
        serde_json::from_value(json!([{ "variation": "true", "targets": [{ "identifier": "ann" }] }]))
            .unwrap();
    told.segments =
        vec![group("g", json!({ "included": [{ "identifier": "ann" }], "rules": null, "tags": null }))];
    let built = build(told, &History::default(), 9);
    let flags = String::from_utf8(built.flags.all().to_vec()).unwrap();
    assert!(!flags.contains("null") && !flags.contains("distribution"), "{flags}");
    let flag: Value = serde_json::from_slice(&built.told_flag("f").unwrap()).unwrap();
    assert_eq!(flag["environment"], "e");
    assert_eq!(flag["project"], "");
    assert_eq!(flag["version"], 9);
    assert_eq!(flag["variationToTargetMap"][0]["targets"][0]["name"], "ann");
    let group: Value = serde_json::from_slice(&built.told_group("g", true).unwrap()).unwrap();
    let included = json!({ "identifier": "ann", "name": "ann", "account": "", "org": "", "project": "", "environment": "e" });
    assert_eq!((&group["name"], &group["included"][0]), (&json!("g"), &included));
}

#[test]
fn older_sdks_are_told_of_no_rule_that_would_widen_a_group() {
    let (mail, role) = (clause("mail", "equal", &["x"]), clause("role", "equal", &["y"]));
    let rules = json!([
        { "ruleId": "both", "priority": 1, "clauses": [mail, role] }, { "ruleId": "one", "priority": 2, "clauses": [role] }]);
    let mut told = environment("e", Vec::new());
    told.segments =
        vec![group("and", json!({ "servingRules": rules })), group("or", json!({ "rules": [mail, role] }))];
    let built = build(told, &History::default(), 1);
    let get = |name: &str, new: bool| -> Value {
        serde_json::from_slice(&built.told_group(name, new).unwrap()).unwrap()
    };
    assert_eq!(get("and", true)["servingRules"], rules);
    assert_eq!(get("and", true)["rules"], json!([]));
    assert_eq!(get("and", false)["rules"], json!([role]));
    assert_eq!(get("and", false)["servingRules"], json!([]));
    assert_eq!(get("or", false)["rules"], json!([mail, role]));
    let one = |number: i64, clause: &Value| json!({ "ruleId": format!("rule-{number}"), "priority": number, "clauses": [clause] });
    assert_eq!(get("or", true)["servingRules"], json!([one(1, &mail), one(2, &role)]));
}

#[test]
fn no_two_rules_are_told_with_the_same_priority() {
    let rule = |priority: i64, id: &str| json!({ "ruleId": id, "priority": priority, "clauses": [clause("name", "in", &["x"])], "serve": { "variation": "true" } });
    let told = |rules: &[(i64, &str)]| {
        let rules: Vec<_> = rules.iter().map(|(priority, id)| rule(*priority, id)).collect();
        let built =
            build(environment("e", vec![flag("f", json!({ "rules": rules }))]), &History::default(), 1);
        let flags = built.as_told().flags;
        flags[0].rules.iter().map(|rule| (rule.priority, rule.rule_id.clone().unwrap())).collect::<Vec<_>>()
    };
    let check = |rules: &[(i64, &str)], expected: &[(i64, &str)]| {
        let expected: Vec<_> = expected.iter().map(|(priority, id)| (*priority, (*id).to_owned())).collect();
        assert_eq!(told(rules), expected);
    };
    check(&[(7, "b"), (7, "c"), (2, "a")], &[(1, "a"), (2, "b"), (3, "c")]);
    check(&[(9, "b"), (2, "a")], &[(2, "a"), (9, "b")]);
}

#[test]
fn versions_only_grow_and_only_with_the_content() {
    let told = |variation: &str, version: u64| {
        environment(
            "e",
            vec![flag("f", json!({ "version": version, "defaultServe": { "variation": variation } }))],
        )
    };
    let first = build(told("true", 5), &History::default(), 100);
    assert_eq!(versions(&first), [5]);
    let same = build(told("true", 9), &first.history, 101);
    assert_eq!(versions(&same), [5], "nothing changed but the number");
    let forgotten = build(told("false", 5), &same.history, 102);
    assert_eq!(versions(&forgotten), [102], "whoever edits may forget the version");
    let jumped = build(told("true", 200), &forgotten.history, 103);
    assert_eq!(versions(&jumped), [200]);
    let gone = build(environment("e", Vec::new()), &jumped.history, 104);
    let back = build(told("true", 1), &gone.history, 105);
    assert_eq!(versions(&back), [201], "what comes back is newer than what was deleted");
    let events = |now: &Environment, before: &Environment| {
        let changes = now.history.changes_since(&before.history);
        changes.iter().map(|change| (change.event, change.version)).collect::<Vec<_>>()
    };
    assert_eq!(events(&same, &first), []);
    assert_eq!(events(&forgotten, &same), [(Event::Patch, 102)]);
    assert_eq!(events(&gone, &jumped), [(Event::Delete, 200)]);
    assert_eq!(events(&back, &gone), [(Event::Create, 201)]);
    assert_eq!(events(&build(environment("e", Vec::new()), &gone.history, 1), &gone), []);
}

#[test]
fn a_version_that_was_told_and_not_kept_is_not_told_again() {
    let told = |variation: &str| environment("e", vec![serving("f", variation)]);
    let kept = build(told("true"), &History::default(), 100);
    let lost = build(told("false"), &kept.history, 101);
    // Killed, and back with what was kept.
    let another = flag("f", json!({ "state": "off" }));
    let now = build(environment("e", vec![another]), &kept.history, 102);
    assert!(versions(&now) > versions(&lost), "it is another content, and SDKs have to see it");
}

#[test]
fn what_is_told_again_is_the_same() {
    let mut told = environment("e", vec![serving("f", "true"), serving("a", "false")]);
    told.segments = vec![group("g", json!({ "rules": [clause("a", "in", &["x"])] }))];
    let built = build(told, &History::default(), 7);
    let again = build(built.as_told(), &built.history, 8);
    assert_eq!((&again.history, again.revision), (&built.history, built.revision));
    assert_eq!(again.flags.all(), built.flags.all());
    assert_eq!(again.groups.all(), built.groups.all());
    let changed = build(environment("e", vec![serving("f", "false")]), &built.history, 8);
    assert_ne!(changed.revision, built.revision);
}

#[test]
fn items_are_found_by_their_names() {
    let built =
        build(environment("e", vec![serving("b", "true"), serving("a", "true")]), &History::default(), 1);
    for name in ["a", "b"] {
        let flag: FeatureName = serde_json::from_slice(&built.told_flag(name).unwrap()).unwrap();
        assert_eq!(flag.feature, name);
    }
    assert!(built.told_flag("c").is_none());
}

#[derive(serde::Deserialize)]
struct FeatureName {
    feature: String,
}
