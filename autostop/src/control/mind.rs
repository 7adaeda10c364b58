//! Pure. All machines together: what one rule's change means to the others, schedules, dependencies.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;

use super::record::Kept;
use crate::{
    depends::{Readiness, readiness},
    idle::Moment,
    machine::{Desired, Event, Machine, Needed, Now, Order, Pace, Settings, State},
    rule::{Rule, RuleId, Rules},
};

/// What a machine wants done, and whose machine it is.
pub type Deed = (RuleId, Order);

/// One rule with its machine.
#[derive(Clone, Debug)]
struct Minded {
    machine: Machine,
    settings: Settings,
    needed: Needed,
    desired: Desired,
    /// When the schedule next wants something else.
    next_change: Option<Timestamp>,
    /// When the schedule is to be asked again.
    ask_at: Option<Moment>,
    /// It waits for what it depends on; looked at again then, or when one of these changes.
    waits: Option<Option<Moment>>,
}

/// Every rule with its machine.
#[derive(Clone, Debug, Default)]
pub struct Mind {
    rules: Rules,
    minded: BTreeMap<RuleId, Box<Minded>>,
    planes: BTreeSet<Arc<str>>,
    pace: Pace,
}

impl Mind {
    /// A mind without rules that knows these planes; all of them are away.
    pub fn new(planes: BTreeSet<Arc<str>>, pace: Pace) -> Self {
        Self { planes, pace, ..Self::default() }
    }

    /// The rules that are in force.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// The machine of a rule.
    pub fn machine(&self, rule: &RuleId) -> Option<(&Machine, &Settings)> {
        self.minded.get(rule).map(|minded| (&minded.machine, &minded.settings))
    }

    /// The state of a rule; [`State::Deleted`] when there is none.
    pub fn state(&self, rule: &RuleId) -> State {
        self.minded.get(rule).map_or(State::Deleted, |minded| minded.machine.state())
    }

    /// What the schedule of a rule wants now, and when it may want something else.
    pub fn schedule(&self, rule: &RuleId) -> (Desired, Option<Timestamp>) {
        self.minded.get(rule).map_or((Desired::Nothing, None), |minded| (minded.desired, minded.next_change))
    }

    /// Takes these rules up in place of the ones before; what is known of their past makes the machines of new ones.
    /// `attached` are the planes that are there.
    pub fn take_up(
        &mut self,
        now: Now,
        rules: Rules,
        kept: &Kept,
        attached: &BTreeSet<Arc<str>>,
    ) -> Vec<Deed> {
        let mut deeds = Vec::new();
        let gone: Vec<_> = self.minded.keys().filter(|id| rules.get(id).is_none()).cloned().collect();
        for id in gone {
            self.step(now, &id, Event::Delete, &mut deeds);
            self.minded.remove(&id);
        }
        self.rules = rules;
        let ids: Vec<_> = self.rules.iter().map(|rule| rule.id.clone()).collect();
        for id in &ids {
            let Some(rule) = self.rules.get(id) else { continue };
            let settings = self.rules.settings(rule, self.pace);
            if let Some(minded) = self.minded.get_mut(id) {
                minded.settings = settings;
                minded.ask_at = Some(now.steady);
                self.step(now, id, Event::Tick, &mut deeds);
                continue;
            }
            let past = kept.rules.get(id);
            let last = past.and_then(|past| past.state()).filter(|state| *state != State::Deleted);
            let machine = match last {
                Some(last) => {
                    let addresses = past.map(|past| past.addresses.clone()).unwrap_or_default();
                    Machine::recover(now, last, addresses, &settings)
                }
                None => Machine::new(now, &settings),
            };
            let minded = Box::new(Minded {
                machine,
                settings,
                needed: Needed::Not,
                desired: Desired::Nothing,
                next_change: None,
                ask_at: Some(now.steady),
                waits: None,
            });
            self.minded.insert(id.clone(), minded);
            for plane in self.planes.clone() {
                let event =
                    if attached.contains(&plane) { Event::Attached(plane) } else { Event::Away(plane) };
                self.step(now, id, event, &mut deeds);
            }
        }
        // What one needs of another is known once all of them are there.
        ids.iter().for_each(|id| self.update_needed(now, id, &mut deeds));
        self.tick(now, &mut deeds);
        deeds
    }

    /// A plane attached, is away, or was forgotten.
    pub fn plane(&mut self, now: Now, event: &Event) -> Vec<Deed> {
        match event {
            Event::Attached(plane) | Event::Away(plane) => drop(self.planes.insert(Arc::clone(plane))),
            Event::Forgotten(plane) => drop(self.planes.remove(plane)),
            _ => return Vec::new(),
        }
        let mut deeds = Vec::new();
        for id in self.minded.keys().cloned().collect::<Vec<_>>() {
            self.step(now, &id, event.clone(), &mut deeds);
        }
        deeds
    }

    /// Something happened to one target.
    pub fn hear(&mut self, now: Now, rule: &RuleId, event: Event) -> Vec<Deed> {
        let mut deeds = Vec::new();
        self.step(now, rule, event, &mut deeds);
        deeds
    }

    /// Time passed.
    pub fn pass(&mut self, now: Now) -> Vec<Deed> {
        let mut deeds = Vec::new();
        self.tick(now, &mut deeds);
        deeds
    }

    /// When time alone changes something next.
    pub fn next_deadline(&self, now: Now) -> Option<Moment> {
        let one = |minded: &Minded| {
            let machine = minded.machine.next_deadline(now.steady, &minded.settings);
            [machine, minded.ask_at, minded.waits.flatten()].into_iter().flatten().min()
        };
        self.minded.values().filter_map(|minded| one(minded)).min()
    }

    fn tick(&mut self, now: Now, deeds: &mut Vec<Deed>) {
        for id in self.minded.keys().cloned().collect::<Vec<_>>() {
            let Some(minded) = self.minded.get(&id) else { continue };
            if minded.machine.next_deadline(now.steady, &minded.settings).is_some_and(|at| at <= now.steady) {
                self.step(now, &id, Event::Tick, deeds);
            }
            self.ask_schedule(now, &id, deeds);
            self.look_at_dependencies(now, &id, deeds);
        }
    }

    fn ask_schedule(&mut self, now: Now, id: &RuleId, deeds: &mut Vec<Deed>) {
        let (Some(minded), Some(rule)) = (self.minded.get_mut(id), self.rules.get(id)) else { return };
        if minded.ask_at.is_none_or(|at| at > now.steady) {
            return;
        }
        let desired = rule.schedules.desired(now.wall);
        minded.next_change = rule.schedules.next_change(now.wall);
        minded.ask_at = minded.next_change.map(|at| {
            let wait = Duration::try_from(at.duration_since(now.wall)).unwrap_or_default();
            // The wall clock may step: it is looked at every minute.
            now.steady + wait.clamp(Duration::from_millis(1), Duration::from_mins(1))
        });
        if desired != minded.desired {
            minded.desired = desired;
            self.step(now, id, Event::Schedule(desired), deeds);
        }
    }

    fn step(&mut self, now: Now, id: &RuleId, event: Event, deeds: &mut Vec<Deed>) {
        let Some(minded) = self.minded.get_mut(id) else { return };
        let before = minded.machine.state();
        for order in minded.machine.step(now, event, &minded.settings) {
            if order == Order::WakeDependencies {
                minded.waits = Some(None);
            }
            deeds.push((id.clone(), order));
        }
        let after = minded.machine.state();
        if minded.waits.is_some() && after != State::WarmingUp {
            minded.waits = None;
        }
        if before != after {
            let on: Vec<_> = self.rules.graph().dependencies(id).cloned().collect();
            on.iter().for_each(|on| self.update_needed(now, on, deeds));
            let by: Vec<_> = self.rules.graph().dependants(id).cloned().collect();
            by.iter().for_each(|by| self.look_at_dependencies(now, by, deeds));
        }
        self.look_at_dependencies(now, id, deeds);
    }

    /// Tells a rule what the rules that depend on it need of it, when that changed.
    fn update_needed(&mut self, now: Now, id: &RuleId, deeds: &mut Vec<Deed>) {
        let needed = self.rules.graph().needed(id, |rule| self.state(rule));
        let Some(minded) = self.minded.get_mut(id) else { return };
        if minded.needed != needed {
            minded.needed = needed;
            self.step(now, id, Event::Needed(needed), deeds);
        }
    }

    fn look_at_dependencies(&mut self, now: Now, id: &RuleId, deeds: &mut Vec<Deed>) {
        let (Some(minded), Some(Rule { depends, .. })) = (self.minded.get(id), self.rules.get(id)) else {
            return;
        };
        if minded.waits.is_none() {
            return;
        }
        let how = |on: &RuleId| (self.state(on), self.minded.get(on).and_then(|on| on.machine.up_since()));
        let found = readiness(depends, now.steady, how);
        let event = match found {
            Readiness::Ready => Event::DependenciesReady,
            Readiness::Failed(on) => {
                Event::DependenciesFailed(format!("{on}, which it depends on, is not up"))
            }
            Readiness::Wait(until) => {
                if let Some(minded) = self.minded.get_mut(id) {
                    minded.waits = Some(until);
                }
                return;
            }
        };
        if let Some(minded) = self.minded.get_mut(id) {
            minded.waits = None;
        }
        self.step(now, id, event, deeds);
    }
}

#[cfg(test)]
mod tests;
