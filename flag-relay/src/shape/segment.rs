//! Pure. A target group as SDKs receive it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Clause, SegmentTarget, or_default};

/// A group of targets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Segment {
    /// Its identifier.
    pub identifier: String,
    /// What people call it.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// The environment that it belongs to.
    #[serde(default, deserialize_with = "or_default")]
    pub environment: String,
    /// Grows with every change, as the version of a flag.
    #[serde(default, deserialize_with = "or_default")]
    pub version: u64,
    /// When it was made, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<i64>,
    /// When it was changed, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_at: Option<i64>,
    /// Tags, passed on as they are.
    #[serde(default, deserialize_with = "or_default")]
    pub tags: Vec<Value>,
    /// Targets that are in it whatever the rules say.
    #[serde(default, deserialize_with = "or_default")]
    pub included: Vec<SegmentTarget>,
    /// Targets that are not in it whatever else says so.
    #[serde(default, deserialize_with = "or_default")]
    pub excluded: Vec<SegmentTarget>,
    /// Conditions of which one must hold; they count only without `serving_rules`.
    #[serde(default, deserialize_with = "or_default")]
    pub rules: Vec<Clause>,
    /// Rules of which one must hold, with all its clauses.
    #[serde(default, deserialize_with = "or_default")]
    pub serving_rules: Vec<GroupServingRule>,
}

/// One rule of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupServingRule {
    /// Its id.
    #[serde(default, deserialize_with = "or_default")]
    pub rule_id: String,
    /// Rules are tried from the smallest on.
    #[serde(default, deserialize_with = "or_default")]
    pub priority: i64,
    /// Its conditions, all of which must hold.
    #[serde(default, deserialize_with = "or_default")]
    pub clauses: Vec<Clause>,
}
