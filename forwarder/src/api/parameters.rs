//! Pure. The parameters of a request, each with what is wrong with it and how to mend it.

use jiff::Timestamp;

use crate::export::Format;
use crate::query::filter::{PathPattern, parse_status};
use crate::query::pairs::MAX_LIMIT;
use crate::query::{Cursor, Filter};

/// How many exchanges a page holds unless told otherwise.
const DEFAULT_LIMIT: usize = 100;

/// A parameter that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{mend}")]
pub struct Wrong {
    /// Its name.
    pub parameter: String,
    /// What it must be.
    pub mend: String,
}

/// What was asked, until each part of it is taken.
#[derive(Debug)]
pub struct Parameters {
    told: Vec<(String, String)>,
    known: Vec<&'static str>,
    now: Timestamp,
}

fn wrong(parameter: &str, mend: String) -> Wrong {
    Wrong { parameter: parameter.to_owned(), mend }
}

impl Parameters {
    /// Reads the query of a URL; times can be told from `now`.
    pub fn read(query: Option<&str>, now: Timestamp) -> Self {
        let told = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned();
        // What is left empty in a form is not asked for.
        Self { told: told.filter(|(_, value)| !value.is_empty()).collect(), known: Vec::new(), now }
    }

    fn take(&mut self, name: &'static str) -> Result<Option<String>, Wrong> {
        self.known.push(name);
        let (found, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.told).into_iter().partition(|(told, _)| told == name);
        self.told = rest;
        if found.len() > 1 {
            return Err(wrong(name, format!("{name} must be given once")));
        }
        Ok(found.into_iter().next().map(|(_, value)| value))
    }

    /// A time: RFC 3339, a date, or how long ago (`15m`, `2h`, `7days`).
    ///
    /// # Errors
    /// [`Wrong`] when it is none of them.
    pub fn time(&mut self, name: &'static str) -> Result<Option<i64>, Wrong> {
        let Some(told) = self.take(name)? else { return Ok(None) };
        let time = told.parse::<Timestamp>().ok().or_else(|| {
            let date = told.parse::<jiff::civil::Date>().ok()?;
            Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
        });
        let ago = || {
            let ago = jiff::SignedDuration::try_from(humantime::parse_duration(&told).ok()?).ok()?;
            self.now.checked_sub(ago).ok()
        };
        let time = time.or_else(ago).and_then(|time| i64::try_from(time.as_nanosecond()).ok());
        let mend =
            || format!("{name} must be a time such as 2026-11-20T04:00:00Z, or how long ago such as 15m");
        time.map(Some).ok_or_else(|| wrong(name, mend()))
    }

    /// Which exchanges are asked for.
    ///
    /// # Errors
    /// [`Wrong`] for the first parameter that makes no sense.
    pub fn filter(&mut self) -> Result<Filter, Wrong> {
        let mut filter = Filter {
            since_ns: self.time("since")?,
            until_ns: self.time("until")?,
            service: self.take("service")?,
            instance: self.take("instance")?,
            protocol: self.take("protocol")?,
            method: self.take("method")?,
            path: self.take("path")?.map(PathPattern::new),
            text: self.take("text")?,
            ..Filter::default()
        };
        if let Some(name) = &filter.protocol
            && common::exchange::Protocol::from_name(name).is_none()
        {
            let names: Vec<_> =
                common::exchange::Protocol::ALL.iter().map(|protocol| protocol.as_str()).collect();
            return Err(wrong("protocol", format!("protocol must be one of {}", names.join(", "))));
        }
        if let Some(told) = self.take("status")? {
            let mend = "status must be such as 200, 5xx, 400-499 or >=500";
            filter.status = Some(parse_status(&told).ok_or_else(|| wrong("status", mend.to_owned()))?);
        }
        if let Some(told) = self.take("min_duration_ms")? {
            let millis = told.parse::<f64>().ok().filter(|millis| (0.0..=1e12).contains(millis));
            let mend = "min_duration_ms must be a number of milliseconds such as 250";
            let millis = millis.ok_or_else(|| wrong("min_duration_ms", mend.to_owned()))?;
            #[expect(clippy::cast_possible_truncation, reason = "at most 1e18")]
            let least = (millis * 1e6) as i64;
            filter.min_duration_ns = Some(least);
        }
        Ok(filter)
    }

    /// How many exchanges a page may hold.
    ///
    /// # Errors
    /// [`Wrong`] when it is no number within the bounds.
    pub fn limit(&mut self) -> Result<usize, Wrong> {
        let Some(told) = self.take("limit")? else { return Ok(DEFAULT_LIMIT) };
        let limit = told.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        limit.ok_or_else(|| wrong("limit", format!("limit must be a number from 1 to {MAX_LIMIT}")))
    }

    /// Where the page begins.
    ///
    /// # Errors
    /// [`Wrong`] when it is no cursor.
    pub fn cursor(&mut self) -> Result<Option<Cursor>, Wrong> {
        let Some(told) = self.take("cursor")? else { return Ok(None) };
        let mend = "cursor must be what `next` of the page before was";
        Cursor::parse(&told).map(Some).ok_or_else(|| wrong("cursor", mend.to_owned()))
    }

    /// The form to write in.
    ///
    /// # Errors
    /// [`Wrong`] when there is none of this name.
    pub fn format(&mut self) -> Result<Option<Format>, Wrong> {
        let Some(told) = self.take("format")? else { return Ok(None) };
        Format::from_name(&told)
            .map(Some)
            .ok_or_else(|| wrong("format", "format must be jsonl or har".to_owned()))
    }

    /// Nothing else may have been asked.
    ///
    /// # Errors
    /// [`Wrong`] with the first parameter that nobody took.
    pub fn end(self) -> Result<(), Wrong> {
        match self.told.into_iter().next() {
            None => Ok(()),
            Some((name, _)) => {
                let mend = format!("there is no such parameter; there are {}", self.known.join(", "));
                Err(Wrong { parameter: name, mend })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<(Filter, usize), Wrong> {
        let mut parameters = Parameters::read(Some(query), "2026-11-20T04:00:00Z".parse().unwrap());
        let filter = parameters.filter()?;
        let limit = parameters.limit()?;
        parameters.cursor()?;
        parameters.end()?;
        Ok((filter, limit))
    }

    #[test]
    fn parameters_become_a_filter() {
        let (filter, limit) =
            read("since=15m&until=2026-11-20&status=5xx&min_duration_ms=1.5&path=%2Fa*&method=&limit=7")
                .unwrap();
        assert_eq!(filter.since_ns, Some(1_795_147_200_000_000_000 - 900_000_000_000));
        assert_eq!(filter.until_ns, Some(1_795_132_800_000_000_000));
        assert_eq!((filter.status, filter.min_duration_ns), (Some(500..=599), Some(1_500_000)));
        assert_eq!((filter.path, filter.method, limit), (Some(PathPattern::new("/a*")), None, 7));
    }

    #[test]
    fn a_wrong_parameter_is_named_with_how_to_mend_it() {
        let check = |query: &str, parameter: &str| {
            assert_eq!(read(query).unwrap_err().parameter, parameter, "{query}");
        };
        check("since=yesterday", "since");
        check("until=99999999999999999d", "until");
        check("status=abc", "status");
        check("min_duration_ms=-1", "min_duration_ms");
        check("min_duration_ms=NaN", "min_duration_ms");
        check("limit=0", "limit");
        check("limit=1001", "limit");
        check("cursor=x", "cursor");
        check("protocol=smtp", "protocol");
        check("metod=GET", "metod");
        check("method=GET&method=POST", "method");
    }
}
