//! What counts, told as a client would live it.

use proptest::prelude::*;

use super::*;

const FLOOR: Floor = Floor { bytes: 256, both_speak: true };

/// Both sides speak, 30 ms apart; whether any of it counted.
fn exchange(meter: &mut Meter, now_ms: u64, up: usize, down: usize) -> bool {
    let asked = meter.bytes(now_ms, Side::Client, up);
    let answered = meter.bytes(now_ms + 30, Side::Server, down);
    asked || answered
}

#[test]
fn a_connection_that_keeps_itself_alive_stops_counting_at_the_fourth_time() {
    let mut meter = Meter::new(FLOOR);
    let counted: Vec<_> = (1..=8).map(|time| exchange(&mut meter, time * 15_000, 68, 44)).collect();
    assert_eq!(counted, [true, true, true, false, false, false, false, false]);
    assert_eq!(meter.last_counted_ms(), Some(45_030));
}

#[test]
fn a_clock_that_jitters_a_little_is_still_regular() {
    let mut meter = Meter::new(FLOOR);
    let times = [15_000, 30_100, 44_900, 60_300, 75_000, 90_900];
    let counted: Vec<_> = times.iter().map(|now| exchange(&mut meter, *now, 68, 44)).collect();
    assert_eq!(counted.last(), Some(&false));
}

#[test]
fn typing_counts_though_every_key_is_as_small_as_the_next() {
    let mut meter = Meter::new(FLOOR);
    let mut now = 0;
    for pause in [1_300, 5_000, 1_700, 9_000, 2_900, 1_100, 30_000, 4_000, 2_000, 6_500, 1_200] {
        now += pause;
        assert!(exchange(&mut meter, now, 36, 36), "at {now}");
    }
}

#[test]
fn a_key_between_two_signs_of_life_counts_and_the_signs_do_not() {
    let mut meter = Meter::new(FLOOR);
    for time in 1..=6 {
        exchange(&mut meter, time * 15_000, 68, 44);
    }
    assert!(exchange(&mut meter, 97_000, 36, 36));
    assert!(!exchange(&mut meter, 105_000, 68, 44));
}

#[test]
fn two_sides_that_each_keep_the_connection_alive_are_both_known() {
    let mut meter = Meter::new(FLOOR);
    let mut last = true;
    for second in 1..=300 {
        if second % 15 == 0 {
            last = exchange(&mut meter, second * 1_000, 68, 44);
        }
        if second % 20 == 7 {
            last = exchange(&mut meter, second * 1_000, 52, 60);
        }
    }
    assert!(!last);
}

#[test]
fn a_download_counts_from_its_first_byte_too_many() {
    let mut meter = Meter::new(FLOOR);
    for time in 1..=6 {
        exchange(&mut meter, time * 15_000, 68, 44);
    }
    assert!(!meter.bytes(105_000, Side::Client, 68));
    assert!(meter.bytes(105_010, Side::Server, 1_400));
}

#[test]
fn large_exchanges_count_however_regular_they_are() {
    let mut meter = Meter::new(FLOOR);
    assert!((1..=20).all(|time| exchange(&mut meter, time * 10_000, 300, 9_000)));
}

#[test]
fn what_only_one_side_says_counts_where_both_have_to_speak() {
    let mut meter = Meter::new(FLOOR);
    meter.bytes(0, Side::Client, 1_000);
    assert!((1..=20).all(|time| meter.bytes(time * 10_000, Side::Server, 40)));
    let mut meter = Meter::new(Floor { both_speak: false, ..FLOOR });
    meter.bytes(0, Side::Client, 1_000);
    assert!((1..=20).map(|time| meter.bytes(time * 10_000, Side::Server, 40)).any(|counts| !counts));
}

#[test]
fn a_greeting_that_nobody_answers_counts_for_nothing() {
    let mut meter = Meter::new(FLOOR);
    assert!(!meter.bytes(0, Side::Server, 40));
    assert!(!meter.bytes(5_000, Side::Server, 40));
    assert_eq!(meter.last_counted_ms(), None);
    assert!(meter.bytes(6_000, Side::Client, 1));
}

#[test]
fn a_poll_every_second_counts() {
    let mut meter = Meter::new(FLOOR);
    assert!((1..=50).all(|time| exchange(&mut meter, time * 1_500, 14, 60)));
}

proptest! {
    #[test]
    fn whatever_comes_after_a_long_enough_silence_of_the_habit_counts(
        period in 3_000u64..60_000,
        late in 2u64..5,
    ) {
        let mut meter = Meter::new(FLOOR);
        for time in 1..=6 {
            exchange(&mut meter, time * period, 68, 44);
        }
        prop_assert!(exchange(&mut meter, 6 * period + period * late, 68, 44));
    }

    #[test]
    fn no_order_of_events_panics(events in prop::collection::vec((any::<u32>(), any::<bool>(), any::<u16>()), 0..200)) {
        let mut meter = Meter::new(FLOOR);
        for (now, up, length) in events {
            meter.bytes(now.into(), if up { Side::Client } else { Side::Server }, length.into());
        }
    }
}
