//! Pure. Times, lengths of time, sizes and sums as a reader wants them.

use std::time::Duration;

use jiff::Timestamp;

/// A length of time in its two largest units: `45 s`, `2 min 5 s`, `3 h`, `2 d 4 h`.
pub(super) fn span(seconds: u64) -> String {
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => two(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// An instant, in the forms a page needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct When {
    /// To the second, in UTC: `2026-11-20 04:00:00 UTC`.
    pub(super) exact: String,
    /// As RFC 3339 has it.
    pub(super) whole: String,
    /// `3 min 2 s ago`, `in 5 min`, `just now`.
    pub(super) told: String,
    /// How far it is away: `3 min`.
    pub(super) span: String,
}

/// An instant as seen from now.
pub(super) fn when(at: Timestamp, now: Timestamp) -> When {
    let past = now.duration_since(at).as_secs();
    let away = past.unsigned_abs();
    // Of minutes and more the seconds are noise, and would make every page change all the time.
    let span = span(if away < 60 { away } else { away / 60 * 60 });
    let told = match past {
        0 => "just now".to_owned(),
        1.. => format!("{span} ago"),
        _ => format!("in {span}"),
    };
    When { exact: at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(), whole: at.to_string(), told, span }
}

/// A size: `812 B`, `1.2 KiB`, `34 MiB`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are told")]
    let mut size = bytes as f64 / 1024.0;
    let mut units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size >= 999.5
        && let Some(next) = units.next()
    {
        size /= 1024.0;
        unit = next;
    }
    if size < 9.95 { format!("{size:.1} {unit}") } else { format!("{size:.0} {unit}") }
}

/// A sum of money or hours with two digits, its thousands apart: `12,345.67`.
pub(super) fn sum(amount: f64) -> String {
    let text = format!("{:.2}", amount.abs());
    let (whole, rest) = text.split_once('.').unwrap_or((&text, "00"));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if amount < 0.0 && text != "0.00" { "−" } else { "" };
    format!("{sign}{grouped}.{rest}")
}

/// Seconds as hours: `12.3 h`.
pub(super) fn hours(seconds: f64) -> String {
    format!("{:.1} h", seconds / 3600.0)
}

/// A number with its noun: `1 rule`, `2 rules`.
pub(super) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Idle times as they are written: `15 min`, `90 s`.
pub(super) fn minutes(minutes: f64) -> String {
    span(Duration::try_from_secs_f64(minutes * 60.0).unwrap_or_default().as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_have_two_units() {
        let told = [0, 59, 60, 125, 3600, 3661, 86_400, 90_000].map(span);
        assert_eq!(told, ["0 s", "59 s", "1 min", "2 min 5 s", "1 h", "1 h 1 min", "1 d", "1 d 1 h"]);
    }

    #[test]
    fn instants_are_told_from_now() {
        let now: Timestamp = "2026-11-20T04:00:00.5Z".parse().unwrap();
        let check = |at: &str, told: &str| assert_eq!(when(at.parse().unwrap(), now).told, told);
        check("2026-11-20T04:00:00Z", "just now");
        check("2026-11-20T03:59:58Z", "2 s ago");
        check("2026-11-20T03:57:28Z", "2 min ago");
        check("2026-11-20T04:10:01Z", "in 10 min");
        check("2026-11-19T03:00:00Z", "1 d 1 h ago");
        let told = when("2026-11-20T03:59:58Z".parse().unwrap(), now);
        assert_eq!(
            (told.exact.as_str(), told.whole.as_str()),
            ("2026-11-20 03:59:58 UTC", "2026-11-20T03:59:58Z")
        );
    }

    #[test]
    fn sizes_and_sums_are_short() {
        assert_eq!(
            [0, 1023, 1024, 10_700, 1 << 20].map(size),
            ["0 B", "1023 B", "1.0 KiB", "10 KiB", "1.0 MiB"]
        );
        assert_eq!(size(u64::MAX), "16 EiB");
        assert_eq!(
            [0.0, 0.004, 1234.5, -0.001, -1_234_567.891].map(sum),
            ["0.00", "0.00", "1,234.50", "0.00", "−1,234,567.89"]
        );
        assert_eq!(
            (hours(5400.0), minutes(15.0), minutes(1.5)),
            ("1.5 h".to_owned(), "15 min".to_owned(), "1 min 30 s".to_owned())
        );
        assert_eq!((counted(1, "rule"), counted(0, "rule")), ("1 rule".to_owned(), "0 rules".to_owned()));
    }
}
