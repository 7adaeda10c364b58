//! Pure. What the control plane keeps of its past: records for the journal, and what they add up to.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    machine::{Change, State},
    ports::Ports,
    rule::RuleId,
};

/// Something that has to be durable before anybody acts on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// A target is in another state, or will be.
    Change {
        /// Whose.
        rule: RuleId,
        /// Which.
        change: Change,
    },
    /// A target is somewhere else.
    Addresses {
        /// Which target.
        rule: RuleId,
        /// Where it is.
        addresses: Vec<String>,
    },
    /// Ports were allotted.
    Ports(Ports),
    /// A plane attached for the first time.
    Plane(String),
    /// A plane is gone for good.
    Forgotten(String),
}

/// The past of one rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Every change of its state, oldest first.
    pub changes: Vec<Change>,
    /// Where its target was last.
    pub addresses: Vec<String>,
}

impl Past {
    /// The state that was kept last.
    pub fn state(&self) -> Option<State> {
        self.changes.last().map(|change| change.to)
    }
}

/// What all records add up to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kept {
    /// By rule, those included that are gone.
    pub rules: BTreeMap<RuleId, Past>,
    /// Who has which port.
    pub ports: Ports,
    /// Every plane that ever attached and was not forgotten.
    pub planes: BTreeSet<Arc<str>>,
}

impl Kept {
    /// Adds a record to what came before it.
    pub fn add(&mut self, record: Record) {
        match record {
            Record::Change { rule, change } => self.rules.entry(rule).or_default().changes.push(change),
            Record::Addresses { rule, addresses } => {
                self.rules.entry(rule).or_default().addresses = addresses;
            }
            Record::Ports(ports) => self.ports = ports,
            Record::Plane(plane) => drop(self.planes.insert(plane.into())),
            Record::Forgotten(plane) => drop(self.planes.remove(plane.as_str())),
        }
    }

    /// What of these changes is later than all that is known of its rule. Who repeats itself adds nothing.
    pub fn news(&self, changes: Vec<(RuleId, Change)>) -> Vec<Record> {
        let mut last: BTreeMap<RuleId, Timestamp> = BTreeMap::new();
        let mut news = Vec::new();
        for (rule, change) in changes {
            let known = self.rules.get(&rule).and_then(|past| past.changes.last()).map(|change| change.at);
            if last.get(&rule).copied().or(known).is_none_or(|last| last < change.at) {
                last.insert(rule.clone(), change.at);
                news.push(Record::Change { rule, change });
            }
        }
        news
    }

    /// The fewest records that add up to the same.
    pub fn records(&self) -> Vec<Record> {
        let changes = self.rules.iter().flat_map(|(rule, past)| {
            let change = |change: &Change| Record::Change { rule: rule.clone(), change: change.clone() };
            past.changes.iter().map(change)
        });
        let addresses =
            self.rules.iter().filter(|(_, past)| !past.addresses.is_empty()).map(|(rule, past)| {
                Record::Addresses { rule: rule.clone(), addresses: past.addresses.clone() }
            });
        let planes = self.planes.iter().map(|plane| Record::Plane(plane.to_string()));
        changes.chain(addresses).chain(planes).chain([Record::Ports(self.ports.clone())]).collect()
    }
}

impl FromIterator<Record> for Kept {
    fn from_iter<T: IntoIterator<Item = Record>>(records: T) -> Self {
        let mut kept = Self::default();
        records.into_iter().for_each(|record| kept.add(record));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Why;

    #[test]
    fn changes_that_are_told_again_add_nothing() {
        let change = |rule: &str, second| {
            let at = Timestamp::from_second(second).unwrap();
            let change = Change { at, from: State::Down, to: State::Active, why: Why::Hand, dry_run: false };
            (RuleId::of(rule), change)
        };
        let mut kept = Kept::default();
        let mut tell = |told: &[(&str, i64)], expected: usize| {
            let news = kept.news(told.iter().map(|(rule, second)| change(rule, *second)).collect());
            assert_eq!(news.len(), expected, "{told:?}");
            news.into_iter().for_each(|record| kept.add(record));
        };
        tell(&[("a", 1), ("a", 2), ("b", 1)], 3);
        tell(&[("a", 1), ("a", 2), ("b", 1)], 0);
        tell(&[("a", 2), ("a", 3), ("a", 3), ("a", 4), ("b", 0)], 2);
    }

    #[test]
    fn a_snapshot_adds_up_to_what_the_records_did() {
        let rule = RuleId::of("build-box");
        let change = |from, to| Record::Change {
            rule: rule.clone(),
            change: Change { at: Timestamp::UNIX_EPOCH, from, to, why: Why::Idle, dry_run: false },
        };
        let kept: Kept = [
            Record::Plane("a".to_owned()),
            change(State::Created, State::Active),
            Record::Addresses { rule: rule.clone(), addresses: vec!["10.0.0.1".to_owned()] },
            Record::Plane("b".to_owned()),
            Record::Forgotten("a".to_owned()),
            change(State::Active, State::CoolingDown),
            Record::Addresses { rule: rule.clone(), addresses: vec!["10.0.0.2".to_owned()] },
        ]
        .into_iter()
        .collect();
        assert_eq!(kept.rules[&rule].state(), Some(State::CoolingDown));
        assert_eq!(kept.records().into_iter().collect::<Kept>(), kept);
        assert_eq!(kept.records().len(), 5);
    }
}
