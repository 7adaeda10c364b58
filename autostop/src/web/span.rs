//! Pure. The time that somebody asks about: from, to, and how to split it.

use jiff::{SignedDuration, Timestamp, ToSpan as _, civil::Date, tz::TimeZone};
use serde::Deserialize;

use crate::ledger::{GroupBy, Period};

/// Nobody adds up more at once.
const MOST: SignedDuration = SignedDuration::from_hours(24 * 366 * 10);

/// As it is told in the query of a URL.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Span {
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    #[serde(default)]
    pub(super) group_by: GroupBy,
    pub(super) time_zone: Option<String>,
}

impl Span {
    /// The last thirty days, unless it says otherwise. A day that is told as the end is included by the
    /// instant at which it begins. Told empty is not told.
    ///
    /// # Errors
    /// In words for a person.
    pub(super) fn period(&self, now: Timestamp) -> Result<Period, String> {
        let told = |told: &Option<String>| told.clone().filter(|told| !told.is_empty());
        let zone = match told(&self.time_zone) {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(&name).map_err(|_| format!("`{name}` is no time zone"))?,
        };
        let day = |told: Option<String>, default: Timestamp| match told {
            None => Ok(default),
            Some(told) => instant(&told, &zone)
                .ok_or_else(|| format!("`{told}` is no day such as 2026-11-20, and no RFC 3339 time")),
        };
        let month = now.checked_sub(720.hours()).unwrap_or(now);
        let (from, to) = (day(told(&self.from), month)?, day(told(&self.to), now)?.min(now));
        if from > to {
            return Err("from is after to".to_owned());
        }
        if to.duration_since(from) > MOST {
            return Err("from is more than ten years before to; ask for less at once".to_owned());
        }
        Ok(Period { from, to, group_by: self.group_by, zone })
    }
}

fn instant(told: &str, zone: &TimeZone) -> Option<Timestamp> {
    if let Ok(at) = told.parse() {
        return Some(at);
    }
    Some(told.parse::<Date>().ok()?.to_zoned(zone.clone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_the_last_thirty_days_or_what_is_told() {
        let now: Timestamp = "2026-11-20T04:00:00Z".parse().unwrap();
        let check = |from: &str, to: &str, expected: Result<(&str, &str), &str>| {
            let span = Span { from: Some(from.to_owned()), to: Some(to.to_owned()), ..Span::default() };
            let told = span.period(now).map(|period| (period.from.to_string(), period.to.to_string()));
            let expected = expected.map(|(from, to)| (from.to_owned(), to.to_owned())).map_err(str::to_owned);
            assert_eq!(told, expected, "{from} {to}");
        };
        check("", "", Ok(("2026-10-21T04:00:00Z", "2026-11-20T04:00:00Z")));
        check("2026-11-01", "2026-11-02T03:00:00Z", Ok(("2026-11-01T00:00:00Z", "2026-11-02T03:00:00Z")));
        check("2026-11-01", "2030-01-01", Ok(("2026-11-01T00:00:00Z", "2026-11-20T04:00:00Z")));
        check("2026-11-02", "2026-11-01", Err("from is after to"));
        check("1990-01-01", "", Err("from is more than ten years before to; ask for less at once"));
        check("x", "", Err("`x` is no day such as 2026-11-20, and no RFC 3339 time"));
    }
}
