//! Pure. One environment as it is served: its rules, and every answer that is the same for all SDKs.

mod change;
mod history;
mod listed;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use self::{
    change::{Change, Domain, Event},
    history::{History, Stamp},
    listed::Listed,
};
use crate::{
    ruleset::{Problem, Ruleset, compile},
    secret::KeyHash,
    shape::{self, ServingRule, Target},
};

/// One environment as it is served; it never changes, but is replaced.
#[derive(Debug)]
pub struct Environment {
    /// What stands in the paths and tokens of its SDKs.
    pub id: Arc<str>,
    /// What people call it.
    pub name: Box<str>,
    /// Hashes of the SDK keys that open it.
    pub keys: BTreeSet<KeyHash>,
    /// Its rules.
    pub rules: Ruleset,
    /// Its flags as server SDKs ask for them; in the order of the rules.
    pub flags: Listed,
    /// Its groups with `servingRules`, for SDKs that ask for `rules=v2`; in the order of the rules.
    pub groups: Listed,
    /// Its groups with `rules`, for older SDKs; in the order of the rules.
    pub older_groups: Listed,
    /// Targets that are known without having asked.
    pub targets: BTreeMap<Box<str>, Target>,
    /// What stands for the content of flags and groups, in an `ETag`.
    pub revision: u64,
    /// About how long the values of all flags are, as SDKs are told.
    pub told_bytes: usize,
    /// The versions that its SDKs were told, of what is gone as well.
    pub history: History,
}

impl Environment {
    /// Makes an environment of what a source told. `before` is what was told to SDKs until now: versions only grow,
    /// so that an SDK never takes something new for something old. `now_s` are seconds since 1970.
    ///
    /// # Errors
    /// With everything that is wrong with it; an environment is taken whole or not at all.
    pub fn build(mut told: shape::Environment, before: &History, now_s: u64) -> Result<Self, Vec<Problem>> {
        let rules = compile(&told.flags, &told.segments)?;
        if told.id.is_empty() {
            return Err(vec![Problem { place: "environment".to_owned(), text: "it has no id".to_owned() }]);
        }
        told.flags.sort_by(|one, other| one.feature.cmp(&other.feature));
        told.segments.sort_by(|one, other| one.identifier.cmp(&other.identifier));
        for flag in &mut told.flags {
            order(&mut flag.rules);
            fill_in(&mut flag.environment, &told.id);
            for target in flag.variation_to_target_map.iter_mut().flat_map(|map| &mut map.targets) {
                let identifier = target.identifier.clone();
                fill_in(&mut target.name, &identifier);
            }
        }
        for segment in &mut told.segments {
            listed::use_serving_rules(segment);
            fill_in(&mut segment.environment, &told.id);
            let identifier = segment.identifier.clone();
            fill_in(&mut segment.name, &identifier);
            for target in segment.included.iter_mut().chain(&mut segment.excluded) {
                let identifier = target.identifier.clone();
                fill_in(&mut target.name, &identifier);
                fill_in(&mut target.environment, &told.id);
            }
        }
        let history = before.advance(&mut told.flags, &mut told.segments, now_s);
        let flags = Listed::new(&told.flags);
        let groups = Listed::new(&told.segments);
        let older = told.segments.iter().map(listed::with_rules_only).collect::<Vec<_>>();
        let older_groups = Listed::new(&older);
        let name = if told.name.is_empty() { told.id.as_str() } else { told.name.as_str() };
        Ok(Self {
            name: name.into(),
            keys: told.keys.into_iter().collect(),
            targets: told.targets.into_iter().map(|told| (told.identifier.as_str().into(), told)).collect(),
            revision: history.revision(),
            told_bytes: rules.told_bytes(),
            rules,
            flags,
            groups,
            older_groups,
            history,
            id: told.id.into(),
        })
    }

    /// What a source would tell to get this environment again.
    pub fn as_told(&self) -> shape::Environment {
        shape::Environment {
            id: self.id.to_string(),
            name: self.name.to_string(),
            keys: self.keys.iter().copied().collect(),
            flags: self.flags.parse(),
            segments: self.groups.parse(),
            targets: self.targets.values().cloned().collect(),
        }
    }

    /// The groups with both `servingRules` and `rules`, as they stand in Redis; in the order of the rules.
    pub fn both_groups(&self) -> Listed {
        let groups: Vec<shape::Segment> = self.groups.parse();
        Listed::new(&groups.iter().map(listed::with_both).collect::<Vec<_>>())
    }

    /// The flag of this identifier, as server SDKs are told.
    pub fn told_flag(&self, identifier: &str) -> Option<bytes::Bytes> {
        self.flags.item(self.rules.flag_at(identifier)?)
    }

    /// The group of this identifier.
    pub fn told_group(&self, identifier: &str, has_serving_rules: bool) -> Option<bytes::Bytes> {
        let listed = if has_serving_rules { &self.groups } else { &self.older_groups };
        listed.item(self.rules.group_at(identifier)?)
    }
}

/// Of rules with the same priority, the Node SDK tries another one first each time; so none is told to have one.
fn order(rules: &mut [ServingRule]) {
    rules.sort_by_key(|rule| rule.priority);
    if rules.array_windows().any(|[one, next]| one.priority == next.priority) {
        for (rule, priority) in rules.iter_mut().zip(1..) {
            rule.priority = priority;
        }
    }
}

fn fill_in(text: &mut String, otherwise: &str) {
    if text.is_empty() {
        otherwise.clone_into(text);
    }
}

#[cfg(test)]
mod tests;
