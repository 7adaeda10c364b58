//! Pure. An environment as people write it: one file of YAML or JSON.

mod scalar;

use serde::Deserialize;

use self::scalar::{OneOrMany, Pairs, Scalar};
use crate::{
    secret::KeyHash,
    shape::{
        Clause, Distribution, Environment, FeatureConfig, GroupServingRule, Kind, Prerequisite, Segment,
        SegmentTarget, Serve, ServingRule, State, Target, TargetMap, Variation, VariationMap,
        WeightedVariation,
    },
};

/// What stands before a key that is hashed already.
const HASHED: &str = "sha256:";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    environment: Option<String>,
    name: Option<String>,
    /// Whatever they are: what is wrong with them must not be told with them.
    #[serde(default)]
    keys: serde_json::Value,
    #[serde(default)]
    flags: Pairs<Flag>,
    #[serde(default)]
    groups: Pairs<Group>,
    #[serde(default)]
    targets: Pairs<Pairs<serde_json::Value>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Flag {
    #[serde(default = "yes")]
    on: bool,
    kind: Option<Kind>,
    #[serde(default)]
    variations: Pairs<serde_json::Value>,
    off: Option<Scalar>,
    default: Option<Scalar>,
    split: Option<Split>,
    #[serde(default)]
    targets: Pairs<Vec<Scalar>>,
    #[serde(default)]
    groups: Pairs<Vec<Scalar>>,
    #[serde(default)]
    rules: Vec<Rule>,
    #[serde(default)]
    requires: Pairs<OneOrMany>,
    #[serde(default)]
    version: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    when: Conditions,
    group: Option<OneOrMany>,
    serve: Option<Scalar>,
    split: Option<Split>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    by: Option<String>,
    weights: Pairs<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: Option<String>,
    #[serde(default)]
    include: Vec<Scalar>,
    #[serde(default)]
    exclude: Vec<Scalar>,
    #[serde(default)]
    rules: Vec<Conditions>,
    #[serde(default)]
    version: u64,
}

/// `{ email: { ends_with: "@example.com" } }`: all must hold.
type Conditions = Pairs<Pairs<OneOrMany>>;

fn yes() -> bool {
    true
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

/// Reads an environment; `stem` is the name of its file without the ending, and its id where it has none.
///
/// # Errors
/// With everything that is wrong.
pub fn read(stem: &str, text: &str, format: Format) -> Result<Environment, Vec<String>> {
    let file: Result<File, String> = match format {
        Format::Yaml => serde_norway::from_str(text).map_err(|error| error.to_string()),
        Format::Json => serde_json::from_str(text).map_err(|error| error.to_string()),
    };
    let file = file.map_err(|error| vec![error])?;
    let mut writer = Writer { problems: Vec::new(), made: Vec::new() };
    let keys = writer.keys(&file.keys);
    let groups = file.groups.0.into_iter().map(|(name, told)| writer.group(&name, told));
    let mut segments: Vec<Segment> = groups.collect();
    let flags = file.flags.0.into_iter().map(|(name, told)| writer.flag(name, told)).collect();
    segments.append(&mut writer.made);
    let targets = file.targets.0.into_iter().map(|(identifier, attributes)| {
        let attributes = attributes.0.into_iter().collect();
        Target { attributes, ..Target::named(&identifier) }
    });
    if !writer.problems.is_empty() {
        return Err(writer.problems);
    }
    Ok(Environment {
        id: file.environment.unwrap_or_else(|| stem.to_owned()),
        name: file.name.unwrap_or_default(),
        keys,
        flags,
        segments,
        targets: targets.collect(),
    })
}

struct Writer {
    problems: Vec<String>,
    /// Groups that stand for several conditions of one rule.
    made: Vec<Segment>,
}

impl Writer {
    fn keys(&mut self, told: &serde_json::Value) -> Vec<KeyHash> {
        let told = match told {
            serde_json::Value::Null => return Vec::new(),
            serde_json::Value::Array(told) => told,
            _ => {
                self.problems.push("keys must be a list".to_owned());
                return Vec::new();
            }
        };
        let mut keys = Vec::new();
        for (key, number) in told.iter().zip(1..) {
            let hashed = key.as_str().map(|key| (key, key.strip_prefix(HASHED).map(KeyHash::parse)));
            match hashed {
                None | Some(("", _)) => self.problems.push(format!("key {number} is no text")),
                Some((key, None)) => keys.push(KeyHash::of(key)),
                Some((_, Some(Some(hash)))) => keys.push(hash),
                Some((_, Some(None))) => {
                    self.problems.push(format!("key {number} is no SHA-256 in hexadecimal"));
                }
            }
        }
        keys
    }

    fn flag(&mut self, feature: String, told: Flag) -> FeatureConfig {
        let mut refuse = |text: &str| self.problems.push(format!("flag {feature}: {text}"));
        let kind =
            told.kind.unwrap_or(if told.variations.0.is_empty() { Kind::Boolean } else { Kind::String });
        let mut variations: Vec<Variation> = told
            .variations
            .0
            .into_iter()
            .map(|(identifier, value)| Variation {
                identifier,
                value: value_text(&value),
                name: None,
                description: None,
            })
            .collect();
        if variations.is_empty() && kind == Kind::Boolean {
            variations = ["true", "false"].map(plain).into();
        } else if variations.is_empty() {
            refuse("it has no variations");
        }
        let default = told.default.map(|told| told.0);
        let is_boolean = kind == Kind::Boolean;
        if default.is_none() && told.split.is_none() && !is_boolean {
            refuse("say its default, or how it is split");
        }
        let off = told.off.map(|told| told.0);
        let off = off.or_else(|| is_boolean.then(|| "false".to_owned())).or_else(|| default.clone());
        if off.is_none() {
            refuse("say what it is while it is off");
        }
        let default = default.or_else(|| (is_boolean && told.split.is_none()).then(|| "false".to_owned()));
        let mut maps: Vec<VariationMap> = Vec::new();
        for (variation, targets) in told.targets.0 {
            let targets =
                targets.into_iter().map(|told| TargetMap { name: told.0.clone(), identifier: told.0 });
            maps.push(VariationMap { variation, targets: targets.collect(), target_segments: Vec::new() });
        }
        for (variation, groups) in told.groups.0 {
            let groups = groups.into_iter().map(|told| told.0).collect();
            match maps.iter_mut().find(|map| map.variation == variation) {
                Some(map) => map.target_segments = groups,
                None => maps.push(VariationMap { variation, targets: Vec::new(), target_segments: groups }),
            }
        }
        let rules = told.rules.into_iter().zip(1..).map(|(rule, number)| self.rule(&feature, number, rule));
        let rules = rules.collect();
        FeatureConfig {
            project: String::new(),
            environment: String::new(),
            kind,
            state: if told.on { State::On } else { State::Off },
            off_variation: off.unwrap_or_default(),
            variations,
            default_serve: Serve { variation: default, distribution: told.split.map(distribution) },
            rules,
            variation_to_target_map: maps,
            prerequisites: told
                .requires
                .0
                .into_iter()
                .map(|(feature, told)| Prerequisite { feature, variations: told.0 })
                .collect(),
            version: told.version,
            feature,
        }
    }

    /// SDKs disagree whether all conditions of a rule must hold, or one of them. On groups they agree: so several
    /// conditions become a group of their own.
    fn rule(&mut self, feature: &str, number: i64, told: Rule) -> ServingRule {
        let mut clauses = self.conditions(&format!("flag {feature}: rule {number}"), told.when);
        if let Some(groups) = told.group {
            clauses.push(clause("", "segmentMatch", groups.0));
        }
        if clauses.is_empty() {
            self.problems.push(format!("flag {feature}: rule {number} has no conditions"));
        }
        if told.serve.is_some() == told.split.is_some() {
            self.problems.push(format!("flag {feature}: rule {number} must have either serve or split"));
        }
        if clauses.len() > 1 {
            let identifier = format!("{feature}--rule-{number}");
            self.made.push(Segment {
                identifier: identifier.clone(),
                name: identifier.clone(),
                serving_rules: vec![GroupServingRule { rule_id: "rule-1".to_owned(), priority: 1, clauses }],
                ..Segment::default()
            });
            clauses = vec![clause("", "segmentMatch", vec![identifier])];
        }
        ServingRule {
            rule_id: Some(format!("rule-{number}")),
            priority: number,
            clauses,
            serve: Serve {
                variation: told.serve.map(|told| told.0),
                distribution: told.split.map(distribution),
            },
        }
    }

    fn group(&mut self, name: &str, told: Group) -> Segment {
        let mut rules = Vec::new();
        for (conditions, number) in told.rules.into_iter().zip(1..) {
            let clauses = self.conditions(&format!("group {name}: rule {number}"), conditions);
            if clauses.is_empty() {
                self.problems.push(format!("group {name}: rule {number} has no conditions"));
            }
            rules.push(GroupServingRule { rule_id: format!("rule-{number}"), priority: number, clauses });
        }
        Segment {
            identifier: name.to_owned(),
            name: told.name.unwrap_or_else(|| name.to_owned()),
            included: told.include.into_iter().map(listed).collect(),
            excluded: told.exclude.into_iter().map(listed).collect(),
            serving_rules: rules,
            version: told.version,
            ..Segment::default()
        }
    }

    fn conditions(&mut self, place: &str, told: Conditions) -> Vec<Clause> {
        let mut clauses = Vec::new();
        for (attribute, operators) in told.0 {
            for (op, values) in operators.0 {
                if !OPERATORS.contains(&op.as_str()) {
                    let near = common::config::nearest(&op, OPERATORS);
                    let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    self.problems.push(format!("{place}: {op} is no operator{near}"));
                }
                clauses.push(clause(&attribute, &op, values.0));
            }
        }
        clauses
    }
}

/// What conditions can say.
const OPERATORS: [&str; 8] =
    ["in", "equal", "equal_sensitive", "gt", "starts_with", "ends_with", "contains", "match"];

fn listed(told: Scalar) -> SegmentTarget {
    SegmentTarget { identifier: told.0.clone(), name: told.0, ..SegmentTarget::default() }
}

fn clause(attribute: &str, op: &str, values: Vec<String>) -> Clause {
    Clause { id: None, attribute: attribute.to_owned(), op: op.to_owned(), values, negate: false }
}

fn distribution(told: Split) -> Distribution {
    let weights = told.weights.0.into_iter();
    Distribution {
        bucket_by: told.by.unwrap_or_else(|| "identifier".to_owned()),
        variations: weights.map(|(variation, weight)| WeightedVariation { variation, weight }).collect(),
    }
}

fn plain(identifier: &str) -> Variation {
    Variation {
        identifier: identifier.to_owned(),
        value: identifier.to_owned(),
        name: None,
        description: None,
    }
}

fn value_text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
