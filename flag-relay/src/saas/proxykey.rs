//! Pure. Proxy keys: which environments one opens, and which of its values are good at a moment.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::book::Place;
use crate::secret::KeyHash;

/// A proxy key; of its values only the hashes are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProxyKey {
    pub(super) identifier: String,
    pub(super) name: String,
    pub(super) description: String,
    pub(super) created_at: u64,
    pub(super) updated_at: u64,
    pub(super) version: u64,
    pub(super) organizations: BTreeMap<String, Organization>,
    /// The hash of the value.
    pub(super) hash: String,
    /// Older values, by hash, with the time in milliseconds since 1970 until which each is good.
    pub(super) older: BTreeMap<String, u64>,
}

/// Projects of an organization.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Organization {
    pub(super) projects: BTreeMap<String, Project>,
}

/// Which environments of a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Project {
    scope: Scope,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    environments: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Scope {
    All,
    Selected,
    Prod,
    NonProd,
}

impl ProxyKey {
    /// Whether it opens an environment that stands there.
    pub(super) fn opens(&self, place: &Place) -> bool {
        let project = self.organizations.get(&place.org).and_then(|org| org.projects.get(&place.project));
        project.is_some_and(|project| match project.scope {
            Scope::All => true,
            Scope::Selected => project.environments.contains(&place.identifier),
            Scope::Prod => place.production,
            Scope::NonProd => !place.production,
        })
    }

    /// Whether the value of this hash is good now.
    pub(super) fn is_good(&self, hash: &KeyHash, now_ms: u64) -> bool {
        let hash = hash.to_string();
        self.hash == hash || self.older.get(&hash).is_some_and(|until| now_ms < *until)
    }

    /// Gives it a new value; the old one stays good for so many hours. With none, all older values end as well.
    pub(super) fn rotate(&mut self, value: &str, hours: u64, now_ms: u64) {
        let old = std::mem::replace(&mut self.hash, KeyHash::of(value).to_string());
        self.older.retain(|_, until| now_ms < *until && hours > 0);
        if hours > 0 {
            self.older.insert(old, now_ms.saturating_add(hours.saturating_mul(3_600_000)));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> ProxyKey {
        serde_json::from_value(json!({
            "identifier": "k", "name": "k", "description": "", "createdAt": 1, "updatedAt": 1, "version": 1,
            "organizations": { "o": { "projects": {
                "all": { "scope": "all" }, "some": { "scope": "selected", "environments": ["x"] },
                "prod": { "scope": "prod" }, "other": { "scope": "non-prod" },
            } } },
            "hash": KeyHash::of("one").to_string(), "older": {},
        }))
        .unwrap()
    }

    #[test]
    fn a_scope_says_which_environments() {
        let check = |project: &str, identifier: &str, production: bool, expected: bool| {
            let place = Place {
                org: "o".to_owned(),
                project: project.to_owned(),
                identifier: identifier.to_owned(),
                name: String::new(),
                production,
            };
            assert_eq!(key().opens(&place), expected, "{project} {identifier} {production}");
        };
        check("all", "y", false, true);
        check("some", "x", false, true);
        check("some", "y", true, false);
        check("prod", "y", true, true);
        check("prod", "y", false, false);
        check("other", "y", false, true);
        check("other", "y", true, false);
        check("none", "y", true, false);
    }

    #[test]
    fn a_buffer_keeps_the_old_value_good_and_no_longer() {
        let (one, two, three) = (KeyHash::of("one"), KeyHash::of("two"), KeyHash::of("three"));
        let mut key = key();
        key.rotate("two", 2, 1_000);
        assert!(key.is_good(&one, 7_200_999) && !key.is_good(&one, 7_201_000) && key.is_good(&two, u64::MAX));
        key.rotate("three", 0, 2_000);
        assert!(!key.is_good(&one, 2_000) && !key.is_good(&two, 2_000) && key.is_good(&three, 2_000));
    }
}
