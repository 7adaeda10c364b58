//! Pure. Which exchanges somebody asks for, and whether a row is one of them.

use std::ops::RangeInclusive;

use arrow::array::{Array as _, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampNanosecondType};
use memchr::memmem;

/// What to look for; `None` is anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not before this `ts`.
    pub since_ns: Option<i64>,
    /// Before this `ts`.
    pub until_ns: Option<i64>,
    /// The service.
    pub service: Option<String>,
    /// The proxy id.
    pub instance: Option<String>,
    /// The protocol, by its name.
    pub protocol: Option<String>,
    /// The method, in its own case.
    pub method: Option<String>,
    /// What the path begins with, or is.
    pub path: Option<PathPattern>,
    /// The status codes.
    pub status: Option<RangeInclusive<i32>>,
    /// At least this duration.
    pub min_duration_ns: Option<i64>,
    /// Bytes that stand in a head or a body, in their own case.
    pub text: Option<String>,
}

/// A path to look for: what has no `*` is what the path begins with; with one, `*` stands for anything, also for
/// nothing and for slashes, and the whole path must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// Any text is a pattern.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the path fits.
    pub fn fits(&self, path: &str) -> bool {
        let Some((start, rest)) = self.0.split_once('*') else { return path.starts_with(&self.0) };
        let Some(mut path) = path.strip_prefix(start) else { return false };
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in middle.split('*').filter(|part| !part.is_empty()) {
            let Some(at) = path.find(part) else { return false };
            path = path.split_at(at + part.len()).1;
        }
        path.ends_with(end)
    }
}

/// `200`, `5xx`, `400-499` or `>=500` as the codes it stands for.
pub fn parse_status(text: &str) -> Option<RangeInclusive<i32>> {
    let code = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<i32>().ok()).flatten()
    };
    if let Some(low) = text.strip_prefix(">=") {
        return Some(code(low)?..=999);
    }
    if let Some((low, high)) = text.split_once('-') {
        return Some(code(low)?..=code(high)?);
    }
    if let Some(class) = text.strip_suffix("xx") {
        let class = class.parse::<i32>().ok().filter(|class| (1..=9).contains(class) && text.len() == 3)?;
        return Some(class * 100..=class * 100 + 99);
    }
    code(text).map(|code| code..=code)
}

impl Filter {
    /// The columns besides `ts` that [`Filter::rows`] looks at.
    pub fn columns(&self) -> Vec<&'static str> {
        [
            (self.service.is_some(), "service"),
            (self.instance.is_some(), "instance"),
            (self.protocol.is_some(), "protocol"),
            (self.method.is_some(), "method"),
            (self.path.is_some(), "path"),
            (self.status.is_some(), "status"),
            (self.min_duration_ns.is_some(), "duration_ns"),
        ]
        .into_iter()
        .filter_map(|(wanted, name)| wanted.then_some(name))
        .collect()
    }

    /// The columns that [`Filter::text_rows`] looks at.
    pub const TEXT_COLUMNS: [&'static str; 4] =
        ["request_head", "request_body", "response_head", "response_body"];

    /// Whether any row between these times can fit.
    pub fn overlaps(&self, min_ns: i64, max_ns: i64) -> bool {
        self.since_ns.is_none_or(|since| max_ns >= since) && self.until_ns.is_none_or(|until| min_ns < until)
    }

    /// The rows that fit, but for the text; in order. A batch without a column that is asked for has none.
    pub fn rows(&self, batch: &RecordBatch) -> Vec<usize> {
        self.try_rows(batch).unwrap_or_default()
    }

    fn try_rows(&self, batch: &RecordBatch) -> Option<Vec<usize>> {
        let ts = batch.column_by_name("ts")?.as_primitive_opt::<TimestampNanosecondType>()?.values();
        let mut rows: Vec<usize> = match (self.since_ns, self.until_ns) {
            (None, None) => (0..batch.num_rows()).collect(),
            _ => (ts.iter().enumerate())
                .filter(|(_, ts)| self.overlaps(**ts, **ts))
                .map(|(row, _)| row)
                .collect(),
        };
        if let Some(wanted) = &self.status {
            let column = batch.column_by_name("status")?.as_primitive_opt::<Int32Type>()?;
            rows.retain(|row| column.is_valid(*row) && wanted.contains(&column.value(*row)));
        }
        if let Some(least) = self.min_duration_ns {
            let column = batch.column_by_name("duration_ns")?.as_primitive_opt::<Int64Type>()?;
            rows.retain(|row| column.value(*row) >= least);
        }
        let equal = [
            ("service", &self.service),
            ("instance", &self.instance),
            ("protocol", &self.protocol),
            ("method", &self.method),
        ];
        for (name, wanted) in equal {
            if let Some(wanted) = wanted {
                keep_texts(batch, name, &mut rows, |text| text == wanted)?;
            }
        }
        if let Some(pattern) = &self.path {
            keep_texts(batch, "path", &mut rows, |path| pattern.fits(path))?;
        }
        Some(rows)
    }

    /// Of these rows, those that have the text somewhere.
    pub fn text_rows(&self, batch: &RecordBatch, rows: Vec<usize>) -> Vec<usize> {
        let Some(text) = &self.text else { return rows };
        let finder = memmem::Finder::new(text.as_bytes());
        let columns: Vec<_> = Self::TEXT_COLUMNS
            .iter()
            .filter_map(|name| batch.column_by_name(name)?.as_binary_opt::<i32>())
            .collect();
        let has = |row: usize| {
            columns.iter().any(|column| column.is_valid(row) && finder.find(column.value(row)).is_some())
        };
        rows.into_iter().filter(|row| has(*row)).collect()
    }
}

/// Each different text of a dictionary is looked at once.
fn keep_texts(
    batch: &RecordBatch,
    name: &str,
    rows: &mut Vec<usize>,
    fits: impl Fn(&str) -> bool,
) -> Option<()> {
    let column = batch.column_by_name(name)?;
    if let Some(texts) = column.as_string_opt::<i32>() {
        rows.retain(|row| texts.is_valid(*row) && fits(texts.value(*row)));
        return Some(());
    }
    let keyed = column.as_dictionary_opt::<Int32Type>()?;
    let texts = keyed.values().as_string_opt::<i32>()?;
    let known: Vec<bool> = texts.iter().map(|text| text.is_some_and(&fits)).collect();
    rows.retain(|row| keyed.key(*row).and_then(|key| known.get(key)).copied().unwrap_or(false));
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_prefix_or_a_pattern() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(PathPattern::new(pattern).fits(path), expected, "{pattern} {path}");
        };
        check("/api", "/api/users", true);
        check("/api", "/ap", false);
        check("", "/", true);
        check("*", "/a", true);
        check("/api/*/1", "/api/users/1", true);
        check("/api/*/1", "/api/a/b/1", true);
        check("/api/*/1", "/api/users/12", false);
        check("/a*a", "/a", false);
        check("/a*a", "/aa", true);
        check("*b*d*", "abcd", true);
        check("*b*d*", "adcb", false);
        check("*users", "/api/users", true);
    }

    #[test]
    fn a_status_is_a_code_a_class_or_a_range() {
        assert_eq!(parse_status("200"), Some(200..=200));
        assert_eq!(parse_status("5xx"), Some(500..=599));
        assert_eq!(parse_status("400-499"), Some(400..=499));
        assert_eq!(parse_status(">=500"), Some(500..=999));
        for wrong in ["", "x", "20", "2000", "20x", "-", "xx", "0xx", ">=5", "400-", "é00", "200-abc", "+20"]
        {
            assert_eq!(parse_status(wrong), None, "{wrong}");
        }
    }
}
