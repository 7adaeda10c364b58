//! Pure. Checks what a rule says of its schedules.

use jiff::{
    civil::{Date, DateTime, Time, Weekday},
    tz::TimeZone,
};

use super::{
    check::Desk,
    file::{self, ScheduleType},
};
use crate::schedule::{Schedule, Schedules};

/// Below every priority that is given.
const NO_PRIORITY: u32 = u32::MAX;

pub(super) fn schedules(desk: &mut Desk<'_>, written: &[file::Schedule]) -> Schedules {
    let written = written.iter().enumerate();
    Schedules::new(written.map(|(at, written)| schedule(desk, &format!("schedule[{at}]"), written)).collect())
}

fn schedule(desk: &mut Desk<'_>, key: &str, written: &file::Schedule) -> Schedule {
    let at = |name: &str| format!("{key}.{name}");
    let flat = file::Repeats {
        days: written.days.clone(),
        start_time: written.start_time.clone(),
        end_time: written.end_time.clone(),
    };
    if written.repeats.is_some() && flat != file::Repeats::default() {
        desk.problem(key, "has days and times twice; keep them either in `repeats` or beside it");
    }
    let repeats = written.repeats.as_ref().unwrap_or(&flat);
    let zone = TimeZone::get(&written.time_zone).unwrap_or_else(|_| {
        let zone = &written.time_zone;
        desk.problem(&at("time_zone"), format!("`{zone}` is no time zone; write it as UTC or Europe/Berlin"));
        TimeZone::UTC
    });
    let days: Vec<_> = repeats
        .days
        .iter()
        .filter_map(|day| {
            let known = weekday(day);
            if known.is_none() {
                desk.problem(
                    &at("days"),
                    format!("`{day}` is no day; write MON, TUE, WED, THU, FRI, SAT or SUN"),
                );
            }
            known
        })
        .collect();
    let start = time(desk, &at("start_time"), &repeats.start_time);
    let end = time(desk, &at("end_time"), &repeats.end_time);
    if repeats.start_time.is_empty() != repeats.end_time.is_empty() {
        desk.problem(&at("end_time"), "and start_time belong together; give both, or neither for whole days");
    }
    let from = moment(desk, &at("starting_from"), &written.starting_from, false);
    let until = moment(desk, &at("ending_on"), &written.ending_on, true);
    if from.zip(until).is_some_and(|(from, until)| from >= until) {
        desk.problem(&at("ending_on"), "must be after starting_from");
    }
    let down = written.schedule_type == ScheduleType::Downtime;
    if written.force && !down {
        desk.problem(&at("force"), "is for a downtime; an uptime cuts nobody");
    }
    if written.priority == Some(0) {
        desk.problem(&at("priority"), "must be 1 (the highest) or more");
    }
    Schedule {
        down,
        force: written.force && down,
        zone,
        from,
        until,
        days,
        hours: start.zip(end),
        priority: written.priority.unwrap_or(NO_PRIORITY),
    }
}

fn weekday(text: &str) -> Option<Weekday> {
    let known = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let text = text.to_ascii_lowercase();
    let at = known.iter().position(|day| text.len() >= 3 && day.starts_with(&text))?;
    Weekday::from_monday_zero_offset(i8::try_from(at).ok()?).ok()
}

fn time(desk: &mut Desk<'_>, key: &str, text: &str) -> Option<Time> {
    match text {
        "" => None,
        "24:00" => Some(Time::midnight()),
        _ => {
            let time = text.parse();
            if time.is_err() {
                desk.problem(key, format!("`{text}` is no time; write it as 09:30"));
            }
            time.ok()
        }
    }
}

/// An end that is only a date includes that day.
fn moment(desk: &mut Desk<'_>, key: &str, text: &str, end: bool) -> Option<DateTime> {
    if text.is_empty() {
        return None;
    }
    let moment = match text.parse::<Date>() {
        Ok(date) if text.len() <= "2026-01-31".len() => {
            let date = if end { date.tomorrow().ok() } else { Some(date) };
            date.map(|date| date.to_datetime(Time::midnight()))
        }
        _ => text.parse().ok(),
    };
    if moment.is_none() {
        desk.problem(key, format!("`{text}` is no date; write it as 2026-01-31 or 2026-01-31 18:00:00"));
    }
    moment
}
