//! What agents speak to: takes their requests, and answers when they are on disk.

mod agent;
pub(crate) mod answer;
mod framing;
pub(crate) mod gate;
mod gather;
pub(crate) mod path;
mod status;
mod wire;

use std::{
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{drain::Drain, listen, quiet::Quiet};
use http::{Method, Request, Response, StatusCode, Version, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    time,
};
use tokio_rustls::TlsAcceptor;

use self::{
    agent::Caller,
    framing::Framing,
    gate::Gate,
    gather::Gathered,
    path::{Shape, Way},
    wire::Wire,
};
use crate::{
    envelope::{self, Envelope},
    queue::{Queue, Refusal},
    relay::Relay,
    upstream::{Body, Progress, whole},
};

/// How long a connection may be silent between two requests, and a handshake may take.
const IDLE: Duration = Duration::from_secs(60);
/// How long a connection without a request is kept once the stop was asked for.
const LINGER: Duration = Duration::from_secs(2);
/// The longest head that is kept.
const MOST_HEAD_BYTES: usize = 32 << 10;
/// Who the relay before this one has a request from.
pub(crate) const AGENT_FIELD: &str = "wayside-agent";
/// Every answer of ours has it, so that the relay before this one knows whom it speaks to.
pub(crate) const RELAY_FIELD: &str = "wayside-relay";

/// What agents may do, as the configuration has it at the moment.
#[derive(Clone, Default)]
pub(crate) struct Terms {
    pub(crate) gate: Gate,
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) max_body: u64,
}

/// What is counted of the intake.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) connections: AtomicU64,
    pub(crate) open: AtomicU64,
    pub(crate) most_open: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    /// Requests carried live.
    pub(crate) live: AtomicU64,
    /// Connections and requests that the gate refused.
    pub(crate) denied: AtomicU64,
    /// Refused to be sent again, by the reasons of [`REASONS`].
    pub(crate) refused: [AtomicU64; 4],
    /// Requests whose framing was bad.
    pub(crate) bad: AtomicU64,
    /// Requests with more than `body_max_bytes`.
    pub(crate) too_large: AtomicU64,
    /// Requests that took too long.
    pub(crate) late: AtomicU64,
}

/// Why agents are asked to keep their data.
pub(crate) const REASONS: [&str; 4] = ["memory", "queue full", "agent full", "disk"];

/// What every connection of agents needs.
pub(crate) struct Intake {
    pub(crate) queue: Arc<Queue>,
    pub(crate) relay: Arc<Relay>,
    pub(crate) terms: RwLock<Arc<Terms>>,
    /// Memory for bodies, in KiB.
    pub(crate) memory: Semaphore,
    /// Connections.
    pub(crate) room: Arc<Semaphore>,
    pub(crate) taken: Arc<Taken>,
}

/// What becomes of a connection.
type Greeted = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection that is open, until it is dropped.
struct Open(Arc<Taken>);

impl Open {
    fn new(taken: &Arc<Taken>) -> Self {
        taken.connections.fetch_add(1, Ordering::Relaxed);
        let open = taken.open.fetch_add(1, Ordering::Relaxed) + 1;
        taken.most_open.fetch_max(open, Ordering::Relaxed);
        Self(Arc::clone(taken))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Intake {
    fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Other terms from now on, for connections and requests that begin.
    pub(crate) fn follow(&self, terms: Terms) {
        *self.terms.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(terms);
    }

    /// Accepts agents until the drain starts.
    pub(crate) async fn accept(self: Arc<Self>, listener: TcpListener, drain: Drain) {
        let taken = listen::accept(listener, &self.room, &drain, |stream, peer, place| {
            if !self.terms().gate.lets_in(peer.ip()) {
                return self.deny(peer);
            }
            let (own, until) = (Arc::clone(&self), drain.clone());
            let open = Open::new(&self.taken);
            let greeted = own.greet(stream, peer, until);
            drain.spawn(async move {
                greeted.await;
                drop((open, place));
            });
        });
        if let Err(error) = taken.await {
            tracing::error!(%error, "agents cannot be accepted");
            drain.ask();
        }
    }

    fn deny(&self, peer: SocketAddr) {
        self.taken.denied.fetch_add(1, Ordering::Relaxed);
        static QUIET: Quiet = Quiet::new(Duration::from_secs(60));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            tracing::warn!(%peer, suppressed, "an agent is not let in; see intake_allow and intake_token");
        }
    }

    /// A connection to its end. On the heap, and only as large as its own kind: most of them wait, and there are many.
    fn greet(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, drain: Drain) -> Greeted {
        stream.set_nodelay(true).ok();
        match self.terms().tls.clone() {
            None => Box::pin(self.converse(stream, peer, drain)),
            Some(tls) => Box::pin(async move {
                let greeted = tokio::select! {
                    greeted = time::timeout(IDLE, tls.accept(stream)) => greeted,
                    () = drain.started() => return,
                };
                match greeted {
                    Ok(Ok(stream)) => Box::pin(self.converse(stream, peer, drain)).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS with an agent"),
                    Err(_) => tracing::debug!(%peer, "no TLS with an agent in time"),
                }
            }),
        }
    }

    async fn converse(
        self: Arc<Self>,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        peer: SocketAddr,
        drain: Drain,
    ) {
        let framing: Arc<Mutex<Framing>> = Arc::default();
        let stream = Wire::new(stream, Arc::clone(&framing));
        let count = AtomicU64::new(0);
        let stop = drain.clone();
        let service = service_fn(move |request| {
            let number = count.fetch_add(1, Ordering::Relaxed) + 1;
            let (own, framing, until) = (Arc::clone(&self), Arc::clone(&framing), stop.clone());
            async move {
                let is_bad = move || framing.lock().unwrap_or_else(PoisonError::into_inner).is_bad(number);
                let mut response = Box::pin(own.answer(request, peer, &is_bad)).await;
                let name = header::HeaderName::from_static(RELAY_FIELD);
                response.headers_mut().insert(name, header::HeaderValue::from_static("1"));
                if until.is_started() {
                    let close = header::HeaderValue::from_static("close");
                    response.headers_mut().insert(header::CONNECTION, close);
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(64 << 10)
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = linger(&drain) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%peer, %error, "a connection of an agent broke");
        }
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        is_bad: &(dyn Fn() -> bool + Send + Sync),
    ) -> Response<Body> {
        if is_bad() {
            return self.bad();
        }
        if request.method() == Method::CONNECT {
            return answer::close(StatusCode::METHOD_NOT_ALLOWED, "this is no web proxy\n");
        }
        let terms = self.terms();
        let (mut parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default();
        let bare = path::bare(parts.uri.path()).to_owned();
        let bare = if bare.is_empty() { "/".to_owned() } else { bare };
        let forwarded = parts.headers.get("x-forwarded-for").and_then(|told| told.to_str().ok());
        let address = terms.gate.agent(peer.ip(), forwarded);
        let way = path::way(parts.method.as_str(), &bare);
        let shown = match terms.gate.token {
            // Who asks how the relay is may be a script that knows nothing else.
            Some(_) if way != Way::Status => agent::shown(&parts.headers, query, &bare),
            _ => Vec::new(),
        };
        let gate =
            Gate { token: terms.gate.token.clone().filter(|_| way != Way::Status), ..terms.gate.clone() };
        if !gate.admits(address, shown.iter().map(String::as_str)) {
            self.deny(peer);
            return answer::unknown();
        }
        let wants_json = answer::accepts_json(&parts.headers);
        if way == Way::Status {
            return status::status(&self.relay, query, wants_json);
        }
        let fields = std::mem::take(&mut parts.headers);
        let host = fields.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host = host.split_whitespace().next().unwrap_or_default().to_owned();
        let mut envelope =
            Envelope { method: parts.method.to_string(), path: bare, host, ..Envelope::default() };
        let caller = self.identify(&mut envelope, fields, query, address);
        let plan = self.relay.plan();
        let rule = plan.routes.rule(&envelope.path, &envelope.host);
        let is_live = rule.and_then(|rule| rule.live).unwrap_or(way == Way::Live);
        if is_live {
            self.taken.live.fetch_add(1, Ordering::Relaxed);
            return self.carry(envelope, body, parts.version).await;
        }
        let shape = path::shape(&envelope.path, envelope.has_key_field() || wants_json);
        self.keep(caller, &envelope, body, shape, terms.max_body, is_bad).await
    }

    fn bad(&self) -> Response<Body> {
        self.taken.bad.fetch_add(1, Ordering::Relaxed);
        answer::close(StatusCode::BAD_REQUEST, "the framing of the request is bad\n")
    }

    async fn keep(
        &self,
        caller: Caller,
        envelope: &Envelope,
        body: Incoming,
        shape: Shape,
        max_body: u64,
        is_bad: &(dyn Fn() -> bool + Send + Sync),
    ) -> Response<Body> {
        let Caller { agent, origin } = caller;
        let head = envelope::encode(envelope);
        if head.len() > MOST_HEAD_BYTES {
            return answer::close(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the head is too large\n");
        }
        let gathered = gather::gather(body, max_body, &self.memory).await;
        let (body, _memory) = match gathered {
            Gathered::Whole(..) | Gathered::Broken if is_bad() => return self.bad(),
            Gathered::Whole(body, memory) => (body, memory),
            Gathered::TooLarge => {
                self.taken.too_large.fetch_add(1, Ordering::Relaxed);
                return answer::close(StatusCode::PAYLOAD_TOO_LARGE, "more than body_max_bytes\n");
            }
            Gathered::NoMemory => return self.refuse(&agent, 2, 0),
            Gathered::Late => {
                self.taken.late.fetch_add(1, Ordering::Relaxed);
                return answer::close(StatusCode::REQUEST_TIMEOUT, "the body takes too long\n");
            }
            Gathered::Broken => return self.bad(),
        };
        let bytes = body.len();
        match self.queue.keep(agent.clone(), head.into(), body, origin).await {
            Ok(()) => {
                self.taken.bytes_in.fetch_add(bytes, Ordering::Relaxed);
                self.relay.fleet.note(&agent, |seen| {
                    seen.requests += 1;
                    seen.bytes += bytes;
                });
                answer::accepted(shape)
            }
            Err(Refusal::QueueFull) => self.refuse(&agent, 30, 1),
            Err(Refusal::AgentFull) => self.refuse(&agent, 30, 2),
            Err(Refusal::Disk | Refusal::Closed) => self.refuse(&agent, 5, 3),
        }
    }

    /// `reason` is an index of [`REASONS`].
    fn refuse(&self, agent: &str, after_s: u32, reason: usize) -> Response<Body> {
        if let Some(counter) = self.taken.refused.get(reason) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let reason = REASONS.get(reason).copied().unwrap_or_default();
        self.relay.fleet.note(agent, |seen| seen.refused += 1);
        static QUIET: Quiet = Quiet::new(Duration::from_secs(10));
        if let Some(suppressed) = QUIET.speak(Instant::now()) {
            tracing::warn!(agent, reason, suppressed, "an agent is asked to keep its data");
        }
        answer::later(after_s)
    }

    async fn carry(&self, envelope: Envelope, body: Incoming, version: Version) -> Response<Body> {
        let Some(mut response) = self.relay.carry(&envelope, body).await else { return answer::later(5) };
        let length = response.headers().get(header::CONTENT_LENGTH).cloned();
        envelope::strip(response.headers_mut());
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        *response.version_mut() = version;
        response
    }
}

/// Returns a moment after the stop was asked for: a request that is on its way has its answer first.
async fn linger(drain: &Drain) {
    drain.started().await;
    time::sleep(LINGER).await;
}

/// A body of our own.
fn own(text: impl Into<Bytes>) -> Body {
    whole(text.into(), Progress::default())
}
