//! Flags, groups and targets for the tests, as short as can be.

use serde_json::{Value, json};

use crate::shape::{Environment, FeatureConfig, Segment, Target};

/// A boolean flag that is on, false by default, with these members changed.
pub(crate) fn flag(identifier: &str, change: Value) -> FeatureConfig {
    let mut told = json!({
        "feature": identifier, "kind": "boolean", "state": "on", "offVariation": "false",
        "variations": [{"identifier": "true", "value": "true"}, {"identifier": "false", "value": "false"}],
        "defaultServe": {"variation": "false"},
    });
    merge(&mut told, change);
    serde_json::from_value(told).unwrap()
}

/// A flag that serves this by default.
pub(crate) fn serving(identifier: &str, variation: &str) -> FeatureConfig {
    flag(identifier, json!({ "defaultServe": { "variation": variation } }))
}

/// A group with these members.
pub(crate) fn group(identifier: &str, change: Value) -> Segment {
    let mut told = json!({ "identifier": identifier });
    merge(&mut told, change);
    serde_json::from_value(told).unwrap()
}

/// A target with these attributes.
pub(crate) fn target(identifier: &str, attributes: Value) -> Target {
    Target { attributes: serde_json::from_value(attributes).unwrap(), ..Target::named(identifier) }
}

/// A condition.
pub(crate) fn clause(attribute: &str, op: &str, values: &[&str]) -> Value {
    json!({ "attribute": attribute, "op": op, "values": values, "negate": false })
}

/// An environment with these flags, opened by the key of its id with `-key` behind.
pub(crate) fn environment(id: &str, flags: Vec<FeatureConfig>) -> Environment {
    let keys = vec![crate::secret::KeyHash::of(&format!("{id}-key"))];
    Environment { id: id.to_owned(), keys, flags, ..Environment::default() }
}

fn merge(told: &mut Value, change: Value) {
    if let (Value::Object(told), Value::Object(change)) = (told, change) {
        told.extend(change);
    }
}
