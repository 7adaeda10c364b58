//! Pure. What ran and what was saved, to the second, from the records of changes.

use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp, ToSpan, Zoned, civil::Weekday, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::machine::{Change, State};

/// How the answer is split up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// By day.
    #[default]
    Day,
    /// By week; Monday is the first day.
    Week,
    /// By month.
    Month,
}

/// The time that was asked for, and how to split it.
#[derive(Clone, Debug)]
pub struct Period {
    /// From.
    pub from: Timestamp,
    /// Up to.
    pub to: Timestamp,
    /// Into what.
    pub group_by: GroupBy,
    /// By whose days.
    pub zone: TimeZone,
}

/// One rule's part.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// Its changes, oldest first.
    pub changes: &'a [Change],
    /// What an hour of running costs.
    pub price_per_hour: Option<f64>,
}

/// What ran and what was saved. The lists have one entry for each day, week or month.
///
/// Potential cost is what it would have cost to run all the time; savings are that less the actual cost. What
/// nobody knows to be stopped counts as running, and no time counts before the first record or while
/// the rule is disabled.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Savings {
    /// The first day of each.
    pub days: Vec<String>,
    /// What running all the time would have cost.
    pub potential_cost: Vec<f64>,
    /// What running as it did has cost.
    pub actual_cost: Vec<f64>,
    /// The difference.
    pub savings: Vec<f64>,
    /// Seconds for which it ran.
    pub running_seconds: Vec<f64>,
    /// Seconds for which it was stopped.
    pub stopped_seconds: Vec<f64>,
    /// The sum.
    pub total_potential_cost: f64,
    /// The sum.
    pub total_actual_cost: f64,
    /// The sum.
    pub total_savings: f64,
    /// Of the potential cost; by time when no price is known; `None` when there is neither.
    pub savings_percent: Option<f64>,
    /// How often it was started, by reason.
    pub wakes: BTreeMap<&'static str, u64>,
    /// How often it was stopped, by reason.
    pub stops: BTreeMap<&'static str, u64>,
    /// Some of it only would have been so.
    pub dry_run: bool,
}

/// Running and stopped time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Running, or nobody knows.
    pub running: SignedDuration,
    /// Stopped.
    pub stopped: SignedDuration,
}

/// How long a rule's target ran and was stopped from one instant to another.
pub fn spent(changes: &[Change], from: Timestamp, to: Timestamp) -> Spent {
    let mut spent = Spent::default();
    let mut begun = Timestamp::MIN;
    for (at, change) in changes.iter().enumerate() {
        // A wall clock that was set back must not make time count twice.
        begun = begun.max(change.at);
        let ended = changes.get(at + 1).map_or(to, |next| next.at.max(begun));
        let time = ended.min(to).duration_since(begun.max(from));
        if time.is_positive() {
            match change.to {
                State::WarmingUp | State::Active | State::CoolingDown | State::Errored => {
                    spent.running += time;
                }
                State::Down | State::ScheduledDowntime => spent.stopped += time,
                State::Created | State::Enabled | State::Disabled | State::Deleted => {}
            }
        }
    }
    spent
}

/// The answer for one rule, or for several together.
pub fn savings(accounts: &[Account<'_>], period: &Period) -> Savings {
    let mut answer = Savings::default();
    let (mut running, mut stopped) = (0.0, 0.0);
    for (first, from, to) in buckets(period) {
        let (mut ran, mut rested, mut actual, mut saved) = (0.0, 0.0, 0.0, 0.0);
        for account in accounts {
            let spent = spent(account.changes, from, to);
            let price = account.price_per_hour.unwrap_or_default() / 3600.0;
            ran += spent.running.as_secs_f64();
            rested += spent.stopped.as_secs_f64();
            actual += spent.running.as_secs_f64() * price;
            saved += spent.stopped.as_secs_f64() * price;
        }
        running += ran;
        stopped += rested;
        answer.total_actual_cost += actual;
        answer.total_savings += saved;
        answer.days.push(first);
        answer.running_seconds.push(ran);
        answer.stopped_seconds.push(rested);
        answer.actual_cost.push(actual);
        answer.savings.push(saved);
        answer.potential_cost.push(actual + saved);
    }
    answer.total_potential_cost = answer.total_actual_cost + answer.total_savings;
    let (part, whole) = if answer.total_potential_cost > 0.0 {
        (answer.total_savings, answer.total_potential_cost)
    } else {
        (stopped, running + stopped)
    };
    answer.savings_percent = (whole > 0.0).then(|| 100.0 * part / whole);
    let changes = accounts.iter().flat_map(|account| account.changes);
    for change in changes.filter(|change| period.from <= change.at && change.at < period.to) {
        answer.dry_run |= change.dry_run;
        let dry_down = change.dry_run && change.to == State::Down;
        if change.to == State::WarmingUp || (change.dry_run && change.from == State::Down) {
            *answer.wakes.entry(change.why.kind()).or_default() += 1;
        } else if change.to == State::CoolingDown || dry_down {
            *answer.stops.entry(change.why.kind()).or_default() += 1;
        }
    }
    answer
}

/// The parts of a period: the first day's name, from, to.
fn buckets(period: &Period) -> Vec<(String, Timestamp, Timestamp)> {
    let mut buckets = Vec::new();
    let mut start = first(period.from.to_zoned(period.zone.clone()), period.group_by);
    while let Some(begin) = start {
        if begin.timestamp() >= period.to {
            break;
        }
        let span = match period.group_by {
            GroupBy::Day => 1.day(),
            GroupBy::Week => 1.week(),
            GroupBy::Month => 1.month(),
        };
        // From the date, and not from the instant: a day may have 23 hours, or begin at one o'clock.
        let next = begin.date().checked_add(span).ok().and_then(|day| day.to_zoned(period.zone.clone()).ok());
        let end = next.as_ref().map_or(period.to, Zoned::timestamp);
        buckets.push((begin.date().to_string(), begin.timestamp().max(period.from), end.min(period.to)));
        start = next;
    }
    buckets
}

fn first(at: Zoned, group_by: GroupBy) -> Option<Zoned> {
    let date = at.date();
    let date = match group_by {
        GroupBy::Day => date,
        GroupBy::Week => date.checked_sub(i64::from(date.weekday().since(Weekday::Monday)).days()).ok()?,
        GroupBy::Month => date.first_of_month(),
    };
    date.to_zoned(at.time_zone().clone()).ok()
}

/// How long a wake takes as a rule: the median of the last twenty that succeeded.
pub fn typical_wake(changes: &[Change]) -> Option<Duration> {
    let mut took: Vec<Duration> = changes
        .iter()
        .zip(changes.iter().skip(1))
        .rev()
        .filter(|(asked, up)| asked.to == State::WarmingUp && up.to == State::Active && !up.dry_run)
        .filter_map(|(asked, up)| Duration::try_from(up.at.duration_since(asked.at)).ok())
        .take(20)
        .collect();
    took.sort_unstable();
    took.get(took.len() / 2).copied()
}

#[cfg(test)]
mod tests;
