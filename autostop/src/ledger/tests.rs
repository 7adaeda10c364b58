//! Seconds and savings, to the second, over days that are not 24 hours long.

use proptest::prelude::*;

use super::*;
use crate::machine::Why;

fn changes(written: &[(&str, State)]) -> Vec<Change> {
    let mut from = State::Created;
    written
        .iter()
        .map(|(at, to)| {
            let why = if *to == State::WarmingUp { Why::Traffic("a".to_owned()) } else { Why::Idle };
            let change = Change { at: at.parse().unwrap(), from, to: *to, why, dry_run: false };
            from = *to;
            change
        })
        .collect()
}

fn period(from: &str, to: &str, group_by: GroupBy, zone: &str) -> Period {
    Period {
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
        group_by,
        zone: TimeZone::get(zone).unwrap(),
    }
}

#[test]
fn each_second_is_counted_once_on_the_day_it_belongs_to() {
    let changes = changes(&[
        ("2026-03-28T22:00:00Z", State::Down),
        ("2026-03-28T23:30:00Z", State::WarmingUp),
        ("2026-03-28T23:31:30Z", State::Active),
        ("2026-03-29T00:30:00Z", State::CoolingDown),
        ("2026-03-29T00:30:30Z", State::Down),
    ]);
    let account = Account { changes: &changes, price_per_hour: Some(3.6) };
    // The 29th has 23 hours in Berlin.
    let days = period("2026-03-27T23:00:00Z", "2026-03-29T22:00:00Z", GroupBy::Day, "Europe/Berlin");
    let answer = savings(&[account], &days);
    assert_eq!(answer.days, ["2026-03-28", "2026-03-29"]);
    assert_eq!(answer.running_seconds, [0.0, 3630.0]);
    assert_eq!(answer.stopped_seconds, [3600.0, 82_800.0 - 3630.0]);
    assert!((answer.total_actual_cost - 3.63).abs() < 1e-9);
    assert!((answer.total_potential_cost - 86.4).abs() < 1e-9);
    assert!((answer.savings_percent.unwrap() - 100.0 * (1.0 - 3.63 / 86.4)).abs() < 1e-9);
    assert_eq!(answer.wakes, [("traffic", 1)].into());
    assert_eq!(answer.stops, [("idle", 1)].into());
    assert_eq!(typical_wake(&changes), Some(Duration::from_secs(90)));
}

#[test]
fn weeks_begin_on_monday_and_months_on_the_first() {
    let groups = |group_by| {
        savings(&[], &period("2026-01-28T12:00:00Z", "2026-02-10T12:00:00Z", group_by, "UTC")).days
    };
    assert_eq!(groups(GroupBy::Week), ["2026-01-26", "2026-02-02", "2026-02-09"]);
    assert_eq!(groups(GroupBy::Month), ["2026-01-01", "2026-02-01"]);
    assert_eq!(groups(GroupBy::Day).len(), 14);
}

#[test]
fn nobody_knows_counts_as_running_and_disabled_does_not_count() {
    let changes = changes(&[
        ("2026-01-01T01:00:00Z", State::Errored),
        ("2026-01-01T02:00:00Z", State::Disabled),
        ("2026-01-01T04:00:00Z", State::Down),
    ]);
    let day = period("2026-01-01T00:00:00Z", "2026-01-01T05:00:00Z", GroupBy::Day, "UTC");
    let answer = savings(&[Account { changes: &changes, price_per_hour: None }], &day);
    assert_eq!((&*answer.running_seconds, &*answer.stopped_seconds), (&[3600.0][..], &[3600.0][..]));
    assert_eq!(answer.savings_percent, Some(50.0), "by time, without a price");
    assert_eq!(savings(&[], &day).savings_percent, None);
}

proptest! {
    #[test]
    fn however_it_is_split_it_is_the_same_and_never_more_than_there_was(
        steps in proptest::collection::vec((-5_000_i64..200_000, 0_usize..8), 1..30), zone in 0_usize..4,
    ) {
        let states = [State::Down, State::WarmingUp, State::Active, State::CoolingDown, State::Errored,
            State::Disabled, State::ScheduledDowntime, State::Enabled];
        let mut at = 1_770_000_000;
        let mut written = Vec::new();
        for (after, state) in steps {
            at += after;
            written.push(Change {
                at: Timestamp::from_second(at).unwrap(),
                from: State::Created, to: states[state], why: Why::Found, dry_run: false,
            });
        }
        let zone = ["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"][zone];
        let (from, to) = ("2026-02-01T10:20:30Z", "2026-04-20T01:02:03Z");
        let whole = spent(&written, from.parse().unwrap(), to.parse().unwrap());
        let length = to.parse::<Timestamp>().unwrap().duration_since(from.parse().unwrap());
        prop_assert!(whole.running + whole.stopped <= length);
        for group_by in [GroupBy::Day, GroupBy::Week, GroupBy::Month] {
            let mut sum = Spent::default();
            let mut last = from.parse::<Timestamp>().unwrap();
            for (_, begin, end) in buckets(&period(from, to, group_by, zone)) {
                prop_assert_eq!(begin, last, "no gap and no overlap");
                let part = spent(&written, begin, end);
                sum.running += part.running;
                sum.stopped += part.stopped;
                last = end;
            }
            prop_assert_eq!(last, to.parse::<Timestamp>().unwrap());
            prop_assert_eq!(sum, whole);
        }
    }
}
