//! Pure. Which rules wait for which, and who is kept up for whom.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    idle::Moment,
    machine::{Needed, State},
    rule::{Dependency, RuleId},
};

/// Who depends on whom.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    dependencies: BTreeMap<RuleId, BTreeSet<RuleId>>,
    dependants: BTreeMap<RuleId, BTreeSet<RuleId>>,
}

impl Graph {
    /// From pairs of a dependant and what it depends on.
    pub fn new(edges: impl IntoIterator<Item = (RuleId, RuleId)>) -> Self {
        let mut graph = Self::default();
        for (dependant, on) in edges {
            graph.dependencies.entry(dependant.clone()).or_default().insert(on.clone());
            graph.dependants.entry(on).or_default().insert(dependant);
        }
        graph
    }

    /// What a rule depends on itself.
    pub fn dependencies(&self, rule: &RuleId) -> impl Iterator<Item = &RuleId> {
        self.dependencies.get(rule).into_iter().flatten()
    }

    /// Who depends on a rule itself.
    pub fn dependants(&self, rule: &RuleId) -> impl Iterator<Item = &RuleId> {
        self.dependants.get(rule).into_iter().flatten()
    }

    /// Some rules that wait for each other in a circle, each for the next, if there are such.
    pub fn cycle(&self) -> Option<Vec<RuleId>> {
        let mut done = BTreeSet::new();
        self.dependencies.keys().find_map(|rule| self.walk(rule, &mut Vec::new(), &mut done))
    }

    fn walk<'a>(
        &'a self,
        rule: &'a RuleId,
        path: &mut Vec<&'a RuleId>,
        done: &mut BTreeSet<&'a RuleId>,
    ) -> Option<Vec<RuleId>> {
        if let Some(at) = path.iter().position(|before| *before == rule) {
            return Some(path.iter().skip(at).map(|rule| (*rule).clone()).collect());
        }
        if done.contains(rule) {
            return None;
        }
        path.push(rule);
        let found = self.dependencies(rule).find_map(|on| self.walk(on, path, done));
        path.pop();
        done.insert(rule);
        found
    }

    /// Who depends on a rule, directly or through others, each before what it depends on: the order in
    /// which they would be cooled down with it.
    pub fn goes_down_with(&self, rule: &RuleId) -> Vec<RuleId> {
        let mut order = Vec::new();
        self.gather(rule, &mut BTreeSet::from([rule]), &mut order);
        order.pop();
        order
    }

    fn gather<'a>(&'a self, rule: &'a RuleId, seen: &mut BTreeSet<&'a RuleId>, order: &mut Vec<RuleId>) {
        for dependant in self.dependants(rule) {
            if seen.insert(dependant) {
                self.gather(dependant, seen, order);
            }
        }
        order.push(rule.clone());
    }

    /// What the rules that depend on this one need of it.
    pub fn needed(&self, rule: &RuleId, state_of: impl Fn(&RuleId) -> State) -> Needed {
        self.dependants(rule).map(|dependant| state_of(dependant).needs()).max().unwrap_or_default()
    }
}

/// How far the dependencies of a rule are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// All are up for as long as they have to be.
    Ready,
    /// Not yet; ask again when one changes, or at this moment.
    Wait(Option<Moment>),
    /// This one will not come up by itself.
    Failed(RuleId),
}

/// How far the dependencies are; `how` gives the state of each, and since when it is up.
pub fn readiness(
    dependencies: &[Dependency],
    now: Moment,
    how: impl Fn(&RuleId) -> (State, Option<Moment>),
) -> Readiness {
    let (mut waits, mut until) = (false, None::<Moment>);
    for Dependency { rule, delay } in dependencies {
        match how(rule) {
            (State::Errored | State::ScheduledDowntime | State::Disabled | State::Deleted, _) => {
                return Readiness::Failed(rule.clone());
            }
            (State::Active, Some(since)) => {
                if *delay > Duration::ZERO && now < since + *delay {
                    waits = true;
                    until = Some(until.map_or(since + *delay, |until| until.min(since + *delay)));
                }
            }
            _ => waits = true,
        }
    }
    if waits { Readiness::Wait(until) } else { Readiness::Ready }
}

#[cfg(test)]
mod tests;
