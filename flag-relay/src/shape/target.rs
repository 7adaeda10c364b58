//! Pure. A target: whoever or whatever gets a variation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::or_default;

/// A target as an SDK tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// Its identifier.
    #[serde(default, deserialize_with = "or_default")]
    pub identifier: String,
    /// What people call it.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Whether it is somebody whom nobody knows.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "std::ops::Not::not")]
    pub anonymous: bool,
    /// Everything else about it.
    #[serde(default, deserialize_with = "or_default")]
    pub attributes: Map<String, Value>,
}

impl Target {
    /// A target of whom only this is known.
    pub fn named(identifier: &str) -> Self {
        Self { identifier: identifier.to_owned(), name: identifier.to_owned(), ..Self::default() }
    }
}

/// A target in a list of a group; the Python SDK wants all of these.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SegmentTarget {
    /// Its identifier.
    pub identifier: String,
    /// What people call it.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// The account that it belongs to.
    #[serde(default, deserialize_with = "or_default")]
    pub account: String,
    /// The organization that it belongs to.
    #[serde(default, deserialize_with = "or_default")]
    pub org: String,
    /// The environment that it belongs to.
    #[serde(default, deserialize_with = "or_default")]
    pub environment: String,
    /// The project that it belongs to.
    #[serde(default, deserialize_with = "or_default")]
    pub project: String,
}
