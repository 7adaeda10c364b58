//! Carries one request to its target and the answer back.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use common::quiet::Quiet;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, Version, header, uri};
use http_body::Body as _;
use hyper::{body::Incoming, client::conn::http1};
use tokio::{sync::OwnedSemaphorePermit, time};

use super::{
    Entry, Uplink,
    answer::Case,
    body::{Carried, Downlink, Free},
    fields,
    hold::{self, Held},
    page, upgrade,
    websocket::{self, NoWebSocket, Opening},
};
use crate::plane::{
    dial::{self, Reached},
    gate::Visit,
    plan::Target,
    proxied,
    route::Route,
    upstream::{Key, Sender},
};

/// How long one that waited keeps others waiting that waited too.
const TURN: Duration = Duration::from_millis(250);
/// How many connections that broke before a request was on them are put up with.
const STALE: u32 = 8;

/// The right of one that has waited to reach for the target while others wait for theirs.
type Turn = Option<OwnedSemaphorePermit>;

/// Why there is no answer.
enum Failure {
    /// The target did not take the request, or not all of it.
    Broke(hyper::Error),
    /// It could not be reached.
    Unreachable(io::Error),
    /// It is not there yet.
    Refused(Held),
}

struct Answer {
    response: Response<Incoming>,
    free: Option<Free>,
}

/// Carries a request whose visit is through, with its turn if it has waited. It waits again when the target goes.
pub(super) async fn forward(
    mut request: Request<Incoming>,
    case: Case,
    mut visit: Visit,
    turn: Turn,
    entry: &Arc<Entry>,
) -> Response<Downlink> {
    let (target, reads_html) = (&case.route.target, case.reads_html);
    let mut wish = fields::upgrade(request.headers()).filter(|_| request.version() == Version::HTTP_11);
    let key = match websocket::asked(&request) {
        Some(_) => Opening::of(fastrand::u128(..)),
        None => None,
    };
    if key.is_some() {
        wish = Some(HeaderValue::from_static("websocket"));
    }
    let client = wish.is_some().then(|| hyper::upgrade::on(&mut request));
    let is_grpc = request.version() == Version::HTTP_2 && is_grpc(request.headers()) && key.is_none();
    let mut request = dress(request, &case, &visit, entry, is_grpc, wish);
    if let Some(key) = &key {
        key.dress(&mut request);
    }
    match carry(request, &case, &mut visit, turn, entry, is_grpc).await {
        Ok(Answer { mut response, free }) => {
            let went_over = response.status() == StatusCode::SWITCHING_PROTOCOLS;
            if let Some(key) = &key
                && let Err(NoWebSocket) = key.undress(&mut response)
            {
                entry.plane.metrics.refuse("broke");
                return page::broke(target, reads_html);
            }
            if let Some(client) = client.filter(|_| went_over) {
                if key.is_some() {
                    fields::strip(response.headers_mut());
                }
                return upgrade::carry(client, response, visit, entry);
            }
            fields::strip(response.headers_mut());
            *response.version_mut() = Version::HTTP_11;
            response.map(|body| Downlink::Carried(Box::new(Carried { body, visit, free })))
        }
        Err(Failure::Refused(held)) => refused(held, target, reads_html, entry),
        Err(Failure::Unreachable(error)) => {
            entry.plane.metrics.dial_failures.inc();
            static QUIET: Quiet = Quiet::new(Duration::from_secs(5));
            if let Some(suppressed) = QUIET.speak(Instant::now()) {
                let rule = target.gate.rule_id();
                tracing::warn!(rule, %error, suppressed, "a target that is awake does not answer");
            }
            page::unreachable(target, reads_html)
        }
        Err(Failure::Broke(error)) => {
            entry.plane.metrics.refuse("broke");
            tracing::debug!(rule = target.gate.rule_id(), %error, "the target broke off");
            page::broke(target, reads_html)
        }
    }
}

/// What one is told that did not get through.
pub(super) fn refused(held: Held, target: &Target, reads_html: bool, entry: &Entry) -> Response<Downlink> {
    if held == Held::InVain {
        entry.plane.metrics.refuse("failed");
        page::told(target, reads_html)
    } else {
        entry.plane.metrics.refuse("late");
        page::late(target, reads_html)
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// The request as the target gets it.
fn dress(
    request: Request<Incoming>,
    case: &Case,
    visit: &Visit,
    entry: &Entry,
    http2: bool,
    wish: Option<HeaderValue>,
) -> Request<Uplink> {
    let (mut parts, body) = request.into_parts();
    fields::strip(&mut parts.headers);
    fields::tell(&mut parts.headers, entry.peer.ip(), entry.entrance.tls, &case.host);
    if let Some(wish) = wish {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, wish);
    }
    let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| uri::PathAndQuery::from_static("/"));
    let authority = case.host.to_str().ok().filter(|_| http2).and_then(|host| host.parse().ok());
    let mut to = uri::Parts::default();
    to.path_and_query = Some(path);
    if http2 {
        parts.headers.remove(header::HOST);
        to.scheme = Some(if case.route.target_tls { uri::Scheme::HTTPS } else { uri::Scheme::HTTP });
        to.authority = authority.or_else(|| Some(uri::Authority::from_static("localhost")));
        parts.version = Version::HTTP_2;
    } else {
        if parts.version == Version::HTTP_2 {
            fields::join_cookies(&mut parts.headers);
        }
        parts.headers.insert(header::HOST, case.host.clone());
        parts.version = Version::HTTP_11;
    }
    parts.uri = Uri::from_parts(to).unwrap_or_default();
    Request::from_parts(parts, Uplink { body: Some(body), visitor: visit.visitor_shared() })
}

async fn carry(
    mut request: Request<Uplink>,
    case: &Case,
    visit: &mut Visit,
    mut turn: Turn,
    entry: &Entry,
    http2: bool,
) -> Result<Answer, Failure> {
    let drain = &entry.plane.drain;
    let first = case.route.target.proxy_protocol_out.map(|version| {
        let here = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), entry.entrance.port);
        proxied::header(version, entry.peer, here)
    });
    let Route { target_port: port, target_tls: tls, .. } = *case.route;
    for _ in 0..STALE {
        let (sender, key, is_kept, generation) = loop {
            if !visit.is_through() {
                match hold::hold(case, visit, drain).await {
                    Held::Through => turn = visit.gate().pace().acquire_owned().await.ok(),
                    held => return Err(Failure::Refused(held)),
                }
            }
            let generation = visit.gate().generation();
            let (pool, first) = (&entry.pool, first.as_deref());
            let reached = dial::reach(visit, |place| async move {
                let key = Key { place, port, tls, http2 };
                // A connection that begins with who the client is belongs to that client.
                let kept = if first.is_none() { pool.take(&key, generation) } else { None };
                match kept {
                    Some(sender) => Ok((sender, key, true)),
                    None => {
                        let first = first.unwrap_or_default();
                        // Boxed: those that wait have no need of its room.
                        let opened = Box::pin(pool.open(&key, generation, first)).await?;
                        Ok((opened, key, false))
                    }
                }
            });
            match reached.await {
                Reached::There((sender, key, is_kept)) => break (sender, key, is_kept, generation),
                Reached::Failed(error) => return Err(Failure::Unreachable(error)),
                Reached::Parked => {}
            }
        };
        let spare = if is_kept { spare(&request) } else { None };
        match paced(send(sender, request), &mut turn).await {
            Ok((response, sender)) => {
                let pool = Arc::clone(&entry.pool);
                let free = sender.filter(|_| first.is_none());
                let free = free.map(|sender| Free { pool, key, generation, sender });
                return Ok(Answer { response, free });
            }
            // Not a byte of it was sent: the connection was closed while it was kept.
            Err((_, Some(unsent))) => request = unsent,
            Err((error, None)) => match spare {
                // It was closed while the request was on its way.
                Some(spare) => request = spare,
                None => return Err(Failure::Broke(error)),
            },
        }
    }
    Err(Failure::Unreachable(io::ErrorKind::ConnectionAborted.into()))
}

/// The same request once more, when asking twice does no harm (RFC 9110 §9.2.2) and it has no body.
fn spare(request: &Request<Uplink>) -> Option<Request<Uplink>> {
    let asks_twice = request.method().is_safe() && request.body().is_end_stream();
    asks_twice.then(|| {
        let mut spare = Request::new(Uplink { body: None, visitor: Arc::clone(&request.body().visitor) });
        *spare.method_mut() = request.method().clone();
        *spare.uri_mut() = request.uri().clone();
        *spare.version_mut() = request.version();
        *spare.headers_mut() = request.headers().clone();
        spare
    })
}

type Sent =
    Result<(Response<Incoming>, Option<http1::SendRequest<Uplink>>), (hyper::Error, Option<Request<Uplink>>)>;

async fn send(sender: Sender, request: Request<Uplink>) -> Sent {
    match sender {
        Sender::One(mut sender) => {
            if let Err(error) = sender.ready().await {
                return Err((error, Some(request)));
            }
            match sender.try_send_request(request).await {
                Ok(response) => Ok((response, Some(sender))),
                Err(mut error) => {
                    Err((error.take_message(), error.into_error())).map_err(|(unsent, error)| (error, unsent))
                }
            }
        }
        Sender::Many(mut sender) => {
            if let Err(error) = sender.ready().await {
                return Err((error, Some(request)));
            }
            match sender.try_send_request(request).await {
                Ok(response) => Ok((response, None)),
                Err(mut error) => {
                    Err((error.take_message(), error.into_error())).map_err(|(unsent, error)| (error, unsent))
                }
            }
        }
    }
}

/// Waits for an answer, and gives the turn on when it takes longer.
async fn paced<T>(sent: impl Future<Output = T>, turn: &mut Turn) -> T {
    if turn.is_none() {
        return sent.await;
    }
    let mut sent = std::pin::pin!(sent);
    let answered = time::timeout(TURN, sent.as_mut()).await;
    *turn = None;
    match answered {
        Ok(answer) => answer,
        Err(_) => sent.await,
    }
}
