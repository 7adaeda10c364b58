//! Pure. The filter of a page: what was asked, what of it makes sense, and what to mend, field by field.

use jiff::Timestamp;

use crate::api::parameters::{Parameters, Wrong};
use crate::query::{Cursor, Filter};

/// The fields of the form, in order: name, label, an example, and the list of suggestions if there is one.
const FIELDS: [(&str, &str, &str, &str); 10] = [
    ("service", "Service", "", "services"),
    ("method", "Method", "GET", "methods"),
    ("path", "Path", "/api or /api/*/1", ""),
    ("status", "Status", "5xx, 400-499", ""),
    ("min_duration_ms", "Took at least (ms)", "250", ""),
    ("text", "Text in head or body", "as it is spelled there", ""),
    ("instance", "Instance", "", "instances"),
    ("protocol", "Protocol", "", "protocols"),
    ("since", "Since", "15m or 2026-11-20T04:00Z", ""),
    ("until", "Until", "5m or a time", ""),
];
/// The fields that are always seen; the others open on demand.
const FIRST: usize = 6;

/// One field of the form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) example: &'static str,
    pub(super) suggestions: &'static str,
    pub(super) value: String,
    /// What is wrong with the value; empty when nothing is.
    pub(super) mend: String,
}

/// What was asked of a page.
#[derive(Debug)]
pub(super) struct Asked {
    /// Every parameter that was given, but for the cursor and the refreshing.
    told: Vec<(String, String)>,
    /// What is wrong.
    pub(super) wrong: Vec<Wrong>,
    /// What makes sense of the rest.
    pub(super) filter: Filter,
    pub(super) limit: usize,
    pub(super) cursor: Option<Cursor>,
    /// The page loads itself anew after so many seconds.
    pub(super) refresh: Option<u32>,
}

/// What a form shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Form {
    pub(super) first: Vec<Field>,
    pub(super) more: Vec<Field>,
    /// Whether one of the second ones is in use.
    pub(super) is_open: bool,
    /// What is wrong with parameters that have no field: name and mend.
    pub(super) other: Vec<(String, String)>,
    /// Whether anything is asked for.
    pub(super) is_used: bool,
}

/// Understands the query of a URL. What makes no sense is left out, and told.
pub(super) fn read(query: Option<&str>, now: Timestamp) -> Asked {
    let pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned();
    let (refreshing, mut told): (Vec<_>, Vec<_>) =
        pairs.filter(|(_, value)| !value.is_empty()).partition(|(name, _)| name == "refresh");
    let refresh = refreshing.first().and_then(|(_, value)| value.parse().ok());
    let mut kept = told.clone();
    let mut wrong = Vec::new();
    let (filter, limit, cursor) = loop {
        match understand(&encode(&kept), now) {
            Ok(understood) => break understood,
            Err(mend) => {
                let before = kept.len();
                kept.retain(|(name, _)| *name != mend.parameter);
                wrong.push(mend);
                if kept.len() == before {
                    kept.clear();
                }
            }
        }
    };
    told.retain(|(name, _)| name != "cursor");
    Asked { told, wrong, filter, limit, cursor, refresh: refresh.map(|seconds: u32| seconds.clamp(2, 3600)) }
}

fn understand(query: &str, now: Timestamp) -> Result<(Filter, usize, Option<Cursor>), Wrong> {
    let mut parameters = Parameters::read(Some(query), now);
    let filter = parameters.filter()?;
    let (limit, cursor) = (parameters.limit()?, parameters.cursor()?);
    parameters.end()?;
    Ok((filter, limit, cursor))
}

fn encode(pairs: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl Asked {
    /// The same question at another place, as the query of a URL with its question mark.
    pub(super) fn link(&self, cursor: Option<Cursor>) -> String {
        let mut pairs = self.told.clone();
        pairs.extend(cursor.map(|cursor| ("cursor".to_owned(), cursor.to_string())));
        if pairs.is_empty() { String::new() } else { format!("?{}", encode(&pairs)) }
    }

    /// The part of the question that the tail understands as well, as the query of a URL with its question mark.
    pub(super) fn filters(&self) -> String {
        let mut pairs = self.told.clone();
        pairs.retain(|(name, _)| FIELDS.iter().any(|field| field.0 == name));
        if pairs.is_empty() { String::new() } else { format!("?{}", encode(&pairs)) }
    }

    /// The form with what was told in it.
    pub(super) fn form(&self) -> Form {
        let field = |(name, label, example, suggestions): &'static (&str, &str, &str, &str)| {
            let value = self.told.iter().find(|(told, _)| told == name).map(|(_, value)| value.clone());
            let mend = self.wrong.iter().find(|wrong| wrong.parameter == *name);
            Field {
                name,
                label,
                example,
                suggestions,
                value: value.unwrap_or_default(),
                mend: mend.map(|wrong| wrong.mend.clone()).unwrap_or_default(),
            }
        };
        let mut first: Vec<_> = FIELDS.iter().map(field).collect();
        let more = first.split_off(FIRST);
        let is_field = |name: &str| FIELDS.iter().any(|field| field.0 == name);
        let other = self.wrong.iter().filter(|wrong| !is_field(&wrong.parameter));
        let other =
            other.map(|wrong| (common::visible::short(wrong.parameter.as_bytes(), 60), wrong.mend.clone()));
        Form {
            is_open: more.iter().any(|field: &Field| !field.value.is_empty()),
            is_used: self.told.iter().any(|(name, _)| is_field(name)),
            first,
            more,
            other: other.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        read(Some(query), "2026-11-20T04:00:00Z".parse().unwrap())
    }

    #[test]
    fn what_makes_sense_is_searched_and_the_rest_is_told() {
        let asked = asked("service=shop&status=abc&since=yesterday&nonsense=1&method=&cursor=x");
        assert_eq!(asked.filter, Filter { service: Some("shop".to_owned()), ..Filter::default() });
        let names: Vec<_> = asked.wrong.iter().map(|wrong| wrong.parameter.as_str()).collect();
        assert_eq!(names, ["since", "status", "cursor", "nonsense"]);
        let form = asked.form();
        assert_eq!(form.first.first().map(|field| field.value.as_str()), Some("shop"));
        let status = form.first.iter().find(|field| field.name == "status").unwrap();
        assert!(status.value == "abc" && status.mend.contains("5xx"));
        assert!(form.is_open && form.is_used);
        assert_eq!(form.other.len(), 2);
    }

    #[test]
    fn a_link_asks_the_same_question_elsewhere() {
        let asked = asked("path=%2Fa+b%26c&limit=5&refresh=0&cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
        assert!(asked.cursor.is_some());
        assert_eq!(asked.refresh, Some(2));
        assert_eq!(asked.link(None), "?path=%2Fa+b%26c&limit=5");
        assert_eq!(asked.filters(), "?path=%2Fa+b%26c");
        assert!(asked.link(asked.cursor).ends_with("&cursor=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    }

    #[test]
    fn a_parameter_given_twice_is_told_once() {
        let asked = asked("method=GET&method=POST");
        assert_eq!((asked.wrong.len(), asked.filter), (1, Filter::default()));
    }
}
