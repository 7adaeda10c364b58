//! Pure. The lines of the plug-in protocol, version 1, from the side of the plug-in (docs/autostop-providers.md).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::failure::Failure;

/// The version of the protocol.
pub const VERSION: u32 = 1;
/// How many ids are taken in one question.
pub const MOST_IDS: usize = 1000;

/// A line from lw_proxy. What is not known is passed over.
#[derive(Debug, Default, Deserialize)]
pub struct Request {
    /// Its answer repeats it.
    pub id: u64,
    /// Everything else.
    #[serde(flatten)]
    pub said: Said,
}

/// What a line says beside its id.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Said {
    /// hello, start, stop, status, describe or secret.
    pub op: String,
    /// What it is about.
    pub ids: Vec<String>,
    /// Nobody waits longer for the answer.
    pub deadline_ms: Option<u64>,
    /// What the rule calls it.
    pub kind: String,
    /// For stop: shutdown or hibernate.
    pub how: String,
    /// What else the rule says of it.
    pub params: Map<String, Value>,
    /// For hello: the version that lw_proxy speaks.
    pub version: u32,
    /// For hello: the table `options` of the provider.
    pub options: Map<String, Value>,
}

/// A line to lw_proxy: exactly one of `ok` and `error`.
#[derive(Debug, Default, Serialize)]
pub struct Answer {
    id: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most_ids: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    targets: Option<Targets>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secrets: Option<Secrets>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// How each id is.
pub type Targets = BTreeMap<String, Told>;

/// What each secret says.
pub type Secrets = BTreeMap<String, Opened>;

/// How one id is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Told {
    /// Left out when there is an error instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// Where it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Why there is no status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl Told {
    /// Only a status.
    pub fn of(status: Status) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// No status, for this reason.
    pub fn failed(failure: Failure) -> Self {
        Self { error: Some(failure), ..Self::default() }
    }
}

/// What one secret says, or why it does not.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Opened {
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened(…)")
    }
}

/// The protocol's words for how something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Down, and can be started.
    Stopped,
    /// On its way up.
    Starting,
    /// Up.
    Running,
    /// On its way down.
    Stopping,
    /// Not there.
    Missing,
}

/// What a request is answered with.
#[derive(Debug)]
pub enum Reply {
    /// To the greeting.
    Welcome,
    /// To an order: it is taken.
    Taken,
    /// To a question.
    Targets(Targets),
    /// To a question for secrets.
    Secrets(Secrets),
}

impl Answer {
    /// To the request of this id.
    pub fn of(id: u64, reply: Result<Reply, Failure>) -> Self {
        let ok = Self { id, ok: true, ..Self::default() };
        match reply {
            Ok(Reply::Welcome) => Self { version: Some(VERSION), most_ids: Some(MOST_IDS), ..ok },
            Ok(Reply::Taken) => ok,
            Ok(Reply::Targets(targets)) => Self { targets: Some(targets), ..ok },
            Ok(Reply::Secrets(secrets)) => Self { secrets: Some(secrets), ..ok },
            Err(error) => Self { id, error: Some(error), ..Self::default() },
        }
    }
}

/// A table that came as JSON, understood.
///
/// # Errors
/// Where it is not what it should be, with the key.
pub fn read<T: DeserializeOwned>(what: &str, told: Map<String, Value>) -> Result<T, Failure> {
    serde_json::from_value(Value::Object(told))
        .map_err(|error| Failure::unsupported(format!("{what}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Kind;

    fn line(reply: Result<Reply, Failure>) -> String {
        serde_json::to_string(&Answer::of(7, reply)).unwrap()
    }

    #[test]
    fn an_answer_is_ok_or_an_error_and_never_both() {
        assert_eq!(line(Ok(Reply::Welcome)), r#"{"id":7,"ok":true,"version":1,"most_ids":1000}"#);
        assert_eq!(line(Ok(Reply::Taken)), r#"{"id":7,"ok":true}"#);
        let gone = Failure::new(Kind::Gone, "no such instance");
        assert_eq!(
            line(Err(gone.clone())),
            r#"{"id":7,"error":{"kind":"gone","message":"no such instance"}}"#
        );
        let up = Told { addresses: vec!["10.0.0.1".to_owned()], ..Told::of(Status::Running) };
        let targets = Targets::from([("a".to_owned(), up), ("b".to_owned(), Told::failed(gone))]);
        assert_eq!(
            line(Ok(Reply::Targets(targets))),
            r#"{"id":7,"ok":true,"targets":{"a":{"status":"running","addresses":["10.0.0.1"]},"b":{"error":{"kind":"gone","message":"no such instance"}}}}"#
        );
    }

    #[test]
    fn what_a_request_has_beyond_what_is_known_is_passed_over() {
        let told = r#"{"id":1,"op":"stop","ids":["i-1"],"deadline_ms":5,"later":[1],"params":{"new":{}}}"#;
        let request: Request = serde_json::from_str(told).unwrap();
        assert_eq!((request.id, request.said.op.as_str(), request.said.deadline_ms), (1, "stop", Some(5)));
        assert!(serde_json::from_str::<Request>(r#"{"op":"stop"}"#).is_err(), "nothing to answer to");
    }
}
