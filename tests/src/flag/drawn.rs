//! Flags, groups and targets drawn from a seed, with everything in them on which SDKs could disagree.

use fastrand::Rng;
use serde_json::{Map, Value, json};

const OPERATORS: [&str; 9] =
    ["in", "equal", "equal_sensitive", "gt", "starts_with", "ends_with", "contains", "match", "Equal"];
const ATTRIBUTES: [&str; 9] = ["identifier", "name", "email", "plan", "age", "score", "beta", "meta", "Name"];
const WORDS: [&str; 16] = [
    "ann", "Ann", "bob", "a", "n", "pro", "Pro", "free", "@x.io", "30", "9", "1.5", "true", "false", "Zoë",
    "",
];

/// What an environment of the offline layout has.
pub struct Drawn {
    /// `feature_config.json`
    pub flags: Value,
    /// `segments.json`
    pub groups: Value,
    /// A list of targets.
    pub targets: Value,
    /// The names of the flags.
    pub names: Vec<String>,
}

/// Draws so many flags and targets.
pub fn draw(seed: u64, flags: usize, targets: usize) -> Drawn {
    let mut rng = Rng::with_seed(seed);
    let groups: Vec<Value> = (0..12).map(|number| group(&mut rng, number)).collect();
    let made: Vec<Value> = (0..flags).map(|number| flag(&mut rng, number)).collect();
    Drawn {
        flags: made.into(),
        groups: groups.into(),
        targets: (0..targets).map(|number| target(&mut rng, number)).collect::<Vec<_>>().into(),
        names: (0..flags).map(|number| format!("f{number}")).collect(),
    }
}

fn word(rng: &mut Rng) -> &'static str {
    WORDS[rng.usize(..WORDS.len())]
}

fn clause(rng: &mut Rng, groups: usize) -> Value {
    if groups > 0 && rng.u8(..4) == 0 {
        let attribute = if rng.u8(..10) == 0 { "plan" } else { "" };
        let named: Vec<String> = (0..rng.usize(1..3)).map(|_| format!("g{}", rng.usize(..groups))).collect();
        return json!({ "attribute": attribute, "op": "segmentMatch", "values": named, "negate": rng.bool() });
    }
    // Most rules are plain ones.
    let (attribute, op) = if rng.bool() {
        (
            ["identifier", "name", "email", "plan"][rng.usize(..4)],
            OPERATORS[[0, 1, 2, 4, 5, 6][rng.usize(..6)]],
        )
    } else {
        (ATTRIBUTES[rng.usize(..ATTRIBUTES.len())], OPERATORS[rng.usize(..OPERATORS.len())])
    };
    let values: Vec<&str> = (0..rng.usize(..3)).map(|_| word(rng)).collect();
    json!({ "attribute": attribute, "op": op, "values": values, "negate": rng.bool() })
}

fn clauses(rng: &mut Rng, groups: usize) -> Vec<Value> {
    let count = [1, 1, 1, 1, 1, 2, 3, 0][rng.usize(..8)];
    (0..count).map(|_| clause(rng, groups)).collect()
}

fn listed(rng: &mut Rng) -> Value {
    let identifier = format!("t{}", rng.usize(..40));
    json!({ "identifier": identifier, "name": identifier, "account": "", "org": "", "environment": "", "project": "" })
}

fn some(rng: &mut Rng, most: usize, mut draw: impl FnMut(&mut Rng) -> Value) -> Vec<Value> {
    (0..rng.usize(..=most)).map(|_| draw(rng)).collect()
}

fn group(rng: &mut Rng, number: usize) -> Value {
    let rule =
        |rng: &mut Rng| json!({ "ruleId": "r", "priority": rng.i64(0..3), "clauses": clauses(rng, number) });
    let serving = if rng.bool() { some(rng, 3, rule) } else { Vec::new() };
    json!({
        "identifier": format!("g{number}"), "name": format!("g{number}"), "version": 1,
        "included": some(rng, 2, listed), "excluded": some(rng, 2, listed),
        "rules": some(rng, 2, |rng| clause(rng, number)), "servingRules": serving,
    })
}

fn serve(rng: &mut Rng) -> Value {
    let variation = |rng: &mut Rng| ["a", "b", "c"][rng.usize(..3)];
    let split = |rng: &mut Rng| {
        let by = ["identifier", "identifier", "email", "name", "age", "nothing"][rng.usize(..6)];
        let parts: Vec<Value> = (0..rng.usize(1..4))
            .map(|_| json!({ "variation": variation(rng), "weight": rng.u32(..60) }))
            .collect();
        json!({ "bucketBy": by, "variations": parts })
    };
    match rng.u8(..10) {
        0..6 => json!({ "variation": variation(rng) }),
        6..9 => json!({ "distribution": split(rng) }),
        _ => json!({ "variation": variation(rng), "distribution": split(rng) }),
    }
}

fn flag(rng: &mut Rng, number: usize) -> Value {
    let variation = |name: &str| json!({ "identifier": name, "value": format!("{name}-value") });
    let map = |rng: &mut Rng| {
        let groups: Vec<String> = (0..rng.usize(..3)).map(|_| format!("g{}", rng.usize(..13))).collect();
        let target = |rng: &mut Rng| {
            let identifier = format!("t{}", rng.usize(..40));
            json!({ "identifier": identifier, "name": identifier })
        };
        json!({ "variation": "c", "targets": some(rng, 2, target), "targetSegments": groups })
    };
    let rule = |rng: &mut Rng| json!({ "ruleId": "r", "priority": rng.i64(0..3), "clauses": clauses(rng, 13), "serve": serve(rng) });
    let before = |rng: &mut Rng| {
        // Rarely one that is not there.
        let other = if rng.u8(..8) == 0 { 9999 } else { rng.usize(..number.max(1)) };
        let wanted: Vec<&str> = ["a", "b", "c"].into_iter().filter(|_| rng.bool()).collect();
        json!({ "feature": format!("f{other}"), "variations": wanted })
    };
    let prerequisites = if number > 0 && rng.u8(..4) == 0 { some(rng, 2, before) } else { Vec::new() };
    json!({
        "feature": format!("f{number}"), "project": "p", "environment": "", "kind": "string",
        "state": if rng.u8(..8) == 0 { "off" } else { "on" }, "version": 1, "offVariation": "a",
        "variations": [variation("a"), variation("b"), variation("c")],
        "defaultServe": serve(rng), "rules": some(rng, 3, rule),
        "variationToTargetMap": some(rng, 2, map), "prerequisites": prerequisites,
    })
}

fn target(rng: &mut Rng, number: usize) -> Value {
    let mut attributes = Map::new();
    // Half of them have texts only.
    let is_plain = number.is_multiple_of(2);
    for name in ["email", "plan", "age", "score", "beta", "meta"] {
        let value = match (name, is_plain) {
            (_, true) => json!(word(rng)),
            ("age", _) => json!(rng.i64(0..40)),
            ("score", _) => json!(f64::from(rng.u8(..20)) / 2.0 + 0.25),
            ("beta", _) => json!(rng.bool()),
            ("meta", _) if rng.bool() => json!({ "k": word(rng) }),
            ("meta", _) => json!([word(rng)]),
            _ => json!(word(rng)),
        };
        if rng.u8(..5) > 0 {
            attributes.insert(name.to_owned(), value);
        }
    }
    json!({ "identifier": format!("t{number}"), "name": word(rng), "attributes": attributes })
}
