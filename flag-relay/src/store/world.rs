//! Pure. All environments and the keys that open them, and how an update makes the next world of one.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use crate::{
    environment::{Change, Environment, History},
    ruleset::Problem,
    secret::KeyHash,
    shape,
};

/// What a source tells the store.
#[derive(Debug)]
pub enum Update {
    /// One environment, whole: it is new, or replaces the one of its id.
    Environment(shape::Environment),
    /// One environment that was kept on disk, with the versions that its SDKs were told.
    Kept(shape::Environment, History),
    /// The versions of an environment that was gone already when it was kept on disk.
    Past(String, History),
    /// All environments but these are gone.
    Only(BTreeSet<String>),
    /// This environment is gone.
    Remove(String),
    /// All flags of an environment.
    Flags(String, Vec<shape::FeatureConfig>),
    /// All groups of an environment.
    Groups(String, Vec<shape::Segment>),
    /// This flag of an environment is gone.
    RemoveFlag(String, String),
    /// This group of an environment is gone.
    RemoveGroup(String, String),
    /// This key opens an environment.
    AddKey(String, KeyHash),
    /// This key opens an environment no longer.
    RemoveKey(String, KeyHash),
}

/// An update that was not taken, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    /// The environment that stays as it was.
    pub environment: String,
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
}

/// What became of updates.
#[derive(Debug, Default)]
pub struct Applied {
    /// What is told to SDKs, by environment.
    pub changes: Vec<(Arc<str>, Vec<Change>)>,
    /// What was not taken.
    pub refused: Vec<Refused>,
    /// Environments of which a key is gone, and those that are gone themselves.
    pub keys_changed: BTreeSet<Arc<str>>,
    /// Environments that are not as they were.
    pub touched: BTreeSet<Arc<str>>,
    /// Those of which a key opens another environment so far.
    waiting: Vec<(shape::Environment, Option<History>)>,
}

/// Everything that is served at one moment.
#[derive(Clone, Debug, Default)]
pub struct World {
    /// By id.
    pub environments: HashMap<Arc<str>, Arc<Environment>>,
    keys: HashMap<KeyHash, Arc<str>>,
    /// The versions of environments that are gone: they may come back.
    past: BTreeMap<Arc<str>, History>,
}

impl World {
    /// The environment that this key opens.
    pub fn opened_by(&self, key: &KeyHash) -> Option<Arc<Environment>> {
        self.environments.get(self.keys.get(key)?).cloned()
    }

    /// The versions of an environment that is gone.
    pub fn past(&self, id: &str) -> Option<&History> {
        self.past.get(id)
    }

    /// The world after these updates, in their order, and what became of them. `now_s` are seconds since 1970.
    pub fn next(&self, updates: Vec<Update>, now_s: u64) -> (Self, Applied) {
        let mut next = self.clone();
        let mut applied = Applied::default();
        for update in updates {
            next.take(update, now_s, &mut applied);
        }
        // A key that moved may have come before it went.
        for (told, kept) in std::mem::take(&mut applied.waiting) {
            next.replace(told, kept, now_s, &mut applied);
        }
        for (told, _) in std::mem::take(&mut applied.waiting) {
            let place = format!("environment {}", told.id);
            let problem = Problem { place, text: "one of its SDK keys opens another environment".to_owned() };
            applied.refused.push(Refused { environment: told.id, problems: vec![problem] });
        }
        for id in &applied.touched {
            let nothing = History::default();
            let history = |world: &Self| match world.environments.get(id) {
                Some(environment) => environment.history.clone(),
                None => world.past.get(id).cloned().unwrap_or_default(),
            };
            let (old, new) = (history(self), history(&next));
            // Who gets a whole environment for the first time has no stream yet that could miss something.
            let is_there = next.environments.contains_key(id) && old != nothing;
            let changes = if is_there { new.changes_since(&old) } else { Vec::new() };
            if !changes.is_empty() {
                applied.changes.push((Arc::clone(id), changes));
            }
        }
        (next, applied)
    }

    fn take(&mut self, update: Update, now_s: u64, applied: &mut Applied) {
        match update {
            Update::Environment(told) => self.replace(told, None, now_s, applied),
            Update::Kept(told, history) => self.replace(told, Some(history), now_s, applied),
            Update::Past(id, history) => drop(self.past.insert(id.into(), history)),
            Update::Only(ids) => {
                let gone: Vec<_> =
                    self.environments.keys().filter(|id| !ids.contains(id.as_ref())).cloned().collect();
                for id in gone {
                    self.remove(&id, applied);
                }
            }
            Update::Remove(id) => self.remove(&id, applied),
            Update::Flags(id, flags) => self.edit(&id, now_s, applied, |told| told.flags = flags),
            Update::Groups(id, groups) => self.edit(&id, now_s, applied, |told| told.segments = groups),
            Update::RemoveFlag(id, flag) => {
                self.edit(&id, now_s, applied, |told| told.flags.retain(|told| told.feature != flag));
            }
            Update::RemoveGroup(id, group) => {
                self.edit(&id, now_s, applied, |told| told.segments.retain(|told| told.identifier != group));
            }
            Update::AddKey(id, key) => self.edit(&id, now_s, applied, |told| told.keys.push(key)),
            Update::RemoveKey(id, key) => {
                self.edit(&id, now_s, applied, |told| told.keys.retain(|told| *told != key));
            }
        }
    }

    /// What is told of an environment that nobody knows is let go: its source tells it whole when it comes.
    fn edit(
        &mut self,
        id: &str,
        now_s: u64,
        applied: &mut Applied,
        change: impl FnOnce(&mut shape::Environment),
    ) {
        if let Some(environment) = self.environments.get(id) {
            let mut told = environment.as_told();
            change(&mut told);
            self.replace(told, None, now_s, applied);
        }
    }

    fn replace(
        &mut self,
        told: shape::Environment,
        kept: Option<History>,
        now_s: u64,
        applied: &mut Applied,
    ) {
        let id = told.id.clone();
        let taken = |key: &&KeyHash| self.keys.get(*key).is_some_and(|other| **other != *id);
        if told.keys.iter().any(|key| taken(&key)) {
            applied.waiting.push((told, kept));
            return;
        }
        let old = self.environments.get(id.as_str());
        let before = match (old, kept) {
            (Some(old), _) => old.history.clone(),
            (None, Some(kept)) => kept,
            (None, None) => self.past.get(id.as_str()).cloned().unwrap_or_default(),
        };
        let built = match Environment::build(told, &before, now_s) {
            Ok(built) => built,
            Err(problems) => return applied.refused.push(Refused { environment: id, problems }),
        };
        if old.is_some_and(|old| is_same(old, &built)) {
            return;
        }
        let name = Arc::clone(&built.id);
        if old.is_some_and(|old| !old.keys.is_subset(&built.keys)) {
            applied.keys_changed.insert(Arc::clone(&name));
        }
        self.keys.retain(|_, environment| *environment != name);
        self.keys.extend(built.keys.iter().map(|key| (*key, Arc::clone(&name))));
        self.past.remove(&name);
        applied.touched.insert(Arc::clone(&name));
        self.environments.insert(name, Arc::new(built));
    }

    fn remove(&mut self, id: &str, applied: &mut Applied) {
        let Some((id, environment)) = self.environments.remove_entry(id) else { return };
        self.keys.retain(|_, environment| *environment != id);
        self.past.insert(Arc::clone(&id), environment.history.clone());
        applied.keys_changed.insert(Arc::clone(&id));
        applied.touched.insert(id);
    }
}

fn is_same(old: &Environment, new: &Environment) -> bool {
    old.history == new.history && old.keys == new.keys && old.name == new.name && old.targets == new.targets
}

#[cfg(test)]
mod tests;
