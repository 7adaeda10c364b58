//! Pure. What the service told of versions, so that what is older than something heard before is not taken for new.
//!
//! Events may come twice or late, and a list may come from a part of the service that has not heard yet. What runs
//! backwards is believed only when it stays so: whoever restores a service from a copy has older versions for good.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::events::Change;
use crate::{
    environment::Event,
    shape::{Environment, FeatureConfig, Segment},
};

/// How long a list must stay older than what was heard until it is believed.
pub(super) const BELIEVED: Duration = Duration::from_secs(10);

/// A list of the service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum List {
    /// The flags of this environment.
    Flags(String),
    /// The groups of this environment.
    Groups(String),
}

/// What to do about an event.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing: it is known.
    Known,
    /// It is gone.
    Gone,
    /// Its list must be read.
    Read,
}

#[derive(Debug, Default)]
struct Versions {
    /// The least version that each may have in a list that is new, of what is gone as well.
    floor: BTreeMap<String, u64>,
    /// What was told of and must be in a list that is new.
    due: BTreeSet<String>,
    /// What the last list had.
    taken: BTreeMap<String, u64>,
    /// Since when lists are older than what was heard.
    behind: Option<Instant>,
}

impl Versions {
    /// Whether a list with these is older than what was heard, and not believed yet.
    fn is_behind(&mut self, told: &BTreeMap<String, u64>, now: Instant) -> bool {
        let is_older = self.floor.iter().any(|(name, least)| told.get(name).is_some_and(|told| told < least));
        if !is_older && self.due.iter().all(|name| told.contains_key(name)) {
            return false;
        }
        let since = *self.behind.get_or_insert(now);
        if now.saturating_duration_since(since) < BELIEVED {
            return true;
        }
        self.floor.clear();
        false
    }

    fn take(&mut self, told: BTreeMap<String, u64>) {
        self.behind = None;
        self.due.clear();
        let before = std::mem::replace(&mut self.taken, told);
        for (name, version) in before.into_iter().filter(|(name, _)| !self.taken.contains_key(name)) {
            let least = self.floor.entry(name).or_default();
            *least = (*least).max(version.saturating_add(1));
        }
        self.floor.extend(self.taken.iter().map(|(name, version)| (name.clone(), *version)));
    }
}

/// All environments.
#[derive(Debug, Default)]
pub(super) struct Memory {
    lists: BTreeMap<List, Versions>,
}

impl Memory {
    /// What to do about this event.
    pub(super) fn hear(&mut self, change: &Change) -> Verdict {
        let Change { identifier, version, .. } = change;
        let versions = self.lists.entry(change.list()).or_default();
        let least = versions.floor.get(identifier).copied().unwrap_or_default();
        if change.event == Event::Delete {
            if *version <= least {
                return Verdict::Read;
            }
            versions.floor.insert(identifier.clone(), *version);
            versions.due.remove(identifier);
            versions.taken.remove(identifier);
            return Verdict::Gone;
        }
        if *version > 0 && versions.taken.get(identifier).is_some_and(|taken| taken >= version) {
            return Verdict::Known;
        }
        if *version > least {
            versions.floor.insert(identifier.clone(), *version);
            versions.due.insert(identifier.clone());
        }
        Verdict::Read
    }

    /// Whether this environment is as new as what was heard of it.
    pub(super) fn take(&mut self, told: &Environment, now: Instant) -> bool {
        let (of_flags, of_groups) = (flags(&told.flags), groups(&told.segments));
        let list = |name: fn(String) -> List| name(told.id.clone());
        let is_behind = self.of(list(List::Flags)).is_behind(&of_flags, now);
        if is_behind | self.of(list(List::Groups)).is_behind(&of_groups, now) {
            return false;
        }
        self.of(list(List::Flags)).take(of_flags);
        self.of(list(List::Groups)).take(of_groups);
        true
    }

    /// Whether these flags are as new as what was heard of them.
    pub(super) fn take_flags(&mut self, id: &str, told: &[FeatureConfig], now: Instant) -> bool {
        self.take_list(List::Flags(id.to_owned()), flags(told), now)
    }

    /// Whether these groups are as new as what was heard of them.
    pub(super) fn take_groups(&mut self, id: &str, told: &[Segment], now: Instant) -> bool {
        self.take_list(List::Groups(id.to_owned()), groups(told), now)
    }

    fn take_list(&mut self, list: List, told: BTreeMap<String, u64>, now: Instant) -> bool {
        let versions = self.of(list);
        let is_new = !versions.is_behind(&told, now);
        if is_new {
            versions.take(told);
        }
        is_new
    }

    fn of(&mut self, list: List) -> &mut Versions {
        self.lists.entry(list).or_default()
    }

    /// Whether something must be read again.
    pub(super) fn is_behind(&self) -> bool {
        self.lists.values().any(|versions| versions.behind.is_some())
    }

    /// The environments that must be read again.
    pub(super) fn behind(&self) -> BTreeSet<String> {
        let behind = self.lists.iter().filter(|(_, versions)| versions.behind.is_some());
        behind.map(|(List::Flags(id) | List::Groups(id), _)| id.clone()).collect()
    }

    /// This environment is gone.
    pub(super) fn forget(&mut self, id: &str) {
        self.lists.remove(&List::Flags(id.to_owned()));
        self.lists.remove(&List::Groups(id.to_owned()));
    }

    /// All environments but these are gone.
    pub(super) fn keep_only(&mut self, ids: &BTreeSet<String>) {
        self.lists.retain(|(List::Flags(id) | List::Groups(id)), _| ids.contains(id));
    }
}

fn flags(told: &[FeatureConfig]) -> BTreeMap<String, u64> {
    told.iter().map(|flag| (flag.feature.clone(), flag.version)).collect()
}

fn groups(told: &[Segment]) -> BTreeMap<String, u64> {
    told.iter().map(|group| (group.identifier.clone(), group.version)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{environment::Domain, example::flag};

    fn list(told: &[(&str, u64)]) -> Vec<FeatureConfig> {
        told.iter().map(|(name, version)| flag(name, json!({ "version": version }))).collect()
    }

    fn change(event: Event, version: u64) -> Change {
        let (environment, identifier) = ("e".to_owned(), "f".to_owned());
        Change { domain: Domain::Flag, event, environment, identifier, version }
    }

    #[test]
    fn what_comes_twice_or_late_is_known() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        assert!(memory.take_flags("e", &list(&[("f", 5)]), now));
        assert_eq!(memory.hear(&change(Event::Patch, 5)), Verdict::Known);
        assert_eq!(memory.hear(&change(Event::Patch, 4)), Verdict::Known);
        assert_eq!(
            memory.hear(&change(Event::Delete, 4)),
            Verdict::Read,
            "a late delete deletes nothing by itself"
        );
        assert_eq!(memory.hear(&change(Event::Patch, 6)), Verdict::Read);
        assert_eq!(memory.hear(&change(Event::Patch, 0)), Verdict::Read);
        assert!(memory.take_flags("e", &list(&[("f", 6)]), now));
        assert_eq!(memory.hear(&change(Event::Delete, 7)), Verdict::Gone);
        assert_eq!(memory.hear(&change(Event::Patch, 6)), Verdict::Read, "whether it is back is read");
        assert!(memory.take_flags("e", &list(&[]), now), "and it is not");
    }

    #[test]
    fn an_older_list_is_believed_only_when_it_stays_so() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        assert!(memory.take_flags("e", &list(&[("f", 5)]), now));
        memory.hear(&change(Event::Patch, 6));
        assert!(!memory.take_flags("e", &list(&[("f", 5)]), now));
        assert!(!memory.take_flags("e", &list(&[]), now), "what was told of is there");
        assert_eq!(memory.behind(), BTreeSet::from(["e".to_owned()]));
        let later = now + BELIEVED;
        assert!(memory.take_flags("e", &list(&[("f", 5)]), later));
        assert!(!memory.is_behind());
        memory.hear(&change(Event::Delete, 7));
        assert!(!memory.take_flags("e", &list(&[("f", 5)]), later), "it is gone");
        assert!(memory.take_flags("e", &list(&[("g", 1)]), later));
        assert!(memory.take_flags("e", &list(&[]), later));
        assert!(!memory.take_flags("e", &list(&[("g", 1)]), later), "a list that had it before is older");
    }

    #[test]
    fn an_environment_is_taken_whole() {
        let (mut memory, now) = (Memory::default(), Instant::now());
        let told = |version| Environment {
            id: "e".to_owned(),
            flags: list(&[("f", version)]),
            ..Environment::default()
        };
        assert!(memory.take(&told(5), now));
        assert!(!memory.take(&told(4), now));
        assert!(memory.take(&told(6), now) && !memory.is_behind());
    }
}
