//! Pure. Decides which variation a target gets, and why.
//!
//! The order: prerequisites, state, targets and groups that are named, rules by priority, the default.
//! Where the SDKs differ from each other, a [`Dialect`] says which of them is followed.

mod bucket;
mod clause;
mod subject;
mod trace;

use std::cell::Cell;

pub(crate) use self::clause::op_name;
use self::{subject::Memo, trace::Watch};
pub use self::{
    subject::Subject,
    trace::{Step, Steps},
};
use crate::ruleset::{Distribution, Flag, Named, Ruleset, Serve, Variation};

/// Whose reading of the rules is followed where they disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The relay's own, which is that of the Go SDK: all clauses of a rule must hold.
    Relay,
    /// The Python SDK's: one clause of a rule is enough, and attributes keep their types.
    Python,
}

/// Why a target gets a variation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The flag is off.
    Off,
    /// Another flag has none of the variations that it must have.
    Prerequisite,
    /// The target is named in the flag.
    Target,
    /// A group that the target belongs to is named in the flag.
    Group,
    /// A rule serves a variation.
    Rule,
    /// A rule serves a distribution.
    RuleSplit,
    /// Nothing else matched.
    Default,
    /// Nothing else matched, and the default is a distribution.
    DefaultSplit,
}

/// What was decided: the place of a variation, and why it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its place among the variations of the flag.
    pub variation: usize,
    /// Why it.
    pub cause: Cause,
}

/// Evaluates flags of one set for one target; what was found out about groups and prerequisites is kept, so that
/// all flags together cost little more than one.
pub struct Evaluation<'a> {
    rules: &'a Ruleset,
    subject: &'a Subject<'a>,
    dialect: Dialect,
    memo: Memo,
}

impl<'a> Evaluation<'a> {
    /// Nothing is evaluated yet.
    pub fn new(rules: &'a Ruleset, subject: &'a Subject<'a>, dialect: Dialect) -> Self {
        Self { rules, subject, dialect, memo: Memo::new(rules) }
    }

    /// What this flag is for the target; `None` if it serves nothing at all.
    pub fn decide(&self, flag: &Flag) -> Option<Decision> {
        self.decide_watched(flag, &mut ())
    }

    /// As [`Evaluation::decide`], with the variation itself.
    pub fn variation<'f>(&self, flag: &'f Flag) -> Option<(&'f Variation, Cause)> {
        let decision = self.decide(flag)?;
        Some((flag.variation(decision.variation)?, decision.cause))
    }

    /// As [`Evaluation::decide`], with every step on the way. What was found out before is found out again.
    pub fn explain(&self, flag: &Flag) -> (Option<Decision>, Vec<Step>) {
        let fresh = Self::new(self.rules, self.subject, self.dialect);
        let mut steps = Steps::default();
        let decision = fresh.decide_watched(flag, &mut steps);
        (decision, steps.into_steps())
    }

    fn decide_watched(&self, flag: &Flag, watch: &mut impl Watch) -> Option<Decision> {
        if !flag.prerequisites.is_empty() && !self.prerequisites_hold(flag, watch) {
            return Some(Decision { variation: flag.off, cause: Cause::Prerequisite });
        }
        self.decide_alone(flag, watch)
    }

    /// Whether every other flag that must have certain variations has one of them, and so on behind it.
    fn prerequisites_hold(&self, flag: &Flag, watch: &mut impl Watch) -> bool {
        for told in &flag.prerequisites {
            let name = &told.flag.identifier;
            let Some((at, other)) = self.find(&told.flag) else {
                watch.note(|| {
                    Step::new(0, format!("prerequisite {name}: there is no such flag, so it counts as met"))
                });
                return true;
            };
            let variation =
                self.decide_alone(other, &mut ()).and_then(|found| other.variation(found.variation));
            let has = variation.map_or("", |variation| &variation.identifier);
            let met = told.variations.iter().any(|wanted| **wanted == *has);
            watch.note(|| {
                let wanted = told.variations.join(" or ");
                let met = if met { "met" } else { "not met" };
                Step::new(0, format!("prerequisite {name}: it is {has:?}, and must be {wanted:?}: {met}"))
            });
            if !met || !self.chain_holds(at, other, watch) {
                return false;
            }
        }
        true
    }

    fn chain_holds(&self, at: usize, flag: &Flag, watch: &mut impl Watch) -> bool {
        if let Some(known) = self.memo.chains.get(at).and_then(Cell::get) {
            return known;
        }
        let holds = self.prerequisites_hold(flag, watch);
        if let Some(known) = self.memo.chains.get(at) {
            known.set(Some(holds));
        }
        holds
    }

    fn find(&self, named: &Named) -> Option<(usize, &'a Flag)> {
        let at = named.at?;
        Some((at, self.rules.flags.get(at)?))
    }

    /// Without the prerequisites, as the SDKs evaluate a flag that is one.
    fn decide_alone(&self, flag: &Flag, watch: &mut impl Watch) -> Option<Decision> {
        if !flag.is_on {
            watch.note(|| Step::new(0, "the flag is off"));
            return Some(Decision { variation: flag.off, cause: Cause::Off });
        }
        if let Some(found) = self.pinned(flag, watch) {
            return Some(found);
        }
        for (number, rule) in flag.rules.iter().enumerate() {
            watch.note(|| Step::new(0, format!("rule {}", number + 1)));
            if self.rule_holds(&rule.clauses, watch) {
                let found = self.serve(&rule.serve, (Cause::Rule, Cause::RuleSplit), watch);
                if found.is_some() {
                    return found;
                }
            }
        }
        watch.note(|| Step::new(0, "nothing matched, so the default is served"));
        self.serve(&flag.default, (Cause::Default, Cause::DefaultSplit), watch)
    }

    fn pinned(&self, flag: &Flag, watch: &mut impl Watch) -> Option<Decision> {
        for pinned in &flag.pinned {
            let name = flag.variation(pinned.variation).map_or("", |variation| &variation.identifier);
            if pinned.targets.contains(self.subject.identifier) {
                watch.note(|| Step::new(0, format!("the target is named for {name:?}")));
                return Some(Decision { variation: pinned.variation, cause: Cause::Target });
            }
            if !pinned.groups.is_empty() {
                watch.note(|| Step::new(0, format!("groups that are named for {name:?}")));
                if self.is_within(&pinned.groups, watch) {
                    return Some(Decision { variation: pinned.variation, cause: Cause::Group });
                }
            }
        }
        None
    }

    fn serve(&self, serve: &Serve, causes: (Cause, Cause), watch: &mut impl Watch) -> Option<Decision> {
        let (whole, split) = causes;
        let variation = serve.variation.map(|variation| Decision { variation, cause: whole });
        let distribution = serve.distribution.as_ref();
        // Where both stand in a rule, the Python SDK lets the variation go first.
        if self.dialect == Dialect::Python && whole == Cause::Rule && variation.is_some() {
            return variation;
        }
        let found = distribution.and_then(|told| self.split(told, watch));
        found.map(|variation| Decision { variation, cause: split }).or(variation)
    }

    fn split(&self, told: &Distribution, watch: &mut impl Watch) -> Option<usize> {
        let bucket = self.bucket(&told.by, watch);
        let mut sum: u32 = 0;
        for (variation, weight) in &told.parts {
            sum = sum.saturating_add(*weight);
            if sum > 0 && bucket.is_some_and(|bucket| bucket <= sum) {
                return Some(*variation);
            }
        }
        // A sum that is short falls to the last one.
        told.parts.last().map(|(variation, _)| *variation)
    }
}

#[cfg(test)]
mod tests;
