//! Pure. What schedules want at an instant, and when that changes.
//!
//! A window is an interval of real time. It begins at the first instant at which the clock there shows its
//! start or later, and ends at the last such instant of its end: where an hour occurs twice, the window
//! takes in both, and where one is left out, so is the part of the window that lies in it.

use std::collections::BTreeSet;

use jiff::{
    Timestamp, ToSpan,
    civil::{Date, DateTime, Time, Weekday},
    tz::{AmbiguousOffset, TimeZone},
};

use crate::machine::Desired;

/// When a target is wanted up, or down.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// A downtime; else an uptime.
    pub down: bool,
    /// The downtime cuts whoever uses the target.
    pub force: bool,
    /// By whose clock.
    pub zone: TimeZone,
    /// Not in force before.
    pub from: Option<DateTime>,
    /// Not in force from then on.
    pub until: Option<DateTime>,
    /// On which days its windows begin; none: on every day.
    pub days: Vec<Weekday>,
    /// From when to when; an end that is not after the start is on the next day. `None`: the whole day.
    pub hours: Option<(Time, Time)>,
    /// The lowest number wins; among equals, up wins.
    pub priority: u32,
}

/// All schedules of a rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schedules(Vec<Schedule>);

/// More boundaries than this without a change, and there is none.
const BOUNDARIES: usize = 64;

impl Schedules {
    /// These schedules.
    pub fn new(schedules: Vec<Schedule>) -> Self {
        Self(schedules)
    }

    /// What they want at an instant.
    pub fn desired(&self, at: Timestamp) -> Desired {
        let in_force = self.0.iter().filter(|schedule| schedule.in_force(at));
        match in_force.min_by_key(|schedule| (schedule.priority, schedule.down)) {
            None => Desired::Nothing,
            Some(Schedule { down: false, .. }) => Desired::Up,
            Some(Schedule { force, .. }) => Desired::Down { force: *force },
        }
    }

    /// When they next want something else, or an earlier instant by which to ask again; `None`: never.
    pub fn next_change(&self, at: Timestamp) -> Option<Timestamp> {
        let desired = self.desired(at);
        let mut next = at;
        for _ in 0..BOUNDARIES {
            next = self.0.iter().filter_map(|schedule| schedule.next_boundary(next)).min()?;
            if self.desired(next) != desired {
                break;
            }
        }
        Some(next)
    }
}

impl Schedule {
    fn in_force(&self, at: Timestamp) -> bool {
        self.bounds().is_none_or(|(from, until)| from <= at && at < until)
            && self.windows(at).iter().any(|(start, end)| *start <= at && at < *end)
    }

    fn next_boundary(&self, after: Timestamp) -> Option<Timestamp> {
        let (from, until) = self.bounds().unwrap_or((Timestamp::MIN, Timestamp::MAX));
        if after < from {
            return Some(from);
        }
        let edges: BTreeSet<_> =
            self.windows(after).into_iter().flat_map(|(start, end)| [start, end]).collect();
        edges
            .into_iter()
            .chain((until < Timestamp::MAX).then_some(until))
            .filter(|edge| *edge > after && *edge <= until)
            .min()
    }

    fn bounds(&self) -> Option<(Timestamp, Timestamp)> {
        let from = self.from.and_then(|from| edge(&self.zone, from, Side::Start)).unwrap_or(Timestamp::MIN);
        let until = self.until.and_then(|until| edge(&self.zone, until, Side::End)).unwrap_or(Timestamp::MAX);
        Some((from, until))
    }

    /// The windows that begin from the day before an instant to eight days after it: at least one is over
    /// after it, unless there is none at all.
    fn windows(&self, around: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let today = around.to_zoned(self.zone.clone()).date();
        (-2..=8)
            .filter_map(|days| today.checked_add(days.days()).ok())
            .filter_map(|day| self.window(day))
            .collect()
    }

    fn window(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.days.is_empty() && !self.days.contains(&day.weekday()) {
            return None;
        }
        let (start, end) = self.hours.unwrap_or((Time::midnight(), Time::midnight()));
        let last = if end <= start { day.tomorrow().ok()? } else { day };
        let start = edge(&self.zone, day.to_datetime(start), Side::Start)?;
        let end = edge(&self.zone, last.to_datetime(end), Side::End)?;
        (start < end).then_some((start, end))
    }
}

#[derive(Clone, Copy)]
enum Side {
    Start,
    End,
}

/// The instant at which a window has its edge.
fn edge(zone: &TimeZone, clock: DateTime, side: Side) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(clock);
    match (ambiguous.offset(), side) {
        (AmbiguousOffset::Unambiguous { .. }, _) => ambiguous.compatible().ok(),
        (AmbiguousOffset::Fold { .. }, Side::Start) => ambiguous.earlier().ok(),
        (AmbiguousOffset::Fold { .. }, Side::End) => ambiguous.later().ok(),
        // The clock skips it: the instant of the skip.
        (AmbiguousOffset::Gap { .. }, _) => {
            let before = ambiguous.earlier().ok()?;
            zone.following(before).next().map(|transition| transition.timestamp())
        }
    }
}

#[cfg(test)]
mod tests;
