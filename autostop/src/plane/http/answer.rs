//! What becomes of one request: whose it is, and whether it goes there, waits, sees a page or is refused.

use std::{convert::Infallible, net::IpAddr, sync::Arc};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use tokio::time::{self, Duration, Instant};

use super::{
    Entry,
    body::Downlink,
    forward,
    hold::{self, Held},
    page,
    websocket::{self, Tunnel},
};
use crate::plane::{
    activity::Floor,
    gate::{Full, Phase, Standing, Visit, Wanter},
    plan::{Preset, Target},
    probe,
    route::{Action, Nothing, Route},
    visitor::{Kind, Visitor},
};

/// Those who only look whether a service is there, by how their user agents begin.
const PROBES: [&str; 8] = [
    "ELB-HealthChecker",
    "GoogleHC",
    "kube-probe",
    "Consul Health Check",
    "Envoy/HC",
    "Azure Traffic Manager",
    "Load Balancer Agent",
    "HAProxy",
];
/// Somebody who looks at a progress page wants the target awake for so long after each look.
pub(super) const LOOKING: Duration = Duration::from_secs(5);
/// How long it may take to decide about a fence before a person sees a page.
const FENCE: Duration = Duration::from_secs(1);
/// How much of what was asked for is told.
const DETAIL: usize = 120;
/// For an upgraded connection: pings and pongs are small, and both sides speak.
pub(super) const FLOOR: Floor = Floor { bytes: 140, both_speak: true };

/// What was found out about a request.
pub(super) struct Case {
    pub(super) route: Arc<Route>,
    pub(super) host: HeaderValue,
    pub(super) arrived: Instant,
    pub(super) may_wake: bool,
    pub(super) reads_html: bool,
}

/// Answers one request.
pub(super) async fn answer(
    request: Request<Incoming>,
    entry: Arc<Entry>,
) -> Result<Response<Downlink>, Infallible> {
    let arrived = Instant::now();
    let asked = tracing::enabled!(tracing::Level::DEBUG).then(|| {
        (request.method().clone(), host(&request).map(|host| host.0), request.uri().path().to_owned())
    });
    let response = lead(request, &entry, arrived).await;
    let status = response.status().as_u16();
    entry.plane.metrics.answer(status);
    if let Some((method, host, path)) = asked {
        let (peer, host) = (entry.peer, host.unwrap_or_default());
        tracing::debug!(%peer, %method, host, path, status, took = ?arrived.elapsed(), "request");
    }
    Ok(response)
}

/// The host that a request is for: as it was written, and as it is looked up.
fn host(request: &Request<Incoming>) -> Option<(String, HeaderValue)> {
    let written = match request.uri().authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok()?,
        None => request.headers().get(header::HOST)?.clone(),
    };
    let text = written.to_str().ok()?;
    let text = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let name = match text.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => text,
    };
    Some((name.trim_end_matches('.').to_ascii_lowercase(), written))
}

async fn lead(request: Request<Incoming>, entry: &Arc<Entry>, arrived: Instant) -> Response<Downlink> {
    if let Some(refused @ (Tunnel::Unknown | Tunnel::Forward)) = websocket::asked(&request) {
        entry.plane.metrics.refuse("tunnel");
        return page::no_tunnel(refused == Tunnel::Forward);
    }
    let Some((name, host)) = host(&request) else { return page::no_host() };
    let plan = entry.plane.plan();
    let path = request.uri().path();
    if let Some(file) = path.strip_prefix(page::ROOT)
        && plan.routes.knows(&name)
    {
        let query = request.uri().query().unwrap_or_default();
        return page::file(file, query, &name, user_agent(&request), &plan, entry);
    }
    let reads_html = reads_html(&request);
    let route = match plan.routes.find(entry.entrance, &name, path) {
        Ok(route) => Arc::clone(route),
        Err(_) if plan.revision == 0 => {
            entry.plane.metrics.refuse("no_plan");
            return page::no_plan(reads_html);
        }
        Err(nothing) => {
            entry.plane.metrics.refuse("unknown");
            return page::unknown(&name, nothing == Nothing::Host, reads_html);
        }
    };
    drop(plan);
    if let Action::Redirect(url) = &route.action {
        return redirect(url, &route, &name, &request);
    }
    let target = Arc::clone(&route.target);
    let client = entry.peer.ip();
    let counts = counts(&target, path, user_agent(&request), client);
    let detail: String = format!("{} {name}{path}", request.method()).chars().take(DETAIL).collect();
    let kind = if counts { Kind::Request } else { Kind::Aside };
    let visitor = Visitor::new(kind, entry.peer, "http", detail.clone(), FLOOR, false);
    let mut visit = match target.gate.enter(visitor, route.target_port, target.hold.clients) {
        Ok(visit) => visit,
        Err(Full) => {
            entry.plane.metrics.refuse("full");
            return page::full(&target, reads_html);
        }
    };
    let may_wake = target.may_wake(client);
    if !visit.is_through() {
        if counts && may_wake {
            visit.want();
        }
        let wanter = Wanter { peer: entry.peer, protocol: "http", detail };
        match beyond_the_fence(&mut visit).await {
            Standing::Through => {}
            standing @ (Standing::Failed | Standing::Closed) => {
                if standing == Standing::Failed && counts && may_wake {
                    target.gate.want_for(LOOKING, wanter);
                }
                entry.plane.metrics.refuse("failed");
                return page::told(&target, reads_html);
            }
            Standing::Wait if !counts || (!may_wake && !is_on_its_way(&target)) => {
                entry.plane.metrics.refuse("asleep");
                return page::asleep(&target);
            }
            Standing::Wait if reads_html && !target.hide_progress_page && is_a_look(request.method()) => {
                if may_wake {
                    target.gate.want_for(LOOKING, wanter);
                }
                probe::begin(&target, route.target_port, Preset::Tcp, &entry.plane.drain);
                return page::progress(&target, path);
            }
            Standing::Wait => {}
        }
    }
    let case = Case { route, host, arrived, may_wake, reads_html };
    let mut turn = None;
    if !visit.is_through() {
        match hold::hold(&case, &mut visit, &entry.plane.drain).await {
            Held::Through => turn = visit.gate().pace().acquire_owned().await.ok(),
            held => return forward::refused(held, &target, reads_html, entry),
        }
    }
    // Boxed, and not begun before: those that wait have no need of its room.
    Box::pin(forward::forward(request, case, visit, turn, entry)).await
}

fn user_agent(request: &Request<Incoming>) -> &str {
    let told = request.headers().get(header::USER_AGENT).and_then(|value| value.to_str().ok());
    told.unwrap_or_default()
}

/// Whether a request wakes, and keeps awake.
pub(super) fn counts(target: &Target, path: &str, user_agent: &str, client: IpAddr) -> bool {
    let is_probe = PROBES.iter().any(|probe| user_agent.starts_with(probe));
    !is_probe && target.counts(path, user_agent, client)
}

/// Most fences are taken back at once, and nobody need see that there was one.
async fn beyond_the_fence(visit: &mut Visit) -> Standing {
    let mut changes = visit.gate().changes();
    let decided = time::timeout(FENCE, async {
        loop {
            let standing = visit.look();
            if standing != Standing::Wait || visit.gate().state().phase != Phase::Fenced {
                return standing;
            }
            // A sender lives in the gate, so this cannot fail.
            changes.changed().await.ok();
        }
    });
    decided.await.unwrap_or(Standing::Wait)
}

fn is_on_its_way(target: &Target) -> bool {
    target.gate.state().phase == Phase::Waking
}

/// Whether the answer may be replaced by a page that asks again.
fn is_a_look(method: &Method) -> bool {
    method == Method::GET || method == Method::HEAD
}

fn reads_html(request: &Request<Incoming>) -> bool {
    let accepted = request.headers().get_all(header::ACCEPT);
    accepted.into_iter().filter_map(|value| value.to_str().ok()).any(|value| value.contains("text/html"))
}

fn redirect(url: &str, route: &Route, name: &str, request: &Request<Incoming>) -> Response<Downlink> {
    let rest = request.uri().path_and_query().map_or("/", |rest| rest.as_str());
    let url = if url.is_empty() {
        let (scheme, standard) = if route.target_tls { ("https", 443) } else { ("http", 80) };
        let port =
            if route.target_port == standard { String::new() } else { format!(":{}", route.target_port) };
        format!("{scheme}://{name}{port}{rest}")
    } else {
        url.to_owned()
    };
    // A method other than GET must stay what it is (RFC 9110 §15.4.8).
    let moved = if is_a_look(request.method()) {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::PERMANENT_REDIRECT
    };
    page::redirect(moved, &url)
}
