//! Pure. Flags, groups and targets as they stand on the wire and in the files of the offline layout.
//!
//! What is read may lack most things or have them as `null`; what is written never has a `null` and always has what
//! the strictest SDK asks for.

mod flag;
mod segment;
mod target;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::{
    flag::{
        Distribution, FeatureConfig, Kind, Prerequisite, Serve, ServingRule, State, TargetMap, Variation,
        VariationMap, WeightedVariation,
    },
    segment::{GroupServingRule, Segment},
    target::{SegmentTarget, Target},
};
use crate::secret::KeyHash;

/// Everything that one environment has, as a source knows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Environment {
    /// What stands in the paths and tokens of its SDKs, often a UUID.
    pub id: String,
    /// What people call it; told in the token. The id where nobody said.
    pub name: String,
    /// Hashes of the SDK keys that open it.
    pub keys: Vec<KeyHash>,
    /// Its flags.
    pub flags: Vec<FeatureConfig>,
    /// Its target groups.
    pub segments: Vec<Segment>,
    /// Targets that are known without having asked.
    pub targets: Vec<Target>,
}

/// A condition on one attribute of a target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Clause {
    /// Its id, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The attribute that it looks at; empty for `segmentMatch`.
    #[serde(default, deserialize_with = "or_default")]
    pub attribute: String,
    /// The operator.
    #[serde(default, deserialize_with = "or_default")]
    pub op: String,
    /// What the attribute is compared with: the first of these, all of them for `in` and `segmentMatch`.
    #[serde(default, deserialize_with = "or_default")]
    pub values: Vec<String>,
    /// Parsed by every SDK and obeyed by none.
    #[serde(default, deserialize_with = "or_default")]
    pub negate: bool,
}

/// `null` is as good as nothing.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
