//! `/stream` and `/ofrep/v1/events`: who may listen, and to what.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode, Version, request::Parts};

use super::{Answer, Api, Asker, bearer, now, values::told_target};
use crate::{environment::Environment, hub::Listener, secret::KeyHash, shape::Target};

/// An SDK whose stream begins is told what changed within this time: it may have asked before the change, and listens
/// only now.
const LOOK_BACK: Duration = Duration::from_secs(120);
/// How far the clocks of two relays may be apart that take each other's tokens.
const SKEW: Duration = Duration::from_secs(5);

/// A stream that begins.
pub(crate) struct Opening {
    pub(crate) environment: Arc<str>,
    /// The key that must stay good; `None` when keys are not asked for.
    pub(crate) key: Option<KeyHash>,
    pub(crate) listener: Listener,
    pub(crate) kind: Kind,
    /// As the request says it.
    pub(crate) sdk: Option<Arc<str>>,
    pub(crate) session: u64,
    /// HTTP/1.0 knows no chunks.
    pub(crate) is_chunked: bool,
}

/// How changes are told.
#[derive(Debug)]
pub(crate) enum Kind {
    /// By name; the SDK asks for the rest.
    Server,
    /// With the values for this target.
    Client(Box<Target>),
    /// That there are some.
    Ofrep,
}

impl Api {
    pub(super) fn open(&self, head: &Parts, known: &mut Option<Arc<Environment>>) -> Result<Opening, Answer> {
        let headers = &head.headers;
        let key = headers.get("api-key").and_then(|key| key.to_str().ok()).filter(|key| !key.is_empty());
        let asker = if self.bypass_auth { None } else { Some(self.bearer(headers)?) };
        let Some(key) = key.map(KeyHash::of) else {
            return Err(Answer::error(StatusCode::BAD_REQUEST, "API-Key can't be empty"));
        };
        let Some(environment) = self.store.opened_by(&key) else {
            let unknown = || Answer::error(StatusCode::NOT_FOUND, "no environment found for this API-Key");
            return Err(self.ignorant().unwrap_or_else(unknown));
        };
        if asker.as_ref().is_some_and(|asker| asker.environment.id != environment.id) {
            let told = "the token and the API-Key are for different environments";
            return Err(Answer::error(StatusCode::UNAUTHORIZED, told));
        }
        if let Some(asker) = &asker {
            self.note_sdk(headers, asker);
        }
        let kind = told_target(headers).map_or(Kind::Server, |target| Kind::Client(Box::new(target)));
        *known = Some(Arc::clone(&environment));
        Ok(self.opening(&environment, Some(key), asker.as_ref(), kind, head.version))
    }

    /// A browser cannot send headers with an event stream, so the token stands in the query.
    pub(super) fn open_ofrep(
        &self,
        head: &Parts,
        known: &mut Option<Arc<Environment>>,
    ) -> Result<Opening, Answer> {
        let query = head.uri.query().unwrap_or_default();
        let in_query = query.split('&').find_map(|part| part.strip_prefix("token="));
        let granted = bearer(&head.headers).or(in_query).and_then(|token| self.granted(token));
        let Some(asker) = granted else {
            return Err(Answer::error(StatusCode::UNAUTHORIZED, "the token is missing or not good"));
        };
        *known = Some(Arc::clone(&asker.environment));
        Ok(self.opening(&asker.environment, Some(asker.key), Some(&asker), Kind::Ofrep, head.version))
    }

    fn opening(
        &self,
        environment: &Arc<Environment>,
        key: Option<KeyHash>,
        asker: Option<&Asker>,
        kind: Kind,
        version: Version,
    ) -> Opening {
        let issued = Duration::from_secs(asker.map_or(0, |asker| asker.grant.issued_s)).saturating_sub(SKEW);
        let since = now().saturating_sub(LOOK_BACK).max(issued);
        Opening {
            environment: Arc::clone(&environment.id),
            key,
            listener: self.store.hub.listen(&environment.id, since),
            sdk: matches!(kind, Kind::Ofrep).then(|| "OFREP 0.3".into()),
            session: asker.map_or(0, |asker| asker.grant.session),
            kind,
            is_chunked: version == Version::HTTP_11,
        }
    }

    /// Remembers which SDK asks, where it says so.
    pub(super) fn note_sdk(&self, headers: &HeaderMap, asker: &Asker) {
        let text = |name: &str| headers.get(name).and_then(|told| told.to_str().ok());
        match text("harness-sdk-info") {
            Some(told) => {
                self.seen.put_sdk(asker.grant.session, told);
                self.meters.sdk(&asker.environment.id, told);
            }
            // The Python SDK forgets to send it; its library does not, and it posts the rest with its metrics.
            None if text("user-agent").is_some_and(|told| told.starts_with("python-")) => {
                self.seen.put_first_sdk(asker.grant.session, "Python");
                self.meters.sdk(&asker.environment.id, "Python");
            }
            None => self.meters.sdk(&asker.environment.id, ""),
        }
    }
}
