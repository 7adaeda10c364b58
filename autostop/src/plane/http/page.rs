//! What the plane says itself: the progress page, and refusals that say why.

use askama::Template;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use serde_json::json;

use super::{
    Entry,
    answer::{self, LOOKING},
    body::Downlink,
};
use crate::{
    hold,
    plane::{
        gate::{Phase, Wanter},
        park,
        plan::{Plan, Preset, Target},
        probe,
    },
};

/// Where the files of the progress page are, on every host.
pub(super) const ROOT: &str = "/.well-known/wayside/autostop/";

const SCRIPT: &str = include_str!("../../../templates/progress.js");
const STYLE: &str = include_str!("../../../templates/progress.css");
/// Nothing but the page's own files; it is shown in nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// When to come again where nothing better is known, in seconds.
const AGAIN: u64 = 5;
const AGAIN_AFTER_FAILURE: u64 = 30;

#[derive(Template)]
#[template(path = "progress.html")]
struct Progress<'a> {
    name: &'a str,
    root: &'static str,
    elapsed: u64,
    expected: Option<u64>,
    path: &'a str,
}

#[derive(Template)]
#[template(path = "told.html")]
struct Told<'a> {
    title: &'a str,
    text: &'a str,
    root: &'static str,
}

fn plain(status: StatusCode, kind: &'static str, text: impl Into<Bytes>) -> Response<Downlink> {
    let mut response = Response::new(Downlink::from(text.into()));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn html(status: StatusCode, page: &impl Template) -> Response<Downlink> {
    let Ok(text) = page.render() else { return plain(status, "text/plain", Bytes::new()) };
    let mut response = plain(status, "text/html; charset=utf-8", text);
    let fields = response.headers_mut();
    fields.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    fields.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// A refusal: to people as a page, to programs as a line.
fn refusal(
    status: StatusCode,
    title: &str,
    text: &str,
    again: Option<u64>,
    reads_html: bool,
) -> Response<Downlink> {
    let mut response = if reads_html {
        html(status, &Told { title, text, root: ROOT })
    } else {
        plain(status, "text/plain; charset=utf-8", format!("{title}: {text}\n"))
    };
    if let Some(again) = again {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(again));
    }
    response
}

/// A request that names no host.
pub(super) fn no_host() -> Response<Downlink> {
    refusal(StatusCode::BAD_REQUEST, "No host", "The request does not say which host it is for.", None, false)
}

/// A request for a tunnel: to anywhere, or of a protocol that is not carried (RFC 9110 §15.5.6, RFC 9220 §3).
pub(super) fn no_tunnel(is_forward: bool) -> Response<Downlink> {
    if is_forward {
        let text = "This proxy stands before its targets, and connects to nothing else.";
        let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "No tunnel", text, None, false);
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"));
        return response;
    }
    let text = "Of the protocols that go over a stream of HTTP/2, only websocket is carried.";
    refusal(StatusCode::NOT_IMPLEMENTED, "No tunnel", text, None, false)
}

/// The control plane was not heard yet.
pub(super) fn no_plan(reads_html: bool) -> Response<Downlink> {
    let text = "This proxy has just started, and waits to be told its rules.";
    refusal(StatusCode::SERVICE_UNAVAILABLE, "Starting", text, Some(AGAIN), reads_html)
}

/// Nothing has this name, or nothing has this path of it.
pub(super) fn unknown(host: &str, is_host: bool, reads_html: bool) -> Response<Downlink> {
    let text = if is_host {
        format!("No rule of this proxy is for the host {host}.")
    } else {
        format!("The host {host} is known here, but no rule is for this path and port of it.")
    };
    refusal(StatusCode::NOT_FOUND, "Not found", &text, None, reads_html)
}

/// Too many wait already.
pub(super) fn full(target: &Target, reads_html: bool) -> Response<Downlink> {
    let text = format!("So many wait for {} already that no more are held.", target.name);
    refusal(StatusCode::SERVICE_UNAVAILABLE, "Starting", &text, Some(again(target)), reads_html)
}

/// The target failed, or takes nobody.
pub(super) fn told(target: &Target, reads_html: bool) -> Response<Downlink> {
    let state = target.gate.state();
    let notice = park::notice(target);
    if state.phase == Phase::Failed {
        let again =
            state.retry_after.and_then(|time| hold::seconds(Some(time))).unwrap_or(AGAIN_AFTER_FAILURE);
        let text = format!("{}.", notice.sentence());
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "Not started", &text, Some(again), reads_html);
    }
    let text = format!("{} is switched off, and does not start for visitors now.", target.name);
    refusal(StatusCode::SERVICE_UNAVAILABLE, "Switched off", &text, None, reads_html)
}

/// It was held as long as it may be.
pub(super) fn late(target: &Target, reads_html: bool) -> Response<Downlink> {
    let text = format!("{}.", park::notice(target).sentence());
    refusal(StatusCode::SERVICE_UNAVAILABLE, "Starting", &text, Some(again(target)), reads_html)
}

/// Who asks does not wake it.
pub(super) fn asleep(target: &Target) -> Response<Downlink> {
    let text = format!("{} is asleep, and this request does not wake it.", target.name);
    refusal(StatusCode::SERVICE_UNAVAILABLE, "Asleep", &text, Some(AGAIN_AFTER_FAILURE), false)
}

/// It is awake, and does not answer.
pub(super) fn unreachable(target: &Target, reads_html: bool) -> Response<Downlink> {
    let text = format!("{} is awake, but does not accept connections.", target.name);
    refusal(StatusCode::BAD_GATEWAY, "No connection", &text, Some(AGAIN), reads_html)
}

/// It accepted the request and did not answer it.
pub(super) fn broke(target: &Target, reads_html: bool) -> Response<Downlink> {
    let text = format!("{} took the request and broke off before it answered.", target.name);
    refusal(StatusCode::BAD_GATEWAY, "Broken off", &text, None, reads_html)
}

fn again(target: &Target) -> u64 {
    hold::seconds(target.gate.left()).unwrap_or(AGAIN)
}

/// Elsewhere.
pub(super) fn redirect(status: StatusCode, url: &str) -> Response<Downlink> {
    let mut response = plain(status, "text/plain; charset=utf-8", format!("{url}\n"));
    response.headers_mut().remove(header::CACHE_CONTROL);
    if let Ok(url) = HeaderValue::from_str(url) {
        response.headers_mut().insert(header::LOCATION, url);
    }
    response
}

/// The page that waits with a person.
pub(super) fn progress(target: &Target, path: &str) -> Response<Downlink> {
    let expected = target.gate.state().expected.map(|time| time.as_secs());
    let elapsed = target.gate.elapsed().as_secs();
    let page = Progress { name: &target.name, root: ROOT, elapsed, expected, path };
    let mut response = html(StatusCode::SERVICE_UNAVAILABLE, &page);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(again(target)));
    response
}

/// The files of the page, and how the target of this host and path stands.
pub(super) fn file(
    name: &str,
    query: &str,
    host: &str,
    user_agent: &str,
    plan: &Plan,
    entry: &Entry,
) -> Response<Downlink> {
    let file = |kind, text: &'static str| {
        let mut response = plain(StatusCode::OK, kind, text);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=3600"));
        response
    };
    match name {
        "progress.js" => file("text/javascript; charset=utf-8", SCRIPT),
        "progress.css" => file("text/css; charset=utf-8", STYLE),
        "status" => status(query, host, user_agent, plan, entry),
        _ => unknown(host, false, false),
    }
}

fn status(query: &str, host: &str, user_agent: &str, plan: &Plan, entry: &Entry) -> Response<Downlink> {
    let path = form_value(query, "path").unwrap_or_else(|| "/".to_owned());
    let Ok(route) = plan.routes.find(entry.entrance, host, &path) else { return unknown(host, false, false) };
    let (target, port) = (&route.target, route.target_port);
    let state = target.gate.state();
    let client = entry.peer.ip();
    if target.may_wake(client) && answer::counts(target, &path, user_agent, client) {
        let detail = format!("progress page of {host}{path}").chars().take(120).collect();
        target.gate.want_for(LOOKING, Wanter { peer: entry.peer, protocol: "http", detail });
    }
    probe::begin(target, port, Preset::Tcp, &entry.plane.drain);
    let failure = match state.phase {
        Phase::Failed => Some(park::notice(target).sentence()),
        Phase::Closed => Some(format!("{} is switched off", target.name)),
        _ => None,
    };
    let body = json!({
        "ready": target.gate.is_through(port),
        "elapsed_s": target.gate.elapsed().as_secs(),
        "expected_s": state.expected.map(|time| time.as_secs()),
        "failure": failure,
    });
    plain(StatusCode::OK, "application/json", body.to_string())
}

/// A value of a query (`application/x-www-form-urlencoded`).
fn form_value(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let value = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).next()?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        let hex = |byte: Option<u8>| char::from(byte.unwrap_or_default()).to_digit(16);
        match byte {
            b'%' => bytes.push(u8::try_from(hex(rest.next())? * 16 + hex(rest.next())?).ok()?),
            b'+' => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_value_is_read_as_a_browser_writes_it() {
        for (query, expected) in [
            ("path=%2Fa%20b", Some("/a b")),
            ("x=1&path=%2F&path=2", Some("/")),
            ("path=%2", None),
            ("path=%zz", None),
            ("path", None),
            ("path=%ff", None),
        ] {
            assert_eq!(form_value(query, "path").as_deref(), expected, "{query}");
        }
    }

    #[test]
    fn the_page_says_how_long_it_takes_and_runs_nothing_of_others() {
        let page = Progress { name: "<b>box</b>", root: ROOT, elapsed: 3, expected: Some(20), path: "/\"x" };
        let text = page.render().unwrap();
        assert!(text.contains("20 s") && !text.contains("<b>") && !text.contains("/\"x"), "{text}");
        assert!(text.contains("http-equiv=\"refresh\"") && text.contains("aria-live"), "{text}");
    }
}
