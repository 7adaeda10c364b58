//! Delivers what is queued, one record of an agent at a time, and carries what cannot wait.

pub(crate) mod verdict;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{drain::Drain, quiet::Quiet};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use tokio::{task::spawn_blocking, time};

use self::verdict::Verdict;
use crate::{
    envelope::{Envelope, decode},
    fleet::Fleet,
    keys::Keys,
    queue::{Queue, Stored, now_ms},
    route::{Routes, Rule},
    upstream::{Body, Counts, Error, Permit, Upstream},
};

/// How much of an answer nobody reads is read, so that the connection can be used again.
const MOST_ANSWER_BYTES: usize = 64 << 10;
/// How long a record waits that cannot be read or put aside just now.
const PAUSE: Duration = Duration::from_secs(2);

/// How long a delivery may take on once the stop was asked for.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// Everything that a delivery needs.
pub(crate) struct Relay {
    pub(crate) queue: Arc<Queue>,
    pub(crate) upstreams: Vec<Arc<Upstream>>,
    pub(crate) routes: Routes,
    pub(crate) keys: Arc<Keys>,
    pub(crate) fleet: Arc<Fleet>,
    /// How long the other side may take.
    pub(crate) patience: Duration,
    /// What is older becomes a dead letter.
    pub(crate) max_age: Duration,
    /// How often the first record of an agent was held.
    pub(crate) held: Mutex<HashMap<u32, u32>>,
}

/// What became of a try.
enum Outcome {
    Answered(u16),
    /// Nobody may be tried before.
    Wait(Instant),
    /// The key is not known since the restart.
    NoKey,
    Failed,
}

impl Relay {
    /// Delivers until the drain starts.
    pub(crate) async fn run(self: Arc<Self>, drain: Drain) {
        loop {
            let agent = tokio::select! {
                () = drain.started() => return,
                agent = self.queue.take() => agent,
            };
            tokio::select! {
                () = self.serve(agent) => {}
                // It stays queued, and is sent again.
                () = late(&drain) => return,
            }
        }
    }

    async fn serve(self: &Arc<Self>, agent: u32) {
        let own = Arc::clone(self);
        let stored = match spawn_blocking(move || own.queue.first(agent)).await {
            Ok(Ok(Some(stored))) => stored,
            Ok(Ok(None)) => return self.queue.give_back(agent, 0),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => {
                return self.queue.retry(agent, Instant::now() + jittered(50));
            }
            error => {
                tracing::warn!(agent, ?error, "a queued record cannot be read now");
                return self.queue.retry(agent, Instant::now() + PAUSE);
            }
        };
        let age = Duration::from_millis(now_ms().saturating_sub(stored.time_ms));
        let Some(envelope) = decode(&stored.head) else {
            return self.bury(agent, stored, "its head is of no known kind".to_owned()).await;
        };
        if age >= self.max_age {
            return self.bury(agent, stored, "older than queue_max_age".to_owned()).await;
        }
        let outcome = self.attempt(&envelope, &stored).await;
        match outcome {
            Outcome::Answered(status) => match verdict::verdict(status) {
                Verdict::Delivered => {
                    self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&agent);
                    self.queue.delivered(agent, &stored);
                }
                Verdict::Dead => self.bury(agent, stored, format!("the other side answered {status}")).await,
                Verdict::Trouble => self.queue.retry(agent, Instant::now() + jittered(500)),
                Verdict::Held => self.hold(agent, status, &envelope),
            },
            Outcome::Wait(until) => self.queue.retry(agent, until),
            Outcome::NoKey => {
                let name = self.queue.name(agent);
                self.fleet.note(&name, |seen| seen.last_error = Some("waits for its API key".to_owned()));
                static QUIET: Quiet = Quiet::new(Duration::from_secs(60));
                if let Some(suppressed) = QUIET.speak(Instant::now()) {
                    tracing::info!(
                        agent = name,
                        suppressed,
                        "data waits until its agent tells its API key again"
                    );
                }
                self.queue.retry(agent, Instant::now() + PAUSE);
            }
            Outcome::Failed => self.queue.retry(agent, Instant::now() + jittered(200)),
        }
    }

    fn hold(&self, agent: u32, status: u16, envelope: &Envelope) {
        let tries = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let tries = held.entry(agent).or_default();
            *tries += 1;
            *tries
        };
        let name = self.queue.name(agent);
        self.fleet.note(&name, |seen| seen.last_error = Some(format!("{status} on {}", envelope.path)));
        static QUIET: Quiet = Quiet::new(Duration::from_secs(30));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            let path = envelope.path.as_str();
            tracing::warn!(
                agent = name,
                status,
                path,
                suppressed,
                "the other side refuses; the agent's data is held"
            );
        }
        self.queue.retry(agent, Instant::now() + verdict::held(tries - 1, fastrand::f64()));
    }

    async fn bury(self: &Arc<Self>, agent: u32, stored: Stored, reason: String) {
        let own = Arc::clone(self);
        let name = self.queue.name(agent);
        tracing::warn!(agent = name, number = stored.position.number, reason, "a dead letter");
        let buried = spawn_blocking(move || own.queue.bury(agent, &stored, &reason)).await;
        if !matches!(buried, Ok(Ok(()))) {
            tracing::warn!(?buried, "a dead letter cannot be put aside now");
            self.queue.retry(agent, Instant::now() + PAUSE);
        }
    }

    async fn attempt(&self, envelope: &Envelope, stored: &Stored) -> Outcome {
        let Some(rule) = self.routes.rule(&envelope.path, &envelope.host) else { return Outcome::Failed };
        let body = stored.body.clone();
        let upstream = match self.choose(rule) {
            Ok(upstream) => upstream,
            Err(until) => return Outcome::Wait(until),
        };
        let Some(template) = self.template(envelope, &upstream) else {
            self.released(&upstream);
            return Outcome::NoKey;
        };
        let mut make = || {
            let mut request = Request::new(full(body.clone()));
            *request.method_mut() = envelope.method.parse().unwrap_or(Method::POST);
            request.headers_mut().clone_from(&template.fields);
            upstream.address(&mut request, &template.path, &template.query);
            Some(request)
        };
        Counts::add(&upstream.counts.bytes_out, body.len() as u64);
        match upstream.send(false, &mut make, self.patience).await {
            Ok((response, connection)) => {
                let status = response.status().as_u16();
                let told = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                let told = verdict::retry_after(told);
                self.judge(&upstream, status, told);
                // The answer counts; what stands in it does not.
                let read = Limited::new(response.into_body(), MOST_ANSWER_BYTES).collect();
                if matches!(time::timeout(self.patience, read).await, Ok(Ok(_))) {
                    upstream.put(connection);
                }
                Outcome::Answered(status)
            }
            Err(error) => {
                self.failed(&upstream, &error);
                Outcome::Failed
            }
        }
    }

    /// An upstream of this rule that may be tried now, or when one may.
    fn choose(&self, rule: &Rule) -> Result<Arc<Upstream>, Instant> {
        let now = Instant::now();
        let known = || rule.upstreams.iter().filter_map(|index| Some((*index, self.upstreams.get(*index)?)));
        let choices: Vec<(usize, u32, Permit)> = known()
            .map(|(index, upstream)| (index, upstream.spec.weight, upstream.breaker().permit(now)))
            .collect();
        let (index, is_probe) = self.routes.choose(&choices, now)?;
        let upstream = self.upstreams.get(index).ok_or(now + PAUSE)?;
        if is_probe {
            let mut breaker = upstream.breaker();
            // Somebody may have been faster.
            if breaker.permit(now) != Permit::Probe {
                return Err(now + jittered(500));
            }
            breaker.probe(now);
        }
        Ok(Arc::clone(upstream))
    }

    /// A probe that was not made after all.
    fn released(&self, upstream: &Upstream) {
        let mut breaker = upstream.breaker();
        if breaker.is_open() {
            breaker.failed(Instant::now(), None, 0.0);
        }
    }

    fn judge(&self, upstream: &Upstream, status: u16, told: Option<Duration>) {
        let hundreds = usize::from(status / 100).saturating_sub(1).min(4);
        if let Some(counter) = upstream.counts.answers.get(hundreds) {
            Counts::add(counter, 1);
        }
        if verdict::verdict(status) == Verdict::Trouble {
            Counts::add(&upstream.counts.retries, 1);
            self.down(upstream, told, &format!("it answers {status}"));
        } else if upstream.breaker().worked() {
            tracing::info!(upstream = upstream.spec.name, "an upstream is back");
            self.queue.wake();
        }
    }

    fn failed(&self, upstream: &Upstream, error: &Error) {
        let counter = match error {
            Error::Connect(_) => &upstream.counts.connect_errors,
            Error::Send(_) | Error::Late => &upstream.counts.response_errors,
        };
        Counts::add(counter, 1);
        Counts::add(&upstream.counts.retries, 1);
        self.down(upstream, None, &error.to_string());
    }

    fn down(&self, upstream: &Upstream, told: Option<Duration>, reason: &str) {
        if upstream.breaker().failed(Instant::now(), told, fastrand::f64()) {
            Counts::add(&upstream.counts.downs, 1);
            upstream.let_go();
            let name = upstream.spec.name.as_str();
            tracing::warn!(upstream = name, reason, "an upstream is down; what it should get is kept");
        }
    }

    /// The head for an upstream; `None` when the key has to be told again first.
    fn template(&self, envelope: &Envelope, upstream: &Upstream) -> Option<Template> {
        let mut fields = envelope.fields.clone();
        let mut query = envelope.query.clone();
        let key = match (&upstream.spec.key, &envelope.key) {
            (Some(own), _) => Some(own.clone()),
            (None, Some(place)) => Some(self.keys.key(&place.tag)?),
            (None, None) => None,
        };
        let field: Option<&HeaderName> = envelope.key.as_ref().and_then(|place| place.field.as_ref());
        match (key, field) {
            (Some(key), Some(field)) => {
                let mut value = HeaderValue::from_str(key.expose()).ok()?;
                value.set_sensitive(true);
                fields.insert(field.clone(), value);
            }
            (Some(key), None) => {
                let joint = if query.is_empty() { "" } else { "&" };
                query.push_str(&format!("{joint}api_key={}", key.expose()));
            }
            (None, _) => {}
        }
        let path = if envelope.path == "/intake" { "/intake/" } else { &envelope.path };
        Some(Template { fields, path: path.to_owned(), query })
    }

    /// Carries a request whose client waits for the answer. `None` when nobody is there to answer.
    pub(crate) async fn carry(&self, envelope: &Envelope, body: Body) -> Option<Response<Incoming>> {
        let rule = self.routes.rule(&envelope.path, &envelope.host)?;
        let upstream = self.choose(rule).ok()?;
        let Some(template) = self.template(envelope, &upstream) else {
            self.released(&upstream);
            return None;
        };
        let mut body = Some(body);
        // A kept connection may be closed by now, and the body can be sent only once.
        let mut make = || {
            let mut request = Request::new(body.take()?);
            *request.method_mut() = envelope.method.parse().ok()?;
            request.headers_mut().clone_from(&template.fields);
            upstream.address(&mut request, &template.path, &template.query);
            Some(request)
        };
        match upstream.send(true, &mut make, self.patience).await {
            Ok((response, _)) => {
                self.judge(&upstream, response.status().as_u16(), None);
                Some(response)
            }
            Err(error) => {
                self.failed(&upstream, &error);
                None
            }
        }
    }

    /// Asks an upstream now and then how it is, if it has a path for that.
    pub(crate) async fn check(self: Arc<Self>, index: usize, every: Duration, drain: Drain) {
        let Some(upstream) = self.upstreams.get(index).cloned() else { return };
        let Some(path) = upstream.spec.health.clone() else { return };
        loop {
            tokio::select! {
                () = drain.started() => return,
                () = time::sleep(every) => {}
            }
            let mut make = || {
                let mut request = Request::new(full(Bytes::new()));
                upstream.address(&mut request, &path, "");
                Some(request)
            };
            match upstream.send(false, &mut make, self.patience).await {
                Ok((response, _)) if response.status().as_u16() < 500 => {
                    self.judge(&upstream, response.status().as_u16(), None);
                }
                other => {
                    Counts::add(&upstream.counts.checks_failed, 1);
                    let reason =
                        other.map_or_else(|error| error.to_string(), |(r, _)| r.status().to_string());
                    self.down(&upstream, None, &format!("its check fails: {reason}"));
                }
            }
        }
    }
}

/// Returns some time after the stop was asked for.
async fn late(drain: &Drain) {
    drain.started().await;
    time::sleep(LAST_WORDS).await;
}

struct Template {
    fields: HeaderMap,
    path: String,
    query: String,
}

fn jittered(most_ms: u64) -> Duration {
    Duration::from_millis(fastrand::u64(most_ms / 2..=most_ms))
}

/// A body that is there as a whole.
pub(crate) fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}
