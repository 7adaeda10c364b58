//! What agents speak to: takes their requests, and answers when they are on disk.

pub(crate) mod answer;
mod gather;
pub(crate) mod path;
mod status;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{drain::Drain, quiet::Quiet};
use http::{HeaderName, Method, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::Semaphore, time};

use self::{
    gather::Gathered,
    path::{Shape, Way},
};
use crate::{
    envelope::{self, Envelope, KeyPlace},
    fleet::Fleet,
    keys::Keys,
    queue::{Queue, Refusal, now_ms},
    relay::{Relay, full},
    upstream::Body,
};

/// How long a head may take.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// How long a failed accept is let pass.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest head that is kept.
const MOST_HEAD_BYTES: usize = 32 << 10;

/// What every connection of agents needs.
pub(crate) struct Intake {
    pub(crate) queue: Arc<Queue>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) keys: Arc<Keys>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) max_body: u64,
    /// Memory for bodies, in KiB.
    pub(crate) memory: Semaphore,
    /// Connections.
    pub(crate) room: Arc<Semaphore>,
}

impl Intake {
    /// Accepts agents until the drain starts.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, drain: Drain) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => {
                tracing::error!(%error, "agents cannot be accepted");
                return drain.ask();
            }
        };
        loop {
            let Ok(room) = Arc::clone(&self.room).acquire_owned().await else { return };
            let (stream, peer) = tokio::select! {
                () = drain.started() => return,
                accepted = listener.accept() => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, "accept failed");
                        time::sleep(PAUSE).await;
                        continue;
                    }
                },
            };
            let (own, until) = (Arc::clone(&self), drain.clone());
            drain.spawn(async move {
                own.converse(stream, peer, until).await;
                drop(room);
            });
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, drain: Drain) {
        stream.set_nodelay(true).ok();
        let service = service_fn(move |request| {
            let own = Arc::clone(&self);
            async move { Ok::<_, std::convert::Infallible>(Box::pin(own.answer(request, peer)).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(64 << 10)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = drain.started() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection of an agent broke");
        }
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if request.method() == Method::CONNECT {
            return answer::close(StatusCode::METHOD_NOT_ALLOWED, "this is no web proxy\n");
        }
        let (mut parts, body) = request.into_parts();
        let bare = path::bare(parts.uri.path()).to_owned();
        let bare = if bare.is_empty() { "/".to_owned() } else { bare };
        let way = path::way(parts.method.as_str(), &bare);
        if way == Way::Status {
            let wants_json = answer::accepts_json(&parts.headers);
            return status::status(&self.queue, parts.uri.query().unwrap_or_default(), wants_json);
        }
        let fields = std::mem::take(&mut parts.headers);
        let host = fields.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host.split_whitespace().next().unwrap_or_default().to_owned();
        let mut envelope =
            Envelope { method: parts.method.to_string(), path: bare, host, ..Envelope::default() };
        let agent = self.identify(&mut envelope, fields, parts.uri.query().unwrap_or_default(), peer);
        let rule = self.relay.routes.rule(&envelope.path, &envelope.host);
        let is_live = rule.and_then(|rule| rule.live).unwrap_or(way == Way::Live);
        if is_live {
            return self.carry(envelope, body, parts.version).await;
        }
        let shape = path::shape(&envelope.path);
        self.keep(agent, &envelope, body, shape).await
    }

    /// Whose request it is; takes the key out of it.
    fn identify(
        &self,
        envelope: &mut Envelope,
        mut fields: http::HeaderMap,
        query: &str,
        peer: SocketAddr,
    ) -> String {
        let (query, in_query) = path::without_key(query);
        envelope.query = query;
        envelope::strip(&mut fields);
        let mut place = in_query.map(|key| KeyPlace { field: None, tag: self.keys.tag(&key) });
        for name in envelope::KEY_FIELDS {
            if let Some(value) = fields.remove(name)
                && let Ok(key) = value.to_str()
            {
                place =
                    Some(KeyPlace { field: Some(HeaderName::from_static(name)), tag: self.keys.tag(key) });
            }
        }
        let named = fields.get("sts-hostname").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let named: String =
            named.chars().filter(|c| c.is_ascii_alphanumeric() || ".-_".contains(*c)).take(128).collect();
        let tag = place.as_ref().map_or("-", |place| place.tag.get(..8).unwrap_or_default());
        let agent =
            format!("{} {} {tag}", peer.ip().to_canonical(), if named.is_empty() { "-" } else { &named });
        let version = ["sts-agent-version", "dd-agent-version", "user-agent"]
            .iter()
            .find_map(|name| fields.get(*name).and_then(|value| value.to_str().ok()))
            .map(|version| version.chars().take(128).collect::<String>());
        self.fleet.note(&agent, |seen| {
            seen.last_seen_ms = now_ms();
            seen.version = version.unwrap_or_default();
        });
        envelope.key = place;
        envelope.fields = fields;
        agent
    }

    async fn keep(&self, agent: String, envelope: &Envelope, body: Incoming, shape: Shape) -> Response<Body> {
        let head = envelope::encode(envelope);
        if head.len() > MOST_HEAD_BYTES {
            return answer::close(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large\n");
        }
        let gathered = gather::gather(body, self.max_body, &self.memory).await;
        let (body, _memory) = match gathered {
            Gathered::Whole(body, memory) => (body, memory),
            Gathered::TooLarge => {
                return answer::close(StatusCode::PAYLOAD_TOO_LARGE, "more than body_max_bytes\n");
            }
            Gathered::NoMemory => return self.refuse(&agent, 2, "memory"),
            Gathered::Late => return answer::close(StatusCode::REQUEST_TIMEOUT, "the body takes too long\n"),
            Gathered::Broken => return answer::close(StatusCode::BAD_REQUEST, "the body is broken\n"),
        };
        let bytes = body.len() as u64;
        match self.queue.keep(agent.clone(), head, body).await {
            Ok(()) => {
                self.fleet.note(&agent, |seen| {
                    seen.requests += 1;
                    seen.bytes += bytes;
                });
                answer::accepted(shape)
            }
            Err(Refusal::QueueFull) => self.refuse(&agent, 30, "queue full"),
            Err(Refusal::AgentFull) => self.refuse(&agent, 30, "agent full"),
            Err(Refusal::Disk | Refusal::Closed) => self.refuse(&agent, 5, "disk"),
        }
    }

    fn refuse(&self, agent: &str, after_s: u32, reason: &'static str) -> Response<Body> {
        self.fleet.note(agent, |seen| seen.refused += 1);
        static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            tracing::warn!(agent, reason, suppressed, "an agent is asked to keep its data");
        }
        answer::later(after_s)
    }

    async fn carry(&self, envelope: Envelope, body: Incoming, version: Version) -> Response<Body> {
        let body = body.map_err(Into::into).boxed_unsync();
        let Some(response) = self.relay.carry(&envelope, body).await else { return answer::later(5) };
        let mut response = response.map(|body| body.map_err(Into::into).boxed_unsync());
        let length = response.headers().get(header::CONTENT_LENGTH).cloned();
        envelope::strip(response.headers_mut());
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        *response.version_mut() = version;
        response
    }
}

/// A body of our own.
fn own(text: impl Into<Bytes>) -> Body {
    full(text.into())
}
