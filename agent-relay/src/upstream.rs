//! The other sides: where they are, how well they are, and the connections to them.

mod body;
mod breaker;
mod dial;
mod names;
mod proxy;
mod resolver;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use common::{
    config::Secret,
    drain::Drain,
    kept::Kept,
    trust::{self, Trust},
};
use http::{HeaderValue, Request, Response, Uri, header, uri};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use tokio::time;

use crate::tcp::pool::Admin;

pub(crate) use self::{
    body::{Body, Progress, coming, sent, whole},
    breaker::{Breaker, Permit},
    dial::Dialer,
    names::Names,
    proxy::{Proxies, WebProxy},
};

/// How long a connection is kept that nobody uses.
const KEEP: Duration = Duration::from_secs(50);
/// How long a connection is used at all, so that a name that moved is followed.
const AGE: Duration = Duration::from_secs(300);
/// How many are kept, and how many requests may be on their way at a time: one that is slow leaves room for others.
pub(crate) const KEPT: usize = 512;

/// Where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Base {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What stands before every path, without a slash at its end.
    pub(crate) path: String,
}

impl Base {
    /// Reads a URL; without a scheme it is https, as it always was.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let url = url.trim();
        let whole = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
        let uri: Uri = whole.parse().ok()?;
        let tls = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_plain = uri.query().is_none() && !uri.authority()?.as_str().contains('@') && !host.is_empty();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        is_plain.then(|| Self { tls, host, port, path: uri.path().trim_end_matches('/').to_owned() })
    }

    /// `host:port`, as an authority.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// What is counted of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) connect_errors: AtomicU64,
    pub(crate) response_errors: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) connections: AtomicU64,
    /// Answers by their hundreds, from 1xx to 5xx.
    pub(crate) answers: [AtomicU64; 5],
    pub(crate) checks_failed: AtomicU64,
    pub(crate) downs: AtomicU64,
    /// Requests on their way.
    pub(crate) busy: AtomicU64,
    /// The most at a time.
    pub(crate) most_busy: AtomicU64,
    /// Milliseconds since 1970 when it last went down or came back.
    pub(crate) changed_ms: AtomicU64,
}

impl Counts {
    pub(crate) fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// What an upstream is made of.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) name: String,
    pub(crate) base: Base,
    pub(crate) weight: u32,
    /// A path that is asked for while all is quiet; nothing is asked without it.
    pub(crate) health: Option<String>,
    /// The key that replaces those of the clients.
    pub(crate) key: Option<Secret>,
}

/// How a check of an upstream ended, in HAProxy's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    pub(crate) status: &'static str,
    /// The status of the answer, or 0.
    pub(crate) code: u16,
    pub(crate) took: Duration,
}

/// One upstream.
pub(crate) struct Upstream {
    pub(crate) spec: Spec,
    pub(crate) counts: Counts,
    breaker: Mutex<Breaker>,
    kept: Mutex<Kept<Connection>>,
    /// It answered as a relay of our kind.
    pub(crate) is_relay: AtomicBool,
    check: Mutex<Option<Check>>,
    admin: Mutex<Admin>,
    dialer: Arc<Dialer>,
    drain: Drain,
}

/// One connection, for one request at a time.
pub(crate) struct Connection {
    sender: http1::SendRequest<Body>,
    opened: Instant,
    /// Whom it leads to.
    peer: SocketAddr,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Nobody is there, or not who it should be.
    #[error("connect: {0}")]
    Connect(#[source] std::io::Error),
    /// It broke off.
    #[error("send: {0}")]
    Send(#[source] hyper::Error),
    /// It takes too long.
    #[error("no answer in time")]
    Late,
}

impl Upstream {
    pub(crate) fn new(spec: Spec, dialer: Arc<Dialer>, drain: Drain) -> Self {
        Self {
            spec,
            counts: Counts::default(),
            breaker: Mutex::default(),
            kept: Mutex::new(Kept::new(KEPT, KEEP)),
            is_relay: AtomicBool::new(false),
            check: Mutex::default(),
            admin: Mutex::default(),
            dialer,
            drain,
        }
    }

    pub(crate) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept<Connection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an operator wants of it.
    pub(crate) fn admin(&self) -> Admin {
        *self.admin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn administer(&self, admin: Admin) {
        *self.admin.lock().unwrap_or_else(PoisonError::into_inner) = admin;
    }

    /// Its part of what is sent: none while it is not to serve.
    pub(crate) fn weight(&self) -> u32 {
        if self.admin() == Admin::Ready { self.spec.weight } else { 0 }
    }

    /// How it was when it was last asked.
    pub(crate) fn check(&self) -> Option<Check> {
        *self.check.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note_check(&self, check: Check) {
        *self.check.lock().unwrap_or_else(PoisonError::into_inner) = Some(check);
    }

    /// Lets go of every connection that nobody uses.
    pub(crate) fn let_go(&self) {
        self.kept().clear();
    }

    /// Whether a connection can be used again. The address that a name has left is drained.
    fn is_good(&self, connection: &Connection) -> bool {
        connection.sender.is_ready() && self.dialer.leads_to(&self.spec.base, connection.peer)
    }

    fn take(&self) -> Option<Connection> {
        self.kept().take(Instant::now(), |connection| self.is_good(connection))
    }

    /// Takes a connection back once its answer was read to the end.
    pub(crate) fn put(&self, connection: Connection) {
        if !self.drain.is_started() && connection.opened.elapsed() < AGE {
            self.kept().put(connection, Instant::now(), |connection| self.is_good(connection));
        }
    }

    /// Sends a request, and waits for the head of the answer as long as `progress` moves once in `patience`. `make`
    /// is called again when a kept connection turns out to be closed, at most once after something was sent; with
    /// `anew` none is used that was kept.
    pub(crate) async fn send(
        &self,
        anew: bool,
        progress: &Progress,
        make: &mut (dyn FnMut() -> Option<Request<Body>> + Send),
        patience: Duration,
    ) -> Result<(Response<Incoming>, Connection), Error> {
        Counts::add(&self.counts.requests, 1);
        let _busy = Busy::new(&self.counts);
        self.dialer.refresh(&self.spec.base, &self.drain);
        while let Some(mut connection) = if anew { None } else { self.take() } {
            let Some(request) = make() else { break };
            match answer(&mut connection, request, progress, patience).await? {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => {
                    tracing::debug!(error = %error.error(), "a kept connection was closed");
                    if error.take_message().is_none() {
                        break;
                    }
                }
            }
        }
        progress.touch();
        let opened = time::timeout(patience, self.dialer.open(&self.spec.base, &self.drain)).await;
        let (sender, peer) =
            opened.map_err(|_| Error::Late).and_then(|opened| opened.map_err(Error::Connect))?;
        Counts::add(&self.counts.connections, 1);
        let Some(request) = make() else { return Err(Error::Late) };
        let mut connection = Connection { sender, opened: Instant::now(), peer };
        match answer(&mut connection, request, progress, patience).await? {
            Ok(response) => Ok((response, connection)),
            Err(error) => Err(Error::Send(error.into_error())),
        }
    }

    /// A request to this upstream, addressed as the way to it wants it.
    pub(crate) fn address(&self, request: &mut Request<Body>, path: &str, query: &str) {
        let base = &self.spec.base;
        let target = format!("{}{path}", base.path);
        let target = if query.is_empty() { target } else { format!("{target}?{query}") };
        let mut parts = uri::Parts::default();
        parts.path_and_query = target.parse().ok();
        if let Some(authorization) = self.dialer.forwarding(base) {
            parts.scheme = Some(uri::Scheme::HTTP);
            parts.authority = base.authority().parse().ok();
            if let Some(authorization) = authorization {
                request.headers_mut().insert(header::PROXY_AUTHORIZATION, authorization);
            }
        }
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        let usual = base.port == if base.tls { 443 } else { 80 };
        let host = if usual && !base.host.contains(':') { base.host.clone() } else { base.authority() };
        if let Ok(host) = HeaderValue::from_str(&host) {
            request.headers_mut().insert(header::HOST, host);
        }
    }
}

/// A request that is on its way, until it is dropped.
struct Busy<'a>(&'a Counts);

impl<'a> Busy<'a> {
    fn new(counts: &'a Counts) -> Self {
        let busy = counts.busy.fetch_add(1, Ordering::Relaxed) + 1;
        counts.most_busy.fetch_max(busy, Ordering::Relaxed);
        Self(counts)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The head of the answer, unless nothing moves for too long.
async fn answer(
    connection: &mut Connection,
    request: Request<Body>,
    progress: &Progress,
    patience: Duration,
) -> Result<Result<Response<Incoming>, TrySendError<Request<Body>>>, Error> {
    progress.touch();
    let mut answer = std::pin::pin!(connection.sender.try_send_request(request));
    loop {
        let until = progress.last() + patience;
        tokio::select! {
            answer = &mut answer => return Ok(answer),
            () = time::sleep_until(until) => {}
        }
        if progress.last() + patience <= time::Instant::now() {
            return Err(Error::Late);
        }
    }
}

/// How upstreams are reached.
pub(crate) fn dialer(trust: &Trust, proxies: Proxies, names: &Arc<Names>) -> anyhow::Result<Arc<Dialer>> {
    Ok(Arc::new(Dialer::new(trust::client(trust)?, proxies, Arc::clone(names))))
}

#[cfg(test)]
mod tests {
    use super::Base;

    #[test]
    fn a_url_is_read_as_the_agents_read_it() {
        let check = |url: &str, expected: Option<(bool, &str, u16, &str)>| {
            let base = Base::parse(url);
            let told = base.as_ref().map(|b| (b.tls, b.host.as_str(), b.port, b.path.as_str()));
            assert_eq!(told, expected, "{url}");
        };
        check("http://localhost:7070/stsAgent/", Some((false, "localhost", 7070, "/stsAgent")));
        check("app.example.com", Some((true, "app.example.com", 443, "")));
        check("https://[::1]:8443", Some((true, "::1", 8443, "")));
        check("http://user:secret@host", None);
        check("ftp://host", None);
        check("http://host/?a", None);
        check("", None);
    }
}
