//! Pure. The lines of the plug-in protocol, version 1.

use std::{collections::BTreeMap, time::Duration};

use common::config::Secret;
use serde::{Deserialize, Serialize};

use super::{Op, Reply};
use crate::provider::{Error, Fault, Params, Seen, Status, Stop, Target, text};

/// The version of the protocol.
pub(super) const VERSION: u32 = 1;
/// How many ids go into one question, unless the plug-in says otherwise.
pub(super) const MOST_IDS: usize = 100;
/// The longest line that is believed.
pub(super) const MOST_LINE_BYTES: usize = 1 << 20;
/// How many addresses of one id are believed.
const MOST_ADDRESSES: usize = 64;

/// The first line to a plug-in.
#[derive(Serialize)]
struct Hello<'a> {
    id: u64,
    op: &'static str,
    version: u32,
    provider: &'a str,
    options: &'a toml::Table,
}

/// Every other line to a plug-in.
#[derive(Serialize)]
struct Request<'a> {
    id: u64,
    op: &'static str,
    ids: &'a [String],
    deadline_ms: u64,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    how: Option<Stop>,
    params: &'a Params,
}

/// The first line, which has the id 0.
pub(super) fn hello(provider: &str, options: &toml::Table) -> Result<String, serde_json::Error> {
    line(&Hello { id: 0, op: "hello", version: VERSION, provider, options })
}

/// A line that asks for something.
pub(super) fn request(id: u64, op: Op, target: &Target, left: Duration) -> Result<String, serde_json::Error> {
    let (op, how) = match op {
        Op::Start => ("start", None),
        Op::Stop(how) => ("stop", Some(how)),
        Op::Status => ("status", None),
        Op::Describe => ("describe", None),
        Op::Secret => ("secret", None),
    };
    let deadline_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    line(&Request { id, op, ids: &target.ids, deadline_ms, kind: &target.kind, how, params: &target.params })
}

fn line(told: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(told).map(|line| line + "\n")
}

/// A line from a plug-in.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// Of the request.
    pub(super) id: u64,
    #[serde(default)]
    ok: bool,
    error: Option<Failure>,
    #[serde(default)]
    targets: BTreeMap<String, Told>,
    #[serde(default)]
    secrets: BTreeMap<String, Opened>,
    version: Option<u32>,
    most_ids: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Failure {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    message: String,
    retry_after_ms: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Told {
    status: Option<String>,
    #[serde(default)]
    addresses: Vec<String>,
    error: Option<Failure>,
}

#[derive(Deserialize)]
struct Opened {
    text: Option<String>,
    error: Option<Failure>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened(…)")
    }
}

impl From<Opened> for Result<Secret, Error> {
    fn from(opened: Opened) -> Self {
        match (opened.text, opened.error) {
            (_, Some(failure)) => Err(failure.into()),
            (Some(text), None) => Ok(Secret::from(text.as_str())),
            (None, None) => Err(Fault::Other.said("there is neither a text nor an error")),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Fault::named(&failure.kind, failure.retry_after_ms.map(Duration::from_millis)).said(&failure.message)
    }
}

/// Understands a line.
pub(super) fn answer(line: &str) -> Option<Answer> {
    let answer: Answer = serde_json::from_str(line).ok()?;
    (answer.ok != answer.error.is_some()).then_some(answer)
}

impl Answer {
    /// How many ids it wants in one question, if it speaks our version.
    ///
    /// # Errors
    /// What it said instead.
    pub(super) fn welcome(self) -> Result<usize, String> {
        if let Some(failure) = self.error {
            return Err(Error::from(failure).to_string());
        }
        match self.version {
            Some(VERSION) => Ok(self.most_ids.unwrap_or(MOST_IDS).max(1)),
            Some(version) => Err(format!("it speaks version {version}, not {VERSION}")),
            None => Err("it did not say its version".to_owned()),
        }
    }

    /// What became of the call. For an order, the first id that failed speaks for all.
    ///
    /// # Errors
    /// What the plug-in said.
    pub(super) fn outcome(self, op: Op) -> Result<Reply, Error> {
        if let Some(failure) = self.error {
            return Err(failure.into());
        }
        let is_order = matches!(op, Op::Start | Op::Stop(_));
        let secrets = self.secrets.into_iter().map(|(id, opened)| (id, opened.into())).collect();
        let mut reply = Reply { secrets, ..Reply::default() };
        let seen = &mut reply.seen;
        for (id, told) in self.targets {
            match told.error.map(Error::from) {
                Some(error) if is_order => return Err(error),
                Some(error) if error.fault == Fault::Gone => {
                    seen.insert(id, Seen::of(Status::Missing));
                }
                Some(error) => {
                    seen.insert(id, Seen::unknown(&error.to_string()));
                }
                None => {
                    seen.insert(id, sighting(told.status.as_deref(), &told.addresses));
                }
            }
        }
        Ok(reply)
    }
}

fn sighting(status: Option<&str>, addresses: &[String]) -> Seen {
    let word = status.unwrap_or("unknown");
    match serde_json::from_value(word.into()) {
        Ok(status) => {
            let addresses = addresses.iter().take(MOST_ADDRESSES).filter_map(|told| text::address(told));
            Seen { status, addresses: addresses.collect(), reason: None }
        }
        Err(_) => Seen::unknown(&format!("{word} is no status")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(op: Op, line: &str) -> Result<crate::provider::Sightings, Error> {
        answer(line).unwrap().outcome(op).map(|reply| reply.seen)
    }

    #[test]
    fn a_secret_is_told_apart_from_why_there_is_none_and_is_never_printed() {
        let told =
            r#"{"id":1,"ok":true,"secrets":{"a":{"text":"the key"},"b":{"error":{"kind":"denied"}},"c":{}}}"#;
        let told = answer(told).unwrap();
        assert!(!format!("{told:?}").contains("the key"));
        let reply = told.outcome(Op::Secret).unwrap();
        assert!(!format!("{reply:?}").contains("the key"));
        assert_eq!(reply.secrets["a"].as_ref().unwrap().expose(), "the key");
        assert_eq!(reply.secrets["b"].as_ref().unwrap_err().fault, Fault::Denied);
        assert_eq!(reply.secrets["c"].as_ref().unwrap_err().fault, Fault::Other);
    }

    #[test]
    fn a_request_is_one_line_with_all_that_a_target_is() {
        let target = Target {
            kind: "database".into(),
            ids: vec!["db\n1".into()],
            params: Params::from([("region".into(), "eu-west-1".into()), ("desired".into(), 3.into())]),
        };
        let line = request(7, Op::Stop(Stop::Hibernate), &target, Duration::from_millis(1500)).unwrap();
        assert_eq!(
            line,
            r#"{"id":7,"op":"stop","ids":["db\n1"],"deadline_ms":1500,"kind":"database","how":"hibernate","params":{"desired":3,"region":"eu-west-1"}}"#.to_owned() + "\n"
        );
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for line in ["", "hello", "[]", "{}", r#"{"id":1}"#, r#"{"id":-1,"ok":true}"#, r#"{"ok":true}"#] {
            assert!(answer(line).is_none(), "{line}");
        }
        assert!(answer(r#"{"id":1,"ok":true,"error":{}}"#).is_none());
        assert!(answer(r#"{"id":1,"ok":true,"later":[1]}"#).is_some());
    }

    #[test]
    fn a_failure_is_classified_and_its_text_made_harmless() {
        let told =
            r#"{"id":1,"error":{"kind":"throttled","message":"slow\u001b[2J\ndown","retry_after_ms":250}}"#;
        let error = outcome(Op::Start, told).unwrap_err();
        assert_eq!(error.fault, Fault::Throttled { retry_after: Some(Duration::from_millis(250)) });
        assert_eq!(error.said, "slow [2J down");
        assert_eq!(outcome(Op::Start, r#"{"id":1,"error":{}}"#).unwrap_err().fault, Fault::Other);
    }

    #[test]
    fn each_id_is_told_and_one_that_failed_does_not_hide_the_others() {
        let told = r#"{"id":1,"ok":true,"targets":{
            "a":{"status":"running","addresses":["10.0.0.1","not an address\n"]},
            "b":{"error":{"kind":"gone"}},"c":{"error":{"kind":"denied","message":"no"}},
            "d":{"status":"on fire"},"e":{}}}"#;
        let seen = outcome(Op::Describe, told).unwrap();
        assert_eq!(seen["a"].addresses, ["10.0.0.1"]);
        assert_eq!(seen["b"].status, Status::Missing);
        assert_eq!(seen["c"].reason.as_deref(), Some("not allowed: no"));
        assert_eq!(seen["d"].reason.as_deref(), Some("on fire is no status"));
        assert_eq!(seen["e"].status, Status::Unknown);
        assert_eq!(outcome(Op::Start, told).unwrap_err().fault, Fault::Gone);
    }

    #[test]
    fn only_the_version_that_is_spoken_here_is_welcome() {
        let check = |line: &str| answer(line).unwrap().welcome();
        assert_eq!(check(r#"{"id":0,"ok":true,"version":1}"#), Ok(MOST_IDS));
        assert_eq!(check(r#"{"id":0,"ok":true,"version":1,"most_ids":1000}"#), Ok(1000));
        assert!(check(r#"{"id":0,"ok":true,"version":2}"#).is_err());
        assert!(check(r#"{"id":0,"ok":true}"#).is_err());
        assert!(check(r#"{"id":0,"error":{"kind":"denied","message":"no key"}}"#).is_err());
    }
}
