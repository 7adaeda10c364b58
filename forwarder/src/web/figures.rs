//! Pure. Durations, sizes, counts and times as a reader wants them.

use jiff::Timestamp;

/// A duration with three digits or so: `640 µs`, `12.3 ms`, `1.53 s`, `2 min 5 s`.
pub(super) fn duration(ns: i64) -> String {
    let sign = if ns < 0 { "−" } else { "" };
    let ns = ns.unsigned_abs();
    #[expect(clippy::cast_precision_loss, reason = "three digits are told")]
    let of = |unit: u64| ns as f64 / unit as f64;
    let seconds = ns / 1_000_000_000;
    let text = match ns {
        0 => "0".to_owned(),
        1..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", ns / 1_000),
        1_000_000..10_000_000 => format!("{:.2} ms", of(1_000_000)),
        10_000_000..100_000_000 => format!("{:.1} ms", of(1_000_000)),
        100_000_000..1_000_000_000 => format!("{} ms", ns / 1_000_000),
        1_000_000_000..10_000_000_000 => format!("{:.2} s", of(1_000_000_000)),
        10_000_000_000..60_000_000_000 => format!("{:.1} s", of(1_000_000_000)),
        60_000_000_000..3_600_000_000_000 => format!("{} min {} s", seconds / 60, seconds % 60),
        3_600_000_000_000..86_400_000_000_000 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    };
    format!("{sign}{text}")
}

/// A size: `812 B`, `1.2 KiB`, `3.4 MiB`.
pub(super) fn size(bytes: i64) -> String {
    let Ok(bytes) = u64::try_from(bytes) else { return "0 B".to_owned() };
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are told")]
    let mut size = bytes as f64 / 1024.0;
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < units.len() {
        size /= 1024.0;
        unit += 1;
    }
    let unit = units.get(unit).copied().unwrap_or_default();
    if size < 9.95 { format!("{size:.1} {unit}") } else { format!("{size:.0} {unit}") }
}

/// A size that is told with its exact number where the short form loses digits.
pub(super) fn exact_size(bytes: i64) -> String {
    match bytes {
        ..1024 => size(bytes),
        _ => format!("{} ({} bytes)", size(bytes), count(u64::try_from(bytes).unwrap_or_default())),
    }
}

/// A number with its thousands apart: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with its noun: `1 exchange`, `2 exchanges`.
pub(super) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// A moment, in the forms a page needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// All of it, as RFC 3339 has it.
    pub(super) whole: String,
    /// `2026-11-20`.
    pub(super) date: String,
    /// `04:00:00.123`.
    pub(super) clock: String,
}

/// A time in nanoseconds since the Unix epoch; empty when it is none.
pub(super) fn moment(ns: i64) -> Moment {
    let Ok(time) = Timestamp::from_nanosecond(i128::from(ns)) else { return Moment::default() };
    Moment {
        whole: time.to_string(),
        date: time.strftime("%Y-%m-%d").to_string(),
        clock: time.strftime("%H:%M:%S%.3f").to_string(),
    }
}

/// How long ago a time in milliseconds since the Unix epoch is: `3.20 s ago`.
pub(super) fn ago(ms: u64, now: Timestamp) -> String {
    let past = now.as_millisecond().saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)).max(0);
    match past {
        ..1000 => "just now".to_owned(),
        1000..60_000 => format!("{} s ago", past / 1000),
        _ => format!("{} ago", duration(past.saturating_mul(1_000_000))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_about_three_digits() {
        let check = |ns: i64, expected: &str| assert_eq!(duration(ns), expected);
        check(0, "0");
        check(999, "999 ns");
        check(64_300, "64 µs");
        check(1_530_000, "1.53 ms");
        check(12_345_678, "12.3 ms");
        check(640_000_000, "640 ms");
        check(1_534_000_000, "1.53 s");
        check(59_940_000_000, "59.9 s");
        check(125_000_000_000, "2 min 5 s");
        check(7_260_000_000_000, "2 h 1 min");
        check(90_000_000_000_000, "1 d 1 h");
        check(-1_530_000, "−1.53 ms");
        check(i64::MIN, "−106751 d 23 h");
    }

    #[test]
    fn sizes_have_a_unit() {
        let check = |bytes: i64, expected: &str| assert_eq!(size(bytes), expected);
        check(-1, "0 B");
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.0 KiB");
        check(10_700, "10 KiB");
        check(1 << 20, "1.0 MiB");
        check((1 << 20) - 1, "1.0 MiB");
        check(i64::MAX, "8.0 EiB");
        assert_eq!(exact_size(1_048_577), "1.0 MiB (1,048,577 bytes)");
    }

    #[test]
    fn numbers_are_grouped_and_counted() {
        assert_eq!([count(0), count(999), count(1000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([counted(1, "row"), counted(2000, "row")], ["1 row", "2,000 rows"]);
    }

    #[test]
    fn times_are_told_to_the_millisecond_and_in_whole() {
        let time = moment(1_795_147_200_001_002_003);
        assert_eq!((time.date.as_str(), time.clock.as_str()), ("2026-11-20", "04:00:00.001"));
        assert_eq!(time.whole, "2026-11-20T04:00:00.001002003Z");
        let now = "2026-11-20T04:00:00Z".parse().unwrap();
        assert_eq!(ago(1_795_147_200_500, now), "just now");
        assert_eq!(ago(1_795_147_200_000 - 12_500, now), "12 s ago");
        assert_eq!(ago(1_795_147_200_000 - 125_000, now), "2 min 5 s ago");
    }
}
