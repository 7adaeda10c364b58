//! Pure. Which flags may be told another way when a flag or a group changes.

use std::collections::BTreeSet;

use super::{Clause, Flag, Ruleset, check::within};

impl Ruleset {
    /// Places of the flags whose variation may depend on this flag, itself among them if it is there.
    pub fn told_by_flag(&self, identifier: &str) -> Vec<usize> {
        let mut found: BTreeSet<usize> = self.flag_at(identifier).into_iter().collect();
        let asks = |flag: &Flag| flag.prerequisites.iter().any(|told| *told.flag.identifier == *identifier);
        found.extend(self.places(asks));
        self.and_those_behind(found)
    }

    /// Places of the flags whose variation may depend on this group.
    pub fn told_by_group(&self, identifier: &str) -> Vec<usize> {
        let mut groups: BTreeSet<usize> = self.group_at(identifier).into_iter().collect();
        loop {
            let asks = |clause: &Clause| within(clause).iter().any(|at| groups.contains(at));
            let more: Vec<usize> = (0..self.groups.len())
                .filter(|at| !groups.contains(at))
                .filter(|at| self.groups.get(*at).is_some_and(|group| group.rules.iter().flatten().any(asks)))
                .collect();
            if more.is_empty() {
                break;
            }
            groups.extend(more);
        }
        let names: BTreeSet<&str> = groups
            .iter()
            .filter_map(|at| self.groups.get(*at))
            .map(|group| group.identifier.as_ref())
            .chain([identifier])
            .collect();
        let asks = |flag: &Flag| {
            let pinned = flag.pinned.iter().flat_map(|pinned| &pinned.groups);
            let clauses =
                flag.rules.iter().flat_map(|rule| &rule.clauses).flat_map(|clause| match &clause.op {
                    super::Op::SegmentMatch(groups) => groups.as_slice(),
                    _ => &[],
                });
            pinned.chain(clauses).any(|group| names.contains(group.identifier.as_ref()))
        };
        let found = self.places(asks).collect();
        self.and_those_behind(found)
    }

    fn places(&self, asks: impl Fn(&Flag) -> bool) -> impl Iterator<Item = usize> {
        self.flags.iter().enumerate().filter(move |(_, flag)| asks(flag)).map(|(at, _)| at)
    }

    /// With every flag that has one of these as a prerequisite, however far behind.
    fn and_those_behind(&self, mut found: BTreeSet<usize>) -> Vec<usize> {
        loop {
            let asks = |flag: &Flag| {
                flag.prerequisites.iter().any(|told| told.flag.at.is_some_and(|at| found.contains(&at)))
            };
            let more: Vec<usize> = self.places(asks).filter(|at| !found.contains(at)).collect();
            if more.is_empty() {
                return found.into_iter().collect();
            }
            found.extend(more);
        }
    }
}
