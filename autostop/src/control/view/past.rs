//! Pure. What is needed of the records to account for a time, taken out so that nobody waits for the sums.

use jiff::Timestamp;

use crate::{control::Asked, ledger::Account, machine::Change, rule::RuleId};

/// The changes of one rule that matter from an instant on.
#[derive(Clone, Debug)]
pub struct Past {
    /// Whose.
    pub id: String,
    /// By which name.
    pub name: String,
    /// Oldest first; the first one may be from before.
    pub changes: Vec<Change>,
    /// What an hour of running costs.
    pub price_per_hour: Option<f64>,
}

impl Past {
    /// For the ledger.
    pub fn account(&self) -> Account<'_> {
        Account { changes: &self.changes, price_per_hour: self.price_per_hour }
    }
}

/// The past of every rule that is minded here from this instant on.
pub fn past(asked: &Asked<'_>, from: Timestamp) -> Vec<Past> {
    past_of(asked, asked.mind.rules().iter(), from)
}

/// The past of these rules.
pub fn past_of<'a>(
    asked: &Asked<'_>,
    rules: impl Iterator<Item = &'a crate::rule::Rule>,
    from: Timestamp,
) -> Vec<Past> {
    let one = |rule: &crate::rule::Rule| {
        let kept = asked.kept.rules.get(&rule.id).map(|past| past.changes.as_slice()).unwrap_or_default();
        // A wall clock that was set back may have left later times before: everything after the first
        // change of the period is taken.
        let first = kept.iter().position(|change| change.at >= from).unwrap_or(kept.len());
        let changes = kept.get(first.saturating_sub(1)..).unwrap_or_default().to_vec();
        Past {
            id: rule.id.to_string(),
            name: rule.name.clone(),
            changes,
            price_per_hour: rule.price_per_hour,
        }
    };
    rules.map(one).collect()
}

/// The last changes of a rule, newest first.
pub fn history(asked: &Asked<'_>, id: &RuleId, most: usize) -> Vec<Change> {
    let past = asked.kept.rules.get(id);
    past.map(|past| past.changes.iter().rev().take(most).cloned().collect()).unwrap_or_default()
}
