//! Pure. Whether a condition holds, and whether a target belongs to a group.

use std::cell::Cell;

use serde_json::Value;

use super::{
    Dialect, Evaluation,
    subject::Membership,
    trace::{Step, Watch},
};
use crate::ruleset::{Attribute, Clause, Group, Named, Op, Source};

impl Evaluation<'_> {
    /// All clauses of a rule of a flag; in the Python dialect, one of them.
    pub(super) fn rule_holds(&self, clauses: &[Clause], watch: &mut impl Watch) -> bool {
        match self.dialect {
            Dialect::Relay => self.all_hold(clauses, watch),
            Dialect::Python => clauses.iter().any(|clause| self.holds(clause, 1, watch)),
        }
    }

    fn all_hold(&self, clauses: &[Clause], watch: &mut impl Watch) -> bool {
        clauses.iter().all(|clause| self.holds(clause, 1, watch))
    }

    fn holds(&self, clause: &Clause, depth: usize, watch: &mut impl Watch) -> bool {
        if clause.values.is_empty() {
            watch.note(|| Step::new(depth, "a condition without values holds for nobody"));
            return false;
        }
        let op = match (&clause.op, self.dialect) {
            (Op::Unknown(_, Some(taken_for)), Dialect::Python) => taken_for.as_ref(),
            (op, _) => op,
        };
        if let Op::SegmentMatch(groups) = op {
            if self.dialect == Dialect::Python && self.subject.typed(&clause.attribute).is_some() {
                return false;
            }
            return self.is_within(groups, watch);
        }
        let holds = match self.dialect {
            // What is empty holds nothing.
            Dialect::Relay => {
                let text = self.subject.text(&clause.attribute);
                !text.is_empty() && compare(op, clause, text)
            }
            Dialect::Python => self.compare_typed(op, clause),
        };
        watch.note(|| {
            let attribute = &clause.attribute.name;
            let (has, op) = (self.subject.text(&clause.attribute), op_name(&clause.op));
            let holds = if holds { "holds" } else { "does not hold" };
            Step::new(depth, format!("{attribute} is {has:?}, {op} {:?}: {holds}", clause.values))
        });
        holds
    }

    /// As the Python SDK compares: by the type of the attribute.
    fn compare_typed(&self, op: &Op, clause: &Clause) -> bool {
        let first = clause.first().unwrap_or_default();
        let text = |value: &str| match op {
            Op::Match(_) => false,
            Op::Greater => value.to_lowercase().as_str() > first.to_lowercase().as_str(),
            _ => compare(op, clause, value),
        };
        match self.subject.typed(&clause.attribute) {
            None => false,
            Some(Value::String(value)) => text(value),
            Some(Value::Bool(value)) => matches!(op, Op::Equal(_)) && *value != first.is_empty(),
            Some(Value::Number(value)) => compare_number(op, value, first),
            Some(_) => false,
        }
    }

    /// Whether the target belongs to one of these groups; being excluded from one ends the search.
    pub(super) fn is_within(&self, groups: &[Named], watch: &mut impl Watch) -> bool {
        for named in groups {
            let name = &named.identifier;
            let found = named.at.and_then(|at| Some((at, self.rules.groups.get(at)?)));
            let Some((at, group)) = found else {
                watch.note(|| Step::new(1, format!("group {name}: there is no such group")));
                match self.dialect {
                    Dialect::Relay => return false,
                    Dialect::Python => continue,
                }
            };
            let membership = self.membership(at, group, watch);
            watch.note(|| Step::new(1, format!("group {name}: {}", membership.as_str())));
            match membership {
                Membership::Excluded => return false,
                Membership::Included | Membership::Ruled => return true,
                Membership::Outside => {}
            }
        }
        false
    }

    fn membership(&self, at: usize, group: &Group, watch: &mut impl Watch) -> Membership {
        if let Some(known) = self.memo.groups.get(at).and_then(Cell::get) {
            return known;
        }
        let identifier = self.subject.identifier;
        let found = if group.excluded.contains(identifier) {
            Membership::Excluded
        } else if group.included.contains(identifier) {
            Membership::Included
        } else if group.rules.iter().any(|clauses| self.all_hold(clauses, watch)) {
            Membership::Ruled
        } else {
            Membership::Outside
        };
        if let Some(known) = self.memo.groups.get(at) {
            known.set(Some(found));
        }
        found
    }
}

/// Text against text.
fn compare(op: &Op, clause: &Clause, value: &str) -> bool {
    let first = clause.first().unwrap_or_default();
    match op {
        Op::In => clause.values.iter().any(|told| **told == *value),
        Op::Equal(lower) => {
            value.eq_ignore_ascii_case(first) || (!value.is_ascii() && value.to_lowercase() == **lower)
        }
        Op::EqualSensitive => value == first,
        Op::Greater => value > first,
        Op::StartsWith => value.starts_with(first),
        Op::EndsWith => value.ends_with(first),
        Op::Contains => value.contains(first),
        Op::Match(pattern) => pattern.as_ref().is_some_and(|pattern| pattern.is_match(value)),
        Op::SegmentMatch(_) | Op::Unknown(..) => false,
    }
}

fn compare_number(op: &Op, value: &serde_json::Number, told: &str) -> bool {
    if value.is_f64() {
        let (Some(value), Ok(told)) = (value.as_f64(), told.parse::<f64>()) else { return false };
        #[expect(clippy::float_cmp, reason = "the SDK compares so")]
        return match op {
            Op::Equal(_) => value == told,
            Op::Greater => value > told,
            _ => false,
        };
    }
    let whole = value.as_i64().map(i128::from).or(value.as_u64().map(i128::from));
    let (Some(value), Ok(told)) = (whole, told.parse::<i128>()) else { return false };
    match op {
        Op::Equal(_) => value == told,
        Op::Greater => value > told,
        _ => false,
    }
}

pub(crate) fn op_name(op: &Op) -> &str {
    match op {
        Op::In => "in",
        Op::Equal(_) => "equal",
        Op::EqualSensitive => "equal_sensitive",
        Op::Greater => "gt",
        Op::StartsWith => "starts_with",
        Op::EndsWith => "ends_with",
        Op::Contains => "contains",
        Op::Match(_) => "match",
        Op::SegmentMatch(_) => "segmentMatch",
        Op::Unknown(name, _) => name,
    }
}

impl Attribute {
    /// Where the Python SDK looks, which knows capitals.
    pub(super) fn exact_source(&self) -> Source {
        match &*self.name {
            "identifier" => Source::Identifier,
            "name" => Source::Name,
            _ => Source::Attributes,
        }
    }
}
