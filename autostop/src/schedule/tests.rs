//! Windows across nights, days and daylight saving.

use jiff::civil::{date, time};
use proptest::prelude::*;

use super::*;

const ZONES: [&str; 12] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "America/St_Johns",
    "Asia/Tehran",
    "Pacific/Chatham",
];

fn window(zone: &str, from: (i8, i8), to: (i8, i8)) -> Schedule {
    Schedule {
        down: false,
        force: false,
        zone: TimeZone::get(zone).unwrap(),
        from: None,
        until: None,
        days: Vec::new(),
        hours: Some((time(from.0, from.1, 0, 0), time(to.0, to.1, 0, 0))),
        priority: 1,
    }
}

/// What a schedule wants at wall clock times, and when it next wants something else.
fn check(schedules: &[Schedule], instants: &[(&str, Desired, &str)]) {
    let schedules = Schedules::new(schedules.to_vec());
    for (at, desired, next) in instants {
        let at: Timestamp = at.parse().unwrap();
        assert_eq!(schedules.desired(at), *desired, "{at}");
        let next = if next.is_empty() { None } else { Some(next.parse().unwrap()) };
        assert_eq!(schedules.next_change(at), next, "after {at}");
    }
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let nights = Schedule { days: vec![Weekday::Friday], ..window("Europe/Berlin", (22, 0), (6, 0)) };
    check(
        &[nights],
        &[
            ("2026-01-02T20:59:59Z", Desired::Nothing, "2026-01-02T21:00:00Z"),
            ("2026-01-02T21:00:00Z", Desired::Up, "2026-01-03T05:00:00Z"),
            ("2026-01-03T04:59:59Z", Desired::Up, "2026-01-03T05:00:00Z"),
            ("2026-01-03T05:00:00Z", Desired::Nothing, "2026-01-09T21:00:00Z"),
        ],
    );
}

#[test]
fn an_hour_left_out_is_left_out_and_an_hour_that_comes_twice_is_taken_twice() {
    // In Berlin the clock goes from 2:00 to 3:00 on 2026-03-29, and from 3:00 to 2:00 on 2026-10-25.
    check(
        &[window("Europe/Berlin", (2, 30), (4, 0))],
        &[
            ("2026-03-29T00:59:59Z", Desired::Nothing, "2026-03-29T01:00:00Z"),
            ("2026-03-29T01:00:00Z", Desired::Up, "2026-03-29T02:00:00Z"),
            ("2026-10-25T00:29:59Z", Desired::Nothing, "2026-10-25T00:30:00Z"),
            ("2026-10-25T00:30:00Z", Desired::Up, "2026-10-25T03:00:00Z"),
        ],
    );
    check(
        &[window("Europe/Berlin", (2, 15), (2, 45))],
        &[
            ("2026-03-28T01:50:00Z", Desired::Nothing, "2026-03-30T00:15:00Z"),
            ("2026-10-25T00:10:00Z", Desired::Nothing, "2026-10-25T00:15:00Z"),
            ("2026-10-25T00:50:00Z", Desired::Up, "2026-10-25T01:45:00Z"),
        ],
    );
}

#[test]
fn whole_days_bounds_and_priorities() {
    let week = Schedule {
        days: vec![Weekday::Saturday, Weekday::Sunday],
        hours: None,
        down: true,
        force: true,
        priority: 2,
        ..window("America/New_York", (0, 0), (0, 0))
    };
    let release = Schedule {
        from: Some(date(2026, 3, 7).at(12, 0, 0, 0)),
        until: Some(date(2026, 3, 8).at(12, 0, 0, 0)),
        hours: None,
        ..window("America/New_York", (0, 0), (0, 0))
    };
    let down = Desired::Down { force: true };
    check(
        &[week.clone(), release.clone()],
        &[
            ("2026-03-07T04:59:59Z", Desired::Nothing, "2026-03-07T05:00:00Z"),
            ("2026-03-07T05:00:00Z", down, "2026-03-07T17:00:00Z"),
            ("2026-03-07T17:00:00Z", Desired::Up, "2026-03-08T16:00:00Z"),
            ("2026-03-08T16:00:00Z", down, "2026-03-09T04:00:00Z"),
        ],
    );
    check(std::slice::from_ref(&release), &[("2026-03-09T00:00:00Z", Desired::Nothing, "")]);
    let same = Schedule { priority: 2, ..release };
    check(&[week, same], &[("2026-03-07T17:00:00Z", Desired::Up, "2026-03-08T16:00:00Z")]);
    check(&[], &[("2026-03-09T00:00:00Z", Desired::Nothing, "")]);
}

#[test]
fn all_the_time_never_changes() {
    let always = Schedule { hours: None, ..window("Asia/Tehran", (0, 0), (0, 0)) };
    let schedules = Schedules::new(vec![always]);
    let (mut at, mut asked) = ("2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap(), 0);
    while let Some(next) = schedules.next_change(at).filter(|_| asked < 20) {
        assert_eq!(schedules.desired(next), Desired::Up);
        assert!(next > at);
        (at, asked) = (next, asked + 1);
    }
}

fn schedule() -> impl Strategy<Value = Schedule> {
    let clock = (0_i8..24, prop_oneof![Just(0_i8), Just(15), Just(30), Just(45)]);
    let days = proptest::sample::subsequence(
        vec![Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Saturday, Weekday::Sunday],
        0..5,
    );
    (0..ZONES.len(), clock.clone(), clock, days, any::<bool>(), 1_u32..3).prop_map(
        |(zone, from, to, days, down, priority)| Schedule {
            down,
            days,
            priority,
            ..window(ZONES[zone], from, to)
        },
    )
}

proptest! {
    /// A quarter of an hour is the smallest step of anything here, also of the clocks' changes.
    #[test]
    fn nothing_changes_before_the_next_change(
        schedules in proptest::collection::vec(schedule(), 1..4), day in 0_i64..3_000, quarter in 0_i64..96,
    ) {
        let at = Timestamp::from_second(1_600_000_000 / 900 * 900 + day * 86_400 + quarter * 900).unwrap();
        let schedules = Schedules::new(schedules);
        let desired = schedules.desired(at);
        let next = schedules.next_change(at).unwrap();
        prop_assert!(next > at);
        let mut instant = at;
        while instant < next.min(at + jiff::SignedDuration::from_hours(400)) {
            prop_assert_eq!(schedules.desired(instant), desired, "{} before {}", instant, next);
            instant += jiff::SignedDuration::from_mins(15);
        }
    }

    /// Where no clock is changed nearby, a window is what the clock on the wall says.
    #[test]
    fn on_an_ordinary_day_it_goes_by_the_clock_on_the_wall(schedule in schedule(), second in 1_600_000_000_i64..1_860_000_000) {
        let at = Timestamp::from_second(second).unwrap();
        let near = |hours| (at + jiff::SignedDuration::from_hours(hours)).to_zoned(schedule.zone.clone()).offset();
        prop_assume!(near(-48) == near(48) && near(-24) == near(0) && near(0) == near(24));
        let wall = at.to_zoned(schedule.zone.clone()).datetime();
        let (from, to) = schedule.hours.unwrap();
        let on = |day: Date| schedule.days.is_empty() || schedule.days.contains(&day.weekday());
        let today = on(wall.date()) && from <= wall.time() && (wall.time() < to || to <= from);
        let yesterday = to <= from && on(wall.date().yesterday().unwrap()) && wall.time() < to;
        let wanted = if schedule.down { Desired::Down { force: false } } else { Desired::Up };
        let desired = Schedules::new(vec![schedule]).desired(at);
        prop_assert_eq!(desired, if today || yesterday { wanted } else { Desired::Nothing });
    }
}
