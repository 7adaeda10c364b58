//! Pure. Turns flags and groups as they are told into a checked set, or says everything that is wrong with them.

use regex::RegexBuilder;

use super::{
    Attribute, Clause, Distribution, Flag, Group, Named, Op, Pinned, Prerequisite, Problem, Rule, Ruleset,
    Serve, Variation, check, render,
};
use crate::shape;

/// What one pattern may take of memory.
const MOST_PATTERN_BYTES: usize = 64 << 10;

/// What the SDKs know.
const OPERATORS: [&str; 9] =
    ["in", "equal", "equal_sensitive", "gt", "starts_with", "ends_with", "contains", "match", "segmentMatch"];

/// Makes a set of these, in any order.
///
/// # Errors
/// With everything that is wrong with them; a set is taken whole or not at all.
pub(crate) fn compile(
    flags: &[shape::FeatureConfig],
    segments: &[shape::Segment],
) -> Result<Ruleset, Vec<Problem>> {
    let mut problems = check::identifiers(flags, segments);
    let mut flags: Vec<_> = flags.iter().collect();
    flags.sort_by(|one, other| one.feature.cmp(&other.feature));
    let mut segments: Vec<_> = segments.iter().collect();
    segments.sort_by(|one, other| one.identifier.cmp(&other.identifier));
    let compiler = Compiler { flags: &flags, segments: &segments };
    let made: Vec<_> = flags.iter().filter_map(|flag| compiler.flag(flag, &mut problems)).collect();
    let groups = segments.iter().map(|segment| compiler.group(segment)).collect();
    let ruleset = Ruleset { flags: made, groups };
    if problems.is_empty() {
        problems = check::circles(&ruleset);
    }
    if problems.is_empty() { Ok(ruleset) } else { Err(problems) }
}

struct Compiler<'a> {
    flags: &'a [&'a shape::FeatureConfig],
    segments: &'a [&'a shape::Segment],
}

impl Compiler<'_> {
    fn flag(&self, told: &shape::FeatureConfig, problems: &mut Vec<Problem>) -> Option<Flag> {
        let before = problems.len();
        let mut refuse = |text: String| problems.push(Problem::flag(&told.feature, text));
        check::variations(told, &mut refuse);
        let place = |identifier: &str, refuse: &mut dyn FnMut(String), who: &str| {
            let found = told.variations.iter().position(|variation| variation.identifier == identifier);
            if found.is_none() {
                refuse(format!("{who} serves {identifier:?}, which is none of its variations"));
            }
            found
        };
        let off = place(&told.off_variation, &mut refuse, "the off state");
        let mut rules: Vec<_> = told.rules.iter().collect();
        rules.sort_by_key(|rule| rule.priority);
        let mut made_rules = Vec::new();
        for rule in rules {
            let serve = serve(&rule.serve, &mut |identifier| place(identifier, &mut refuse, "a rule"));
            if serve.variation.is_none() && serve.distribution.is_none() {
                refuse("a rule serves nothing".to_owned());
            }
            made_rules.push(Rule { clauses: self.clauses(&rule.clauses), serve });
        }
        let default =
            serve(&told.default_serve, &mut |identifier| place(identifier, &mut refuse, "the default"));
        if default.variation.is_none() && default.distribution.is_none() {
            refuse("there is no default to serve".to_owned());
        }
        let mut pinned = Vec::new();
        for map in &told.variation_to_target_map {
            if let Some(variation) = place(&map.variation, &mut refuse, "a list of targets") {
                pinned.push(Pinned {
                    variation,
                    targets: map
                        .targets
                        .iter()
                        .filter(|target| !target.identifier.is_empty())
                        .map(|target| target.identifier.as_str().into())
                        .collect(),
                    groups: self.groups(&map.target_segments),
                });
            }
        }
        if problems.len() > before {
            return None;
        }
        Some(Flag {
            identifier: told.feature.as_str().into(),
            kind: told.kind,
            is_on: told.state == shape::State::On,
            off: off?,
            variations: told.variations.iter().map(|variation| made(told, variation)).collect(),
            pinned,
            rules: made_rules,
            default,
            prerequisites: told.prerequisites.iter().map(|told| self.prerequisite(told)).collect(),
        })
    }

    fn prerequisite(&self, told: &shape::Prerequisite) -> Prerequisite {
        let at = self.flags.binary_search_by(|flag| flag.feature.as_str().cmp(&told.feature)).ok();
        Prerequisite {
            flag: Named { identifier: told.feature.as_str().into(), at },
            variations: texts(&told.variations),
        }
    }

    fn groups(&self, told: &[String]) -> Vec<Named> {
        let find = |identifier: &str| {
            self.segments.binary_search_by(|segment| segment.identifier.as_str().cmp(identifier)).ok()
        };
        told.iter()
            .map(|identifier| Named { identifier: identifier.as_str().into(), at: find(identifier) })
            .collect()
    }

    fn clauses(&self, told: &[shape::Clause]) -> Vec<Clause> {
        told.iter().map(|clause| self.clause(clause)).collect()
    }

    fn clause(&self, told: &shape::Clause) -> Clause {
        let op = self.op(&told.op, told).unwrap_or_else(|| {
            let capitals = OPERATORS.iter().find(|known| known.eq_ignore_ascii_case(&told.op));
            let taken_for = capitals.and_then(|known| self.op(known, told));
            Op::Unknown(told.op.as_str().into(), taken_for.map(Box::new))
        });
        Clause { attribute: Attribute::new(&told.attribute), op, values: texts(&told.values) }
    }

    fn op(&self, name: &str, told: &shape::Clause) -> Option<Op> {
        let first = told.values.first().map(String::as_str).unwrap_or_default();
        Some(match name {
            "in" => Op::In,
            "equal" => Op::Equal(first.to_lowercase().into()),
            "equal_sensitive" => Op::EqualSensitive,
            "gt" => Op::Greater,
            "starts_with" => Op::StartsWith,
            "ends_with" => Op::EndsWith,
            "contains" => Op::Contains,
            "match" => Op::Match(
                RegexBuilder::new(first)
                    .size_limit(MOST_PATTERN_BYTES)
                    .dfa_size_limit(MOST_PATTERN_BYTES)
                    .build()
                    .ok(),
            ),
            "segmentMatch" => Op::SegmentMatch(self.groups(&told.values)),
            _ => return None,
        })
    }

    fn group(&self, told: &shape::Segment) -> Group {
        let rules = if told.serving_rules.is_empty() {
            told.rules.iter().map(|clause| vec![self.clause(clause)]).collect()
        } else {
            let mut rules: Vec<_> = told.serving_rules.iter().collect();
            rules.sort_by_key(|rule| rule.priority);
            // A rule without clauses holds for nobody.
            let rules = rules.into_iter().filter(|rule| !rule.clauses.is_empty());
            rules.map(|rule| self.clauses(&rule.clauses)).collect()
        };
        let names = |targets: &[shape::SegmentTarget]| {
            targets.iter().map(|target| target.identifier.as_str().into()).collect()
        };
        Group {
            identifier: told.identifier.as_str().into(),
            included: names(&told.included),
            excluded: names(&told.excluded),
            rules,
        }
    }
}

fn made(flag: &shape::FeatureConfig, told: &shape::Variation) -> Variation {
    Variation {
        identifier: told.identifier.as_str().into(),
        value: told.value.as_str().into(),
        told: render::told(flag, told).into(),
        typed: render::typed(flag, told).into(),
    }
}

fn serve(told: &shape::Serve, place: &mut dyn FnMut(&str) -> Option<usize>) -> Serve {
    let variation = told.variation.as_deref().filter(|identifier| !identifier.is_empty());
    let variation = variation.and_then(&mut *place);
    let parts = told.distribution.as_ref().map(|told| {
        let parts = told.variations.iter().filter_map(|part| Some((place(&part.variation)?, part.weight)));
        Distribution { by: Attribute::new(&told.bucket_by), parts: parts.collect() }
    });
    Serve { variation, distribution: parts.filter(|told| !told.parts.is_empty()) }
}

fn texts(told: &[String]) -> Vec<Box<str>> {
    told.iter().map(|text| text.as_str().into()).collect()
}

#[cfg(test)]
mod tests;
