//! Pure. Everything that the service has, and how it is changed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::proxykey::ProxyKey;
use crate::{
    environment::{self, History},
    secret::KeyHash,
    shape::{self, FeatureConfig, Segment},
};

/// Where an environment stands, and what people call it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) org: String,
    pub(super) project: String,
    pub(super) identifier: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) production: bool,
}

/// An environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Environment {
    #[serde(flatten)]
    pub(super) place: Place,
    /// Hashes of its SDK keys.
    pub(super) keys: BTreeSet<String>,
    pub(super) flags: BTreeMap<String, FeatureConfig>,
    pub(super) groups: BTreeMap<String, Segment>,
}

/// Everything.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Book {
    /// The last version that was given; each change gets a greater one, so that what comes back is newer than it was.
    pub(super) version: u64,
    pub(super) environments: BTreeMap<String, Environment>,
    pub(super) proxy_keys: BTreeMap<String, ProxyKey>,
    /// Hashes of keys that were deleted: whoever was away then is told when it asks.
    pub(super) deleted_keys: BTreeSet<String>,
}

/// What becomes of a value of a proxy key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing<'a> {
    /// It opens the environments of this key.
    Good(&'a ProxyKey),
    /// Its key was deleted.
    Deleted,
    /// Nobody knows it, or it ran out.
    Unknown,
}

impl PartialEq for ProxyKey {
    fn eq(&self, other: &Self) -> bool {
        self.identifier == other.identifier && self.hash == other.hash
    }
}

impl Eq for ProxyKey {}

impl Book {
    /// What this value is good for now.
    pub(super) fn standing(&self, hash: &KeyHash, now_ms: u64) -> Standing<'_> {
        if let Some(key) = self.proxy_keys.values().find(|key| key.is_good(hash, now_ms)) {
            return Standing::Good(key);
        }
        if self.deleted_keys.contains(&hash.to_string()) { Standing::Deleted } else { Standing::Unknown }
    }

    /// The environments that this key opens.
    pub(super) fn opened_by<'a>(
        &'a self,
        key: &'a ProxyKey,
    ) -> impl Iterator<Item = (&'a String, &'a Environment)> {
        self.environments.iter().filter(|(_, environment)| key.opens(&environment.place))
    }

    /// Puts a flag in with a version of its own. An environment that no relay would take stays as it was.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub(super) fn put_flag(&mut self, id: &str, mut flag: FeatureConfig) -> Result<u64, String> {
        let version = self.version + 1;
        let environment = self.environments.get_mut(id).ok_or("there is no such environment")?;
        flag.version = version;
        let mut next = environment.clone();
        next.flags.insert(flag.feature.clone(), flag);
        check(id, &next)?;
        *environment = next;
        self.version = version;
        Ok(version)
    }

    /// Puts a group in, as a flag.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub(super) fn put_group(&mut self, id: &str, mut group: Segment) -> Result<u64, String> {
        let version = self.version + 1;
        let environment = self.environments.get_mut(id).ok_or("there is no such environment")?;
        group.version = version;
        let mut next = environment.clone();
        next.groups.insert(group.identifier.clone(), group);
        check(id, &next)?;
        *environment = next;
        self.version = version;
        Ok(version)
    }

    /// Takes a flag out; whether it was there.
    pub(super) fn remove_flag(&mut self, id: &str, flag: &str) -> bool {
        let removed = self.environments.get_mut(id).and_then(|environment| environment.flags.remove(flag));
        self.version += u64::from(removed.is_some());
        removed.is_some()
    }

    /// Takes a group out; whether it was there.
    pub(super) fn remove_group(&mut self, id: &str, group: &str) -> bool {
        let removed = self.environments.get_mut(id).and_then(|environment| environment.groups.remove(group));
        self.version += u64::from(removed.is_some());
        removed.is_some()
    }
}

fn check(id: &str, told: &Environment) -> Result<(), String> {
    let told = shape::Environment {
        id: id.to_owned(),
        flags: told.flags.values().cloned().collect(),
        segments: told.groups.values().cloned().collect(),
        ..shape::Environment::default()
    };
    let built = environment::Environment::build(told, &History::default(), 1);
    let told = |problems: Vec<_>| {
        problems
            .iter()
            .map(|problem: &crate::ruleset::Problem| problem.to_string())
            .collect::<Vec<_>>()
            .join("; ")
    };
    built.map(drop).map_err(told)
}
