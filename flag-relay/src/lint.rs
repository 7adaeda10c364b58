//! Pure. Where SDKs of different languages read the same rules differently, flag by flag.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    evaluate::op_name,
    ruleset::{Attribute, Clause, Flag, Named, Op, Ruleset, Source},
};

/// Something that somebody should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it is: `flag dark-mode`.
    pub place: String,
    /// What kind it is of.
    pub kind: Kind,
    /// What.
    pub text: String,
    /// Flags whose value it can change.
    pub flags: BTreeSet<String>,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The same target can get different values from SDKs of different languages.
    Rules,
    /// So can a target that has attributes which are no texts.
    Types,
    /// All agree, but it may not be what was meant.
    Advice,
}

/// Everything that is to be found in a set.
pub fn lint(rules: &Ruleset) -> Vec<Finding> {
    let mut findings = Vec::new();
    for flag in &rules.flags {
        let mut told = Vec::new();
        look_at_flag(rules, flag, &mut told);
        let flags: BTreeSet<String> = names(rules, rules.told_by_flag(&flag.identifier));
        let place = format!("flag {}", flag.identifier);
        findings.extend(finish(told, &place, &flags));
    }
    for group in &rules.groups {
        let mut told = Vec::new();
        for clauses in &group.rules {
            if clauses.len() > 1 {
                let text = "a rule has several clauses: SDKs that know no servingRules do not see it";
                told.push((Kind::Advice, text.to_owned()));
            }
            look_at_clauses(clauses, &mut told);
        }
        let flags = names(rules, rules.told_by_group(&group.identifier));
        findings.extend(finish(told, &format!("group {}", group.identifier), &flags));
    }
    findings
}

type Told = Vec<(Kind, String)>;

fn finish(mut told: Told, place: &str, flags: &BTreeSet<String>) -> Vec<Finding> {
    told.dedup();
    let finding = |(kind, text)| Finding { place: place.to_owned(), kind, text, flags: flags.clone() };
    told.into_iter().map(finding).collect()
}

fn names(rules: &Ruleset, places: Vec<usize>) -> BTreeSet<String> {
    places.into_iter().filter_map(|at| rules.flags.get(at)).map(|flag| flag.identifier.to_string()).collect()
}

fn look_at_flag(rules: &Ruleset, flag: &Flag, told: &mut Told) {
    for pinned in &flag.pinned {
        look_at_groups(&pinned.groups, told);
    }
    for (rule, number) in flag.rules.iter().zip(1..) {
        match rule.clauses.len() {
            0 => told.push((
                Kind::Rules,
                format!("rule {number} has no clauses: it holds for everybody in Go, and for nobody in Node, Python and Java"),
            )),
            1 => {}
            _ => told.push((
                Kind::Rules,
                format!("rule {number} has several clauses: all must hold in Go and .NET, one is enough in Node, Python and Java"),
            )),
        }
        if rule.serve.variation.is_some() && rule.serve.distribution.is_some() {
            let text = format!(
                "rule {number} serves a variation and a distribution: Go takes the one, Node and Python the other"
            );
            told.push((Kind::Rules, text));
        }
        look_at_clauses(&rule.clauses, told);
        look_at_distribution(&rule.serve, told);
    }
    look_at_distribution(&flag.default, told);
    for prerequisite in &flag.prerequisites {
        let name = &prerequisite.flag.identifier;
        let Some(other) = prerequisite.flag.at.and_then(|at| rules.flags.get(at)) else {
            told.push((Kind::Advice, format!("its prerequisite {name} is not there, and counts as met")));
            continue;
        };
        let wanted = |told: &str| prerequisite.variations.iter().any(|wanted| **wanted == *told);
        let within = |told: &str| prerequisite.variations.iter().any(|wanted| wanted.contains(told));
        if other.variations.iter().any(|told| !wanted(&told.identifier) && within(&told.identifier)) {
            let text = format!(
                "a variation of its prerequisite {name} is a part of the name of another: Java takes both"
            );
            told.push((Kind::Rules, text));
        }
    }
}

fn look_at_distribution(serve: &crate::ruleset::Serve, told: &mut Told) {
    let Some(distribution) = &serve.distribution else { return };
    let sum: u64 = distribution.parts.iter().map(|(_, weight)| u64::from(*weight)).sum();
    if sum != 100 {
        told.push((Kind::Advice, format!("the weights of a distribution add up to {sum}, not to 100")));
    }
    look_at_name(&distribution.by, told);
    if distribution.by.source == Source::Attributes {
        let name = &distribution.by.name;
        let text = format!(
            "it is split by {name}: Python fails when {name} is no text, and splits by the identifier when it is 0 or false"
        );
        told.push((Kind::Types, text));
    }
}

fn look_at_groups(groups: &[Named], told: &mut Told) {
    for group in groups.iter().filter(|group| group.at.is_none()) {
        let text = format!(
            "it names group {}, which is not there: that ends the search in Go, and not in Node and Python",
            group.identifier
        );
        told.push((Kind::Rules, text));
    }
}

fn look_at_name(attribute: &Attribute, told: &mut Told) {
    let name = &attribute.name;
    let is_exact = matches!(&**name, "identifier" | "name");
    if attribute.source != Source::Attributes && !is_exact {
        told.push((
            Kind::Rules,
            format!("{name} is the target's own in Go, and an attribute in Node and Python"),
        ));
    }
    if matches!(&**name, "anonymous" | "attributes") {
        told.push((
            Kind::Rules,
            format!("{name} is an attribute in Go, and the target's own in Node and Python"),
        ));
    }
}

fn look_at_clauses(clauses: &[Clause], told: &mut Told) {
    for clause in clauses {
        let (name, op) = (&clause.attribute.name, op_name(&clause.op));
        match &clause.op {
            Op::SegmentMatch(groups) => {
                look_at_groups(groups, told);
                if !name.is_empty() {
                    let text = format!("segmentMatch with the attribute {name} holds for nobody who has it in Python");
                    told.push((Kind::Rules, text));
                }
                continue;
            }
            Op::Match(None) => told.push((Kind::Advice, "a pattern is none, and matches nobody".to_owned())),
            Op::Match(Some(_)) => {
                told.push((Kind::Rules, "match is unknown to Node and Python, where it holds for nobody".to_owned()));
            }
            Op::Greater => told.push((
                Kind::Rules,
                format!("{name} gt: Go and Node compare texts (9 is more than 10); Python compares numbers as numbers, and texts without regard to capitals"),
            )),
            Op::Unknown(..) => {
                told.push((Kind::Rules, format!("{op} is no operator in Go; Python reads operators without regard to capitals")));
            }
            _ => {}
        }
        look_at_name(&clause.attribute, told);
        if clause.values.iter().any(|value| value.is_empty()) {
            let text =
                format!("{name} {op} an empty text: Python has it hold for an attribute that is empty");
            told.push((Kind::Rules, text));
        }
        if clause.attribute.source == Source::Attributes {
            let text = format!(
                "{name} {op}: Python compares numbers and switches by their type, the others as texts"
            );
            told.push((Kind::Types, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        example::{clause, flag, group, serving},
        ruleset::compile,
        shape::{FeatureConfig, Segment},
    };

    fn kinds(flags: &[FeatureConfig], groups: &[Segment]) -> Vec<(String, Kind, Vec<String>)> {
        let found = lint(&compile(flags, groups).unwrap());
        found.into_iter().map(|told| (told.place, told.kind, told.flags.into_iter().collect())).collect()
    }

    fn rule(clauses: Value) -> FeatureConfig {
        flag(
            "f",
            json!({ "rules": [{ "priority": 1, "clauses": clauses, "serve": { "variation": "true" } }] }),
        )
    }

    #[test]
    fn where_sdks_part_is_told_with_the_flags_that_it_touches() {
        let own = || vec!["f".to_owned()];
        let place = || "flag f".to_owned();
        let check = |flag: FeatureConfig, expected: &[Kind]| {
            let expected: Vec<_> = expected.iter().map(|kind| (place(), *kind, own())).collect();
            assert_eq!(kinds(&[flag], &[]), expected);
        };
        check(serving("f", "true"), &[]);
        check(rule(json!([clause("identifier", "equal", &["a"])])), &[]);
        check(rule(json!([])), &[Kind::Rules]);
        check(rule(json!([clause("name", "equal", &["a"]), clause("name", "in", &["a"])])), &[Kind::Rules]);
        check(rule(json!([clause("name", "gt", &["a"])])), &[Kind::Rules]);
        check(rule(json!([clause("Name", "equal", &["a"])])), &[Kind::Rules]);
        check(rule(json!([clause("name", "match", &["a"])])), &[Kind::Rules]);
        check(rule(json!([clause("", "segmentMatch", &["gone"])])), &[Kind::Rules]);
        check(rule(json!([clause("plan", "equal", &["a"])])), &[Kind::Types]);
        let split = json!({ "bucketBy": "plan", "variations": [{ "variation": "true", "weight": 10 }] });
        check(flag("f", json!({ "defaultServe": { "distribution": split } })), &[Kind::Advice, Kind::Types]);
    }

    #[test]
    fn a_group_touches_the_flags_that_name_it() {
        let asks = flag(
            "asks",
            json!({ "variationToTargetMap": [{ "variation": "true", "targetSegments": ["g"] }] }),
        );
        let late = flag("late", json!({ "prerequisites": [{ "feature": "asks", "variations": ["true"] }] }));
        let groups = [group("g", json!({ "rules": [clause("name", "gt", &["a"])] }))];
        let expected = vec![("group g".to_owned(), Kind::Rules, vec!["asks".to_owned(), "late".to_owned()])];
        assert_eq!(kinds(&[asks, late, serving("other", "true")], &groups), expected);
    }
}
