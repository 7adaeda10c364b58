//! `/client/auth`: a key for a token.

use std::sync::Arc;

use bytes::Bytes;
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::{Answer, Api, now};
use crate::{environment::Environment, secret::KeyHash, shape::Target};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    #[serde(default, deserialize_with = "crate::shape::or_default")]
    api_key: String,
    #[serde(default)]
    target: Option<Target>,
}

impl Api {
    pub(super) fn authenticate(&self, body: &Bytes, known: &mut Option<Arc<Environment>>) -> Answer {
        let bad = |told: &str| Answer::error(StatusCode::BAD_REQUEST, told);
        if body.is_empty() {
            return bad("request body is empty");
        }
        let asked: Asked = match serde_json::from_slice(body) {
            Ok(asked) => asked,
            Err(error) => return bad(&format!("malformed request: {error}")),
        };
        if asked.api_key.is_empty() {
            return bad("apiKey cannot be empty");
        }
        let target = asked.target.filter(|target| !target.identifier.is_empty());
        if let Some(why) = target.as_ref().and_then(wrong) {
            return bad(why);
        }
        let key = KeyHash::of(&asked.api_key);
        let Some(environment) = self.store.opened_by(&key) else {
            return self.unknown("invalid api key");
        };
        if let Some(mut target) = target {
            if target.name.is_empty() {
                target.name.clone_from(&target.identifier);
            }
            self.seen.put_target(&environment, target);
            if let Some(targets) = self.targets.get() {
                targets.pass_on(body);
            }
        }
        let token = self.tokens.sign(&environment, &key, now().as_secs(), self.seen.session());
        *known = Some(environment);
        Answer::told(StatusCode::OK, &json!({ "authToken": token }))
    }
}

/// What is wrong with a target, as the documented relay has it.
fn wrong(target: &Target) -> Option<&'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".@_-".contains(c);
    if !target.identifier.chars().all(plain) {
        return Some("target identifier may have letters, digits and .@_- only");
    }
    let named = |c: char| c.is_alphabetic() || c.is_numeric() || " .@_-".contains(c);
    let is_named = target.name.chars().all(named);
    (!is_named).then_some("target name may have letters, digits, spaces and .@_- only")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_plain_identifiers_and_readable_names() {
        let check = |identifier: &str, name: &str, good: bool| {
            let target = Target { name: name.to_owned(), ..Target::named(identifier) };
            assert_eq!(wrong(&target).is_none(), good, "{identifier} {name}");
        };
        check("a.b@c_d-1", "Jürgen 2 O.", true);
        check("a b", "", false);
        check("a/b", "", false);
        check("ä", "", false);
        check("a", "<b>", false);
    }
}
