//! OpenFeature's remote evaluation protocol, from the same rules.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use ring::digest::{Context, SHA256};
use serde_json::{Map, Value, json};

use super::{Answer, Api, Asker, Route, bearer, now};
use crate::{
    environment::Environment,
    evaluate::{Cause, Dialect, Evaluation, Subject},
    secret::KeyHash,
    shape::Target,
};

/// How long a page may be hidden before its provider closes its stream.
const INACTIVITY_S: u32 = 120;

impl Api {
    pub(super) fn ofrep(
        &self,
        route: &Route<'_>,
        headers: &HeaderMap,
        body: &Bytes,
        known: &mut Option<Arc<Environment>>,
    ) -> Answer {
        let Some(asker) = self.ofrep_asker(headers) else {
            if let Some(answer) = self.ignorant() {
                return answer;
            }
            let told = json!({ "errorDetails": "send the SDK key as X-API-Key or as a bearer token" });
            return Answer::told(StatusCode::UNAUTHORIZED, &told);
        };
        *known = Some(Arc::clone(&asker.environment));
        let key = match route {
            Route::OfrepConfiguration => return configuration(),
            Route::OfrepFlag(key) => Some(key.as_ref()),
            _ => None,
        };
        let target = match target(body) {
            Ok(target) => target,
            Err((code, details)) => return failure(key, StatusCode::BAD_REQUEST, code, &details),
        };
        match key {
            Some(key) => one(&asker.environment, key, &target),
            None => self.all(&asker, &target, headers, body),
        }
    }

    /// Whoever has the key in clear, or a token that was given for it.
    fn ofrep_asker(&self, headers: &HeaderMap) -> Option<Asker> {
        let key = headers.get("x-api-key").and_then(|key| key.to_str().ok());
        let told = key.or_else(|| bearer(headers))?;
        let key = KeyHash::of(told);
        match self.store.opened_by(&key) {
            Some(environment) => {
                let session = self.seen.session();
                let (id, issued_s) = (environment.id.to_string(), now().as_secs());
                let grant = crate::token::Grant { environment: id, key, issued_s, session };
                Some(Asker { environment, key, grant })
            }
            None => self.granted(told),
        }
    }

    fn all(&self, asker: &Asker, target: &Target, headers: &HeaderMap, body: &Bytes) -> Answer {
        let environment = &asker.environment;
        let tag = tag(environment, body);
        let told = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let known = |told: &str| told.split(',').map(str::trim).any(|told| told == tag || told == "*");
        if told.into_iter().any(known) {
            return Answer::unchanged().tagged(&tag);
        }
        let subject = Subject::new(target);
        let evaluation = Evaluation::new(&environment.rules, &subject, Dialect::Relay);
        let mut answer = Vec::with_capacity(environment.told_bytes * 2);
        answer.extend_from_slice(br#"{"flags":["#);
        let start = answer.len();
        for (variation, cause) in
            environment.rules.flags().iter().filter_map(|flag| evaluation.variation(flag))
        {
            if answer.len() > start {
                answer.push(b',');
            }
            answer.extend_from_slice(variation.typed.as_bytes());
            answer.extend_from_slice(reason(cause).as_bytes());
        }
        // Always the same for a key: a provider opens its stream anew when its address is another.
        let token = self.tokens.sign(environment, &asker.key, 0, 0);
        let streams = json!([{
            "type": "sse",
            "endpoint": { "requestUri": format!("/ofrep/v1/events?token={token}") },
            "inactivityDelaySec": INACTIVITY_S,
        }]);
        let name = Value::String(environment.name.to_string());
        answer.extend_from_slice(
            format!(r#"],"metadata":{{"environment":{name}}},"eventStreams":{streams}}}"#).as_bytes(),
        );
        Answer::json(answer).tagged(&tag)
    }
}

/// Stands for the flags and for the whole context: who changes an attribute must not be told that nothing changed.
fn tag(environment: &Environment, body: &Bytes) -> String {
    let mut sum = Context::new(&SHA256);
    sum.update(&environment.revision.to_le_bytes());
    sum.update(environment.id.as_bytes());
    sum.update(&[0]);
    sum.update(body);
    let sum = sum.finish();
    let half: String = sum.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("\"{half}\"")
}

fn one(environment: &Environment, key: &str, target: &Target) -> Answer {
    let Some(flag) = environment.rules.flag(key) else {
        return failure(Some(key), StatusCode::NOT_FOUND, "FLAG_NOT_FOUND", "there is no such flag");
    };
    let subject = Subject::new(target);
    let evaluation = Evaluation::new(&environment.rules, &subject, Dialect::Relay);
    match evaluation.variation(flag) {
        Some((variation, cause)) => Answer::json([&*variation.typed, reason(cause)].concat()),
        None => failure(Some(key), StatusCode::BAD_REQUEST, "GENERAL", "the flag serves nothing"),
    }
}

/// The end of an evaluation, behind `"reason":`.
fn reason(cause: Cause) -> &'static str {
    match cause {
        Cause::Off => r#""DISABLED"}"#,
        Cause::Prerequisite | Cause::Target | Cause::Group | Cause::Rule => r#""TARGETING_MATCH"}"#,
        Cause::RuleSplit | Cause::DefaultSplit => r#""SPLIT"}"#,
        Cause::Default => r#""STATIC"}"#,
    }
}

/// The context of a request as a target.
pub(crate) fn target(body: &[u8]) -> Result<Target, (&'static str, String)> {
    let invalid = |told: &str| ("INVALID_CONTEXT", told.to_owned());
    let asked: Value = serde_json::from_slice(body)
        .map_err(|error| ("PARSE_ERROR", format!("the body is no JSON: {error}")))?;
    let Value::Object(mut asked) = asked else { return Err(invalid("the body must be an object")) };
    let mut context = match asked.remove("context") {
        Some(Value::Object(context)) => context,
        None | Some(Value::Null) => Map::new(),
        Some(_) => return Err(invalid("the context must be an object")),
    };
    let identifier = match context.remove("targetingKey") {
        Some(Value::String(key)) if !key.is_empty() => key,
        None | Some(Value::Null | Value::String(_)) => {
            return Err(("TARGETING_KEY_MISSING", "the context needs a targetingKey".to_owned()));
        }
        Some(_) => return Err(invalid("the targetingKey must be a text")),
    };
    let name = match context.remove("name") {
        Some(Value::String(name)) if !name.is_empty() => name,
        _ => identifier.clone(),
    };
    Ok(Target { identifier, name, anonymous: false, attributes: context })
}

fn failure(key: Option<&str>, status: StatusCode, code: &str, details: &str) -> Answer {
    let mut told = json!({ "errorCode": code, "errorDetails": details });
    if let (Some(key), Value::Object(told)) = (key, &mut told) {
        told.insert("key".to_owned(), key.into());
    }
    Answer::told(status, &told)
}

fn configuration() -> Answer {
    Answer::told(StatusCode::OK, &json!({ "name": "flag-relay", "capabilities": {} }))
}

#[cfg(test)]
mod tests;
