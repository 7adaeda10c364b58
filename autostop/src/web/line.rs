//! Pure. A rule as the pages show it.

use jiff::Timestamp;

use super::{
    advice::advice,
    figures::{self, When, when},
    look::{self, Look},
    shown,
};
use crate::{
    control::view::{Holder, RuleView},
    ledger::Savings,
};

/// Holders, and rules around a rule, that a page names.
const MOST_NAMED: usize = 50;

/// One rule.
pub(super) struct Line {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) provider: String,
    pub(super) look: Look,
    pub(super) since: Option<When>,
    pub(super) why: String,
    /// Why it stays up; empty when it does not.
    pub(super) awake: String,
    /// What went wrong, and what to do.
    pub(super) error: Option<(String, &'static str)>,
    pub(super) open: u32,
    pub(super) parked: u32,
    pub(super) holders: Vec<Holding>,
    pub(super) addresses: Vec<String>,
    pub(super) domains: Vec<String>,
    /// What clients want, and the port they come to.
    pub(super) ports: Vec<(String, u16)>,
    pub(super) idle_time: String,
    pub(super) carried: String,
    pub(super) schedule: &'static str,
    pub(super) schedule_changes: Option<When>,
    pub(super) dry_run: bool,
    pub(super) depends: Vec<String>,
    pub(super) needed_by: Vec<String>,
    pub(super) saved: String,
}

/// Somebody who uses a target.
pub(super) struct Holding {
    pub(super) peer: String,
    pub(super) protocol: String,
    pub(super) detail: String,
    pub(super) open_for: String,
    pub(super) moved: String,
    pub(super) counts: bool,
}

impl Line {
    /// A rule at a moment; what it saved in the last thirty days, if that is known.
    pub(super) fn of(rule: &RuleView, now: Timestamp, saved: Option<&Savings>) -> Self {
        Self {
            id: rule.id.clone(),
            name: shown(&rule.name),
            kind: rule.kind.clone(),
            provider: shown(&rule.provider),
            look: look::of(&rule.state),
            since: rule.since.map(|since| when(since, now)),
            // That what was begun is done says nothing beside the state.
            why: Some(&rule.why).filter(|why| *why != "done").map(|why| shown(why)).unwrap_or_default(),
            awake: rule.kept_awake_by.as_deref().map(shown).unwrap_or_default(),
            error: rule.error.as_deref().map(|error| (shown(error), advice(error))),
            open: rule.open,
            parked: rule.parked,
            holders: rule.holders.iter().take(MOST_NAMED).map(holding).collect(),
            addresses: rule.addresses.iter().take(20).map(|address| shown(address)).collect(),
            domains: rule.domains.iter().map(|domain| shown(domain)).collect(),
            ports: rule.connect.clone(),
            idle_time: figures::minutes(rule.idle_time_mins),
            carried: figures::size(rule.bytes),
            schedule: match rule.schedule {
                "up" => "keeps it up",
                "down" => "keeps it down",
                _ => "leaves it to idleness",
            },
            schedule_changes: rule.schedule_changes.map(|at| when(at, now)),
            dry_run: rule.dry_run,
            depends: rule.depends.iter().take(MOST_NAMED).cloned().collect(),
            needed_by: rule.needed_by.iter().take(MOST_NAMED).cloned().collect(),
            saved: saved.map(told).unwrap_or_default(),
        }
    }

    /// Whether it is left alone.
    pub(super) fn is_disabled(&self) -> bool {
        self.look.state == "disabled"
    }

    /// Whether a warm up would change anything.
    pub(super) fn can_warm_up(&self) -> bool {
        !self.is_disabled() && self.look.state != "warmingup"
    }

    /// Whether a cool down would change anything.
    pub(super) fn can_cool_down(&self) -> bool {
        self.look.state == "active"
    }

    /// Whether it is up by its state.
    pub(super) fn is_quiet(&self) -> bool {
        self.open == 0 && self.parked == 0
    }

    /// How many more use it than are named.
    pub(super) fn unnamed(&self) -> usize {
        usize::try_from(self.open).unwrap_or_default().saturating_sub(self.holders.len())
    }
}

fn holding(holder: &Holder) -> Holding {
    Holding {
        peer: shown(&holder.peer),
        protocol: shown(&holder.protocol),
        detail: shown(&holder.detail),
        open_for: figures::span(holder.open_seconds),
        moved: figures::size(holder.bytes_last_minute),
        counts: holder.counts,
    }
}

/// What was saved, in money if a price is known, else in hours.
pub(super) fn told(savings: &Savings) -> String {
    let Some(percent) = savings.savings_percent else { return String::new() };
    let amount = if savings.total_potential_cost > 0.0 {
        figures::sum(savings.total_savings)
    } else {
        figures::hours(savings.stopped_seconds.iter().sum())
    };
    format!("{amount} ({percent:.0} %)")
}
