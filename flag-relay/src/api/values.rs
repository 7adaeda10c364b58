//! Values for SDKs that leave the evaluation to the relay.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::{HeaderMap, StatusCode};

use super::{Answer, Api};
use crate::{
    environment::Environment,
    evaluate::{Dialect, Evaluation, Subject},
    shape::Target,
};

/// Padding is let go; SDKs differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Api {
    pub(super) fn values(&self, environment: &Environment, target: &str, headers: &HeaderMap) -> Answer {
        let target = self.target(environment, target, headers);
        let subject = Subject::new(&target);
        let evaluation = Evaluation::new(&environment.rules, &subject, Dialect::Relay);
        let told = environment.rules.flags().iter().filter_map(|flag| evaluation.variation(flag));
        let mut body = Vec::with_capacity(environment.told_bytes);
        body.push(b'[');
        for (variation, _) in told {
            if body.len() > 1 {
                body.push(b',');
            }
            body.extend_from_slice(variation.told.as_bytes());
        }
        body.push(b']');
        Answer::json(body)
    }

    pub(super) fn value(
        &self,
        environment: &Environment,
        target: &str,
        flag: &str,
        headers: &HeaderMap,
    ) -> Answer {
        let target = self.target(environment, target, headers);
        let subject = Subject::new(&target);
        let evaluation = Evaluation::new(&environment.rules, &subject, Dialect::Relay);
        let found = environment.rules.flag(flag).and_then(|flag| evaluation.variation(flag));
        match found {
            Some((variation, _)) => Answer::json(String::from(&*variation.told)),
            None => Answer::error(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// The target as the request tells it, as it was told before, or what its identifier says.
    fn target(&self, environment: &Environment, identifier: &str, headers: &HeaderMap) -> Target {
        if let Some(told) = told_target(headers) {
            return told;
        }
        let known = self.seen.target(environment, identifier);
        known
            .or_else(|| environment.targets.get(identifier).cloned())
            .unwrap_or_else(|| Target::named(identifier))
    }
}

/// What `Harness-Target` says; a header that says nothing is as good as none.
pub(crate) fn told_target(headers: &HeaderMap) -> Option<Target> {
    read_target(headers.get("harness-target")?.as_bytes())
}

pub(crate) fn read_target(told: &[u8]) -> Option<Target> {
    let told = BASE64.decode(told.trim_ascii()).ok()?;
    let mut target: Target = serde_json::from_slice(&told).ok()?;
    if target.identifier.is_empty() {
        return None;
    }
    if target.name.is_empty() {
        target.name.clone_from(&target.identifier);
    }
    Some(target)
}
