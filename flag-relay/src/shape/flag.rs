//! Pure. A flag as SDKs receive it.

use serde::{Deserialize, Serialize};

use super::{Clause, or_default};

/// A flag with all its rules.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeatureConfig {
    /// Its identifier.
    pub feature: String,
    /// The project that it belongs to.
    #[serde(default, deserialize_with = "or_default")]
    pub project: String,
    /// The environment that it belongs to.
    #[serde(default, deserialize_with = "or_default")]
    pub environment: String,
    /// What its values are.
    pub kind: Kind,
    /// Whether it is on.
    pub state: State,
    /// The variation that is served while it is off.
    pub off_variation: String,
    /// What it can be.
    pub variations: Vec<Variation>,
    /// What is served when nothing else matches.
    pub default_serve: Serve,
    /// Rules on attributes.
    #[serde(default, deserialize_with = "or_default")]
    pub rules: Vec<ServingRule>,
    /// Targets and groups that get one variation.
    #[serde(default, deserialize_with = "or_default")]
    pub variation_to_target_map: Vec<VariationMap>,
    /// Other flags that must have certain variations.
    #[serde(default, deserialize_with = "or_default")]
    pub prerequisites: Vec<Prerequisite>,
    /// Grows with every change: SDKs ignore a flag whose version is not greater than what they have.
    #[serde(default, deserialize_with = "or_default")]
    pub version: u64,
}

/// What the values of a flag are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `true` or `false`.
    Boolean,
    /// Text.
    String,
    /// A number, whole or not.
    Int,
    /// An object.
    Json,
}

impl Kind {
    /// As it stands on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Int => "int",
            Self::Json => "json",
        }
    }
}

/// Whether a flag is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Its rules count.
    On,
    /// It serves its off variation.
    Off,
}

/// One thing that a flag can be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// Its identifier within the flag.
    pub identifier: String,
    /// Its value as text, whatever the kind.
    #[serde(default, deserialize_with = "or_default")]
    pub value: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What people say of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// What is served: a variation, or a distribution over several.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Serve {
    /// The variation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variation: Option<String>,
    /// The distribution; it goes before the variation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
}

/// Variations by percentage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    /// The attribute that decides.
    #[serde(default, deserialize_with = "or_default")]
    pub bucket_by: String,
    /// The variations, in the order in which their weights add up.
    #[serde(default, deserialize_with = "or_default")]
    pub variations: Vec<WeightedVariation>,
}

/// One part of a distribution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedVariation {
    /// The variation.
    pub variation: String,
    /// Its share in percent.
    pub weight: u32,
}

/// A rule on attributes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServingRule {
    /// Its id, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_id: Option<String>,
    /// Rules are tried from the smallest on.
    #[serde(default, deserialize_with = "or_default")]
    pub priority: i64,
    /// Its conditions.
    #[serde(default, deserialize_with = "or_default")]
    pub clauses: Vec<Clause>,
    /// What it serves.
    pub serve: Serve,
}

/// Targets and groups that get one variation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VariationMap {
    /// The variation.
    pub variation: String,
    /// The targets, by identifier.
    #[serde(default, deserialize_with = "or_default")]
    pub targets: Vec<TargetMap>,
    /// The groups, by identifier.
    #[serde(default, deserialize_with = "or_default")]
    pub target_segments: Vec<String>,
}

/// A target that is named in a flag.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetMap {
    /// Its identifier.
    #[serde(default, deserialize_with = "or_default")]
    pub identifier: String,
    /// What people call it.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
}

/// Another flag that must have one of these variations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prerequisite {
    /// The other flag.
    pub feature: String,
    /// Its variations that will do, by identifier.
    #[serde(default, deserialize_with = "or_default")]
    pub variations: Vec<String>,
}
