//! One try to deliver one record: chooses an upstream, sends, and takes what the answer means.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use common::quiet::Quiet;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use ring::hmac;
use tokio::time;

use super::{
    Plan, Relay,
    holds::Order,
    jittered,
    verdict::{self, Verdict},
};
use crate::{
    envelope::{Envelope, ID_FIELD, Place},
    intake::{AGENT_FIELD, RELAY_FIELD},
    queue::{Stored, now_ms},
    route::Rule,
    upstream::{Counts, Error, KEPT, Permit, Progress, Upstream, sent},
};

/// How much of an answer nobody reads is read, so that the connection can be used again.
const MOST_ANSWER_BYTES: usize = 64 << 10;
/// How long one waits for an upstream that has as much as it may have on its way.
const BUSY: Duration = Duration::from_millis(20);
/// What stands for a key of our own.
const OWN: &str = "own";

/// What became of a try.
pub(super) enum Outcome {
    /// The other side has it.
    Delivered,
    /// The other side will never take it, and answered this.
    Dead(u16),
    /// Nobody may be tried before.
    Wait(Instant),
    /// Its path is refused; it is not to be in the way of other paths. If it has to, it waits until then.
    Aside(Instant),
    /// A key is not known since the restart: this is its tag.
    NoKey(String),
}

/// What a request is sent with.
pub(super) struct Template {
    pub(super) fields: HeaderMap,
    pub(super) path: String,
    pub(super) query: String,
}

/// An upstream that may be tried, or what to do instead.
pub(super) enum Choice {
    Try(usize, Arc<Upstream>),
    Wait(Instant),
    Aside(Instant),
}

impl Relay {
    pub(super) async fn attempt(
        &self,
        plan: &Plan,
        envelope: &Envelope,
        stored: &Stored,
        agent: u32,
        name: &str,
    ) -> Outcome {
        let Some(rule) = plan.routes.rule(&envelope.path, &envelope.host) else {
            return Outcome::Wait(Instant::now() + super::PAUSE);
        };
        let (index, upstream) = match self.choose(plan, rule, Some(envelope)) {
            Choice::Try(index, upstream) => (index, upstream),
            Choice::Wait(until) => return Outcome::Wait(until),
            Choice::Aside(until) => return Outcome::Aside(until),
        };
        let mut template = match self.template(envelope, &upstream) {
            Ok(template) => template,
            Err(tag) => {
                self.released(index, &upstream, Some(envelope));
                return Outcome::NoKey(tag);
            }
        };
        let number = stored.position.number;
        let id = format!("{}.{agent}.{number}", self.id_for(&upstream));
        template.fields.insert(ID_FIELD, HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-")));
        if upstream.is_relay.load(Ordering::Relaxed)
            && let Ok(name) = HeaderValue::from_str(name)
        {
            template.fields.insert(AGENT_FIELD, name);
        }
        let progress = Progress::default();
        let mut make = || {
            let mut request = Request::new(sent(stored.body.clone(), progress.clone()));
            *request.method_mut() = envelope.method.parse().unwrap_or(Method::POST);
            request.headers_mut().clone_from(&template.fields);
            upstream.address(&mut request, &template.path, &template.query);
            Some(request)
        };
        let answered = upstream.send(false, &progress, &mut make, plan.patience).await;
        Counts::add(&upstream.counts.bytes_out, progress.given());
        match answered {
            Ok((response, connection)) => {
                let status = response.status().as_u16();
                let told = told(&response);
                note_relay(&upstream, &response);
                self.judge(&upstream, status, told);
                // The answer counts; what stands in it does not.
                let read = Limited::new(response.into_body(), MOST_ANSWER_BYTES).collect();
                if matches!(time::timeout(plan.patience, read).await, Ok(Ok(_))) {
                    upstream.put(connection);
                }
                self.conclude(index, &upstream, envelope, name, status)
            }
            Err(error) => {
                self.failed(&upstream, &error);
                self.released(index, &upstream, Some(envelope));
                Outcome::Wait(Instant::now() + jittered(200))
            }
        }
    }

    fn conclude(
        &self,
        index: usize,
        upstream: &Upstream,
        envelope: &Envelope,
        name: &str,
        status: u16,
    ) -> Outcome {
        let (tag, path, now) = (tag(upstream, envelope), envelope.path.as_str(), Instant::now());
        let verdict = verdict::verdict(status);
        match verdict {
            Verdict::Delivered => {
                if self.holds().worked(index, tag, path) {
                    self.queue.wake();
                }
                Outcome::Delivered
            }
            Verdict::Dead => {
                self.holds().untold(index, tag, path);
                Outcome::Dead(status)
            }
            Verdict::Trouble => {
                self.holds().untold(index, tag, path);
                Outcome::Wait(now + jittered(500))
            }
            Verdict::Key | Verdict::Path => {
                self.tell_refused(name, status, path);
                let mut holds = self.holds();
                if verdict == Verdict::Path {
                    return Outcome::Aside(holds.refused_path(index, path, now, fastrand::f64()));
                }
                match holds.refused_key(index, tag, path, now, fastrand::f64()) {
                    Order::Wait(until) => Outcome::Wait(until),
                    Order::SetAside => Outcome::Aside(now + jittered(2000)),
                }
            }
        }
    }

    fn tell_refused(&self, agent: &str, status: u16, path: &str) {
        self.fleet.note(agent, |seen| seen.last_error = Some(format!("{status} on {path}")));
        static QUIET: Quiet = Quiet::new(Duration::from_secs(30));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            tracing::warn!(
                agent,
                status,
                path,
                suppressed,
                "the other side refuses; the agent's data is held"
            );
        }
    }

    /// An upstream of this rule that may be tried now. Without an envelope, no key and no path holds it up.
    pub(super) fn choose(&self, plan: &Plan, rule: &Rule, envelope: Option<&Envelope>) -> Choice {
        let now = Instant::now();
        // Held until the probe is noted: nobody else makes one meanwhile.
        let mut holds = self.holds();
        let mut choices = Vec::new();
        let mut path_held: Option<Instant> = None;
        let mut path_open = false;
        for index in &rule.upstreams {
            let Some(upstream) = plan.upstreams.get(*index) else { continue };
            let mut permit = upstream.breaker().permit(now);
            if let Some(envelope) = envelope {
                let path = holds.path(*index, &envelope.path, now);
                match path {
                    Permit::Wait(until) if upstream.weight() > 0 => {
                        path_held = Some(path_held.map_or(until, |other| other.min(until)));
                    }
                    _ => path_open |= upstream.weight() > 0,
                }
                let key = holds.key(*index, tag(upstream, envelope), now);
                permit = both(both(permit, key), path);
                if upstream.counts.busy.load(Ordering::Relaxed) >= KEPT as u64 {
                    permit = both(permit, Permit::Wait(now + BUSY));
                }
            }
            choices.push((*index, upstream.weight(), permit));
        }
        if let (Some(until), false) = (path_held, path_open) {
            return Choice::Aside(until);
        }
        let (index, is_probe) = match plan.routes.choose(&choices, now) {
            Ok(chosen) => chosen,
            Err(until) => return Choice::Wait(until),
        };
        let Some(upstream) = plan.upstreams.get(index) else { return Choice::Wait(now + super::PAUSE) };
        if is_probe {
            let mut breaker = upstream.breaker();
            if breaker.permit(now) == Permit::Probe {
                breaker.probe(now);
            }
            if let Some(envelope) = envelope {
                holds.probe(index, tag(upstream, envelope), &envelope.path, now);
            }
        }
        Choice::Try(index, Arc::clone(upstream))
    }

    /// A probe that says nothing.
    pub(super) fn released(&self, index: usize, upstream: &Upstream, envelope: Option<&Envelope>) {
        upstream.breaker().untold();
        if let Some(envelope) = envelope {
            self.holds().untold(index, tag(upstream, envelope), &envelope.path);
        }
    }

    pub(super) fn judge(&self, upstream: &Upstream, status: u16, told: Option<Duration>) {
        let hundreds = usize::from(status / 100).saturating_sub(1).min(4);
        if let Some(counter) = upstream.counts.answers.get(hundreds) {
            Counts::add(counter, 1);
        }
        if verdict::verdict(status) == Verdict::Trouble {
            Counts::add(&upstream.counts.retries, 1);
            let reason = match status {
                407 => "the web proxy wants a user and a password (407): see proxy_user and proxy_password"
                    .to_owned(),
                _ => format!("it answers {status}"),
            };
            self.down(upstream, told, &reason);
        } else if upstream.breaker().worked() {
            self.is_back(upstream);
        }
    }

    pub(super) fn is_back(&self, upstream: &Upstream) {
        upstream.counts.changed_ms.store(now_ms(), Ordering::Relaxed);
        tracing::info!(upstream = upstream.spec.name, "an upstream is back");
        self.queue.wake();
    }

    pub(super) fn failed(&self, upstream: &Upstream, error: &Error) {
        let counter = match error {
            Error::Connect(_) => &upstream.counts.connect_errors,
            Error::Send(_) | Error::Late => &upstream.counts.response_errors,
        };
        Counts::add(counter, 1);
        Counts::add(&upstream.counts.retries, 1);
        self.down(upstream, None, &error.to_string());
    }

    pub(super) fn down(&self, upstream: &Upstream, told: Option<Duration>, reason: &str) {
        if upstream.breaker().failed(Instant::now(), told, fastrand::f64()) {
            Counts::add(&upstream.counts.downs, 1);
            upstream.counts.changed_ms.store(now_ms(), Ordering::Relaxed);
            upstream.let_go();
            let name = upstream.spec.name.as_str();
            tracing::warn!(upstream = name, reason, "an upstream is down; what it should get is kept");
        }
    }

    /// What an upstream knows this queue by: another than any other upstream does.
    fn id_for(&self, upstream: &Upstream) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.queue.id().to_le_bytes());
        let sum = hmac::sign(&key, upstream.spec.base.authority().as_bytes());
        sum.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The head for an upstream, or the tag of a secret that has to be told again first.
    pub(super) fn template(&self, envelope: &Envelope, upstream: &Upstream) -> Result<Template, String> {
        let mut fields = envelope.fields.clone();
        let mut query = envelope.query.clone();
        let mut path = if envelope.path == "/intake" { "/intake/" } else { &envelope.path }.to_owned();
        let own = upstream.spec.key.as_ref();
        let mut add = |name: &str, value: &str| {
            let joint = if query.is_empty() { "" } else { "&" };
            query.push_str(&format!("{joint}{name}={value}"));
        };
        for secret in &envelope.secrets {
            let value = match own {
                Some(own) if secret.is_api_key() => own.clone(),
                _ => self.keys.key(&secret.tag).ok_or_else(|| secret.tag.clone())?,
            };
            match &secret.place {
                Place::Query(name) => add(name, value.expose()),
                Place::Path => path.push_str(value.expose()),
                Place::Field(name) => {
                    if let Ok(mut value) = HeaderValue::from_str(value.expose()) {
                        value.set_sensitive(true);
                        fields.insert(name.clone(), value);
                    }
                }
            }
        }
        if let Some(own) = own
            && envelope.key_tag().is_none()
        {
            add("api_key", own.expose());
        }
        Ok(Template { fields, path, query })
    }
}

/// When an answer says that it may be tried again.
fn told(response: &Response<Incoming>) -> Option<Duration> {
    let told = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    verdict::retry_after(told, SystemTime::now())
}

/// What stands for the key that an upstream gets to see.
fn tag<'a>(upstream: &Upstream, envelope: &'a Envelope) -> &'a str {
    if upstream.spec.key.is_some() { OWN } else { envelope.key_tag().unwrap_or("-") }
}

/// What both let through.
fn both(one: Permit, other: Permit) -> Permit {
    match (one, other) {
        (Permit::Wait(one), Permit::Wait(other)) => Permit::Wait(one.max(other)),
        (Permit::Wait(until), _) | (_, Permit::Wait(until)) => Permit::Wait(until),
        (Permit::Probe, _) | (_, Permit::Probe) => Permit::Probe,
        (Permit::Open, Permit::Open) => Permit::Open,
    }
}

/// Notes whether a relay of our kind answered.
fn note_relay(upstream: &Upstream, response: &Response<Incoming>) {
    upstream.is_relay.store(response.headers().contains_key(RELAY_FIELD), Ordering::Relaxed);
}
