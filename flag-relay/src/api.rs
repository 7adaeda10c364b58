//! What SDKs ask, and what they are answered.

mod answer;
mod auth;
mod flags;
mod health;
mod ofrep;
mod route;
mod seen;
mod streams;
mod values;

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time;

pub(crate) use self::{
    answer::Answer,
    ofrep::target as ofrep_target,
    route::Route,
    seen::Seen,
    streams::{Kind, Opening},
    values::read_target,
};
use crate::{
    environment::Environment,
    meters::Meters,
    roster::Roster,
    secret::KeyHash,
    source::{service::Targets, standing::Standing},
    store::Store,
    token::{Grant, Tokens},
    usage::{Posted, Usage},
};

/// The largest body of metrics.
const MOST_METRICS_BYTES: usize = 4 << 20;
/// The largest body of anything else, which may come from anybody.
const MOST_BODY_BYTES: usize = 512 << 10;

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);
/// The longest target in a header; SDKs send none that is longer. Let go, it would be answered for another target.
const MOST_TARGET_BYTES: usize = 256 << 10;

/// Everything that answers need.
pub struct Api {
    pub(crate) store: Arc<Store>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) tokens: Tokens,
    pub(crate) bypass_auth: bool,
    pub(crate) seen: Seen,
    pub(crate) usage: Usage,
    pub(crate) meters: Arc<Meters>,
    pub(crate) roster: Roster,
    /// Where targets go on to.
    pub(crate) targets: OnceLock<Targets>,
    /// Whether `/metrics` is shown to everybody here.
    pub(crate) shows_metrics: bool,
}

/// What becomes of a request.
pub(crate) enum Outcome {
    /// It is answered.
    Answer(Answer),
    /// It becomes a stream.
    Stream(Box<Opening>),
}

/// Whoever may ask, and what.
pub(crate) struct Asker {
    pub(crate) environment: Arc<Environment>,
    pub(crate) key: KeyHash,
    pub(crate) grant: Grant,
}

impl Api {
    /// Answers a request.
    pub(crate) async fn ask(&self, request: Request<Incoming>) -> Outcome {
        let begun = std::time::Instant::now();
        let (head, body) = request.into_parts();
        let route = match Route::of(&head.method, head.uri.path()) {
            Ok(route) => route,
            Err(refusal) => return Outcome::Answer(self.finish(refusal.answer(), &head.headers)),
        };
        if head.headers.get("harness-target").is_some_and(|told| told.len() > MOST_TARGET_BYTES) {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            let answer = Answer::error(status, "Harness-Target is too long").closing();
            return Outcome::Answer(self.finish(answer, &head.headers));
        }
        let most = if matches!(route, Route::Usage(_)) { MOST_METRICS_BYTES } else { MOST_BODY_BYTES };
        let body = match gather(&head.method, body, most).await {
            Ok(body) => body,
            Err(answer) => return Outcome::Answer(self.finish(answer, &head.headers)),
        };
        let name = route.name();
        let mut environment = None;
        let bytes = body.len();
        let outcome = self.route(&route, &head, &body, &mut environment);
        let code = match &outcome {
            Outcome::Answer(answer) => answer.status(),
            Outcome::Stream(_) => StatusCode::OK,
        };
        self.meters.asked(name, environment.as_ref().map(|asked| &asked.id), code, bytes, begun.elapsed());
        match outcome {
            Outcome::Answer(answer) => Outcome::Answer(self.finish(answer, &head.headers)),
            stream @ Outcome::Stream(_) => stream,
        }
    }

    fn route(
        &self,
        route: &Route<'_>,
        head: &http::request::Parts,
        body: &Bytes,
        environment: &mut Option<Arc<Environment>>,
    ) -> Outcome {
        let headers = &head.headers;
        let query = head.uri.query().unwrap_or_default();
        let answer = match route {
            Route::Auth => self.authenticate(body, environment),
            Route::Health => self.health(),
            Route::Metrics if self.shows_metrics => Answer::text(self.meters.text()),
            Route::Metrics => Answer::error(StatusCode::NOT_FOUND, "metrics are not shown here"),
            Route::Stream => match self.open(head, environment) {
                Ok(opening) => return Outcome::Stream(Box::new(opening)),
                Err(answer) => answer,
            },
            Route::OfrepEvents => match self.open_ofrep(head, environment) {
                Ok(opening) => return Outcome::Stream(Box::new(opening)),
                Err(answer) => answer,
            },
            Route::OfrepConfiguration | Route::OfrepFlag(_) | Route::OfrepFlags => {
                self.ofrep(route, headers, body, environment)
            }
            Route::Flags(id)
            | Route::Flag(id, _)
            | Route::Groups(id)
            | Route::Group(id, _)
            | Route::Values(id, _)
            | Route::Value(id, ..)
            | Route::Usage(id) => match self.admit(headers, id) {
                Ok(asker) => {
                    self.note_sdk(headers, &asker);
                    *environment = Some(Arc::clone(&asker.environment));
                    self.answer(route, &asker, headers, query, body)
                }
                Err(Some(answer)) => answer,
                // Without a check of tokens, an environment that nobody knows has nothing.
                Err(None) => Answer::json(Bytes::from_static(b"[]")),
            },
        };
        Outcome::Answer(answer)
    }

    fn answer(
        &self,
        route: &Route<'_>,
        asker: &Asker,
        headers: &HeaderMap,
        query: &str,
        body: &Bytes,
    ) -> Answer {
        let environment = &asker.environment;
        match route {
            Route::Flags(_) => Answer::json(environment.flags.all()),
            Route::Flag(_, flag) => flags::flag(environment, flag),
            Route::Groups(_) => flags::groups(environment, query),
            Route::Group(_, group) => flags::group(environment, group, query),
            Route::Values(_, target) => self.values(environment, target, headers),
            Route::Value(_, target, flag) => self.value(environment, target, flag, headers),
            Route::Usage(_) => self.count(asker, body),
            _ => Answer::error(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// Who asks, by the token; `Err(None)` when tokens are not asked for and there is no such environment.
    fn admit(&self, headers: &HeaderMap, environment: &str) -> Result<Asker, Option<Answer>> {
        if self.bypass_auth {
            let environment = self.store.environment(environment).ok_or(None)?;
            let key = KeyHash::default();
            let grant = Grant { environment: environment.id.to_string(), key, issued_s: 0, session: 0 };
            return Ok(Asker { environment, key, grant });
        }
        let asker = self.bearer(headers)?;
        if *asker.environment.id != *environment {
            let told = format!(
                "Environment ID {environment} mismatch with requested {}: the token is for another environment",
                asker.environment.id
            );
            return Err(Some(Answer::error(StatusCode::UNAUTHORIZED, &told)));
        }
        Ok(asker)
    }

    fn bearer(&self, headers: &HeaderMap) -> Result<Asker, Answer> {
        let refuse = |told: &str| Answer::error(StatusCode::UNAUTHORIZED, told);
        let Some(token) = bearer(headers) else { return Err(refuse("missing or malformed jwt")) };
        self.granted(token).ok_or_else(|| self.unknown("invalid or expired jwt"))
    }

    /// Refuses a key or a token; but a relay that never read its source cannot know, and an SDK that is refused gives
    /// up for good.
    fn unknown(&self, told: &str) -> Answer {
        self.ignorant().unwrap_or_else(|| Answer::error(StatusCode::UNAUTHORIZED, told))
    }

    /// What is answered while no flags were ever read.
    fn ignorant(&self) -> Option<Answer> {
        let knows = !self.store.world().environments.is_empty() || self.standing.now().reads > 0;
        let told = || Answer::error(StatusCode::SERVICE_UNAVAILABLE, "no flags were read yet").later();
        (!knows).then(told)
    }

    /// What a token is good for now: its key must still open its environment.
    fn granted(&self, token: &str) -> Option<Asker> {
        let grant = self.tokens.read(token, now().as_secs())?;
        let environment = self.store.opened_by(&grant.key)?;
        (*environment.id == *grant.environment).then_some(Asker { environment, key: grant.key, grant })
    }

    fn finish(&self, answer: Answer, headers: &HeaderMap) -> Answer {
        answer.with_request_id(headers.get("x-request-id"), self.seen.session())
    }
}

/// The token of a request.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let told = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = told.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The time since 1970.
pub(crate) fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn gather(method: &Method, body: Incoming, most: usize) -> Result<Bytes, Answer> {
    if method != Method::POST {
        return Ok(Bytes::new());
    }
    let Ok(read) = time::timeout(BODY_TIME, Limited::new(body, most).collect()).await else {
        return Err(Answer::error(StatusCode::REQUEST_TIMEOUT, "the body takes too long").closing());
    };
    match read {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Answer::error(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large").closing())
        }
        Err(_) => Err(Answer::error(StatusCode::BAD_REQUEST, "the body is broken").closing()),
    }
}

impl Api {
    /// What an SDK posts of what it evaluated.
    fn count(&self, asker: &Asker, body: &Bytes) -> Answer {
        match serde_json::from_slice::<Posted>(body) {
            Ok(posted) => {
                let now_ms = u64::try_from(now().as_millis()).unwrap_or(u64::MAX);
                self.usage.add(&asker.environment.id, &posted, now_ms);
                if let Some(sdk) = posted.sdk() {
                    self.seen.put_sdk(asker.grant.session, &sdk);
                }
                Answer::json(Bytes::from_static(b"null"))
            }
            Err(error) => Answer::error(StatusCode::BAD_REQUEST, &format!("malformed metrics: {error}")),
        }
    }
}
