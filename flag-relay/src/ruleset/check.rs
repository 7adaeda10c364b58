//! Pure. What makes a set unusable: names that stand twice, values of another kind, circles.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Clause, Op, Problem, Ruleset};
use crate::shape::{FeatureConfig, Kind, Segment};

/// How far flags may stand behind each other.
const DEEPEST: usize = 64;

/// Identifiers that are empty or stand twice.
pub(super) fn identifiers(flags: &[FeatureConfig], segments: &[Segment]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for flag in flags {
        if flag.feature.is_empty() {
            problems.push(Problem::flag("", "a flag has no identifier"));
        } else if !seen.insert(flag.feature.as_str()) {
            problems.push(Problem::flag(&flag.feature, "it stands twice"));
        }
    }
    let mut seen = BTreeSet::new();
    for segment in segments {
        if segment.identifier.is_empty() {
            problems.push(Problem::group("", "a group has no identifier"));
        } else if !seen.insert(segment.identifier.as_str()) {
            problems.push(Problem::group(&segment.identifier, "it stands twice"));
        }
    }
    problems
}

/// Variations that stand twice, and values that are not of the flag's kind.
pub(super) fn variations(flag: &FeatureConfig, refuse: &mut dyn FnMut(String)) {
    let mut seen = BTreeSet::new();
    for variation in &flag.variations {
        if !seen.insert(variation.identifier.as_str()) {
            refuse(format!("its variation {:?} stands twice", variation.identifier));
        }
        let value = variation.value.as_str();
        let (fits, what) = match flag.kind {
            Kind::Boolean => {
                (value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false"), "true or false")
            }
            Kind::String => (true, "text"),
            Kind::Int => (value.parse().is_ok_and(f64::is_finite), "a number"),
            Kind::Json => (serde_json::from_str::<Value>(value).is_ok(), "JSON"),
        };
        if !fits {
            refuse(format!("the value of its variation {:?} is not {what}", variation.identifier));
        }
    }
}

/// Flags that are their own prerequisite, and groups that are within themselves.
pub(super) fn circles(ruleset: &Ruleset) -> Vec<Problem> {
    let mut problems = Vec::new();
    let next = |at: usize| -> Vec<usize> {
        let flag = ruleset.flags.get(at);
        flag.into_iter().flat_map(|flag| &flag.prerequisites).filter_map(|told| told.flag.at).collect()
    };
    for at in too_deep(ruleset.flags.len(), next) {
        let name = ruleset.flags.get(at).map_or("", |flag| &flag.identifier);
        problems.push(Problem::flag(name, "its prerequisites lead back to it, or too far"));
    }
    let next = |at: usize| -> Vec<usize> {
        let group = ruleset.groups.get(at);
        group.into_iter().flat_map(|group| group.rules.iter().flatten()).flat_map(within).collect()
    };
    for at in too_deep(ruleset.groups.len(), next) {
        let name = ruleset.groups.get(at).map_or("", |group| &group.identifier);
        problems.push(Problem::group(name, "its rules lead back to it, or too far"));
    }
    problems
}

/// The groups that a clause asks.
pub(super) fn within(clause: &Clause) -> Vec<usize> {
    match &clause.op {
        Op::SegmentMatch(groups) => groups.iter().filter_map(|group| group.at).collect(),
        Op::Unknown(_, Some(taken_for)) => match taken_for.as_ref() {
            Op::SegmentMatch(groups) => groups.iter().filter_map(|group| group.at).collect(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Those from which a walk of more than [`DEEPEST`] steps is possible.
fn too_deep(count: usize, next: impl Fn(usize) -> Vec<usize>) -> Vec<usize> {
    // The longest walk that is known to be possible from each grows by one step each round.
    let mut long: BTreeSet<usize> = (0..count).collect();
    for _ in 0..=DEEPEST {
        long = long.iter().copied().filter(|at| next(*at).iter().any(|to| long.contains(to))).collect();
        if long.is_empty() {
            break;
        }
    }
    long.into_iter().collect()
}
