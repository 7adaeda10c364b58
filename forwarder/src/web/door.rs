//! Who may ask anything on the Analyzer's port, API and metrics included, and what every answer says to a browser.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use common::config::Secret;

use super::session::Sessions;
use crate::api::access::{bearer, is_foreign};

/// The cookie of a session. Browsers send it to every port of a host, so it must not be worth anything there.
const COOKIE: &str = "wayside_analyzer";

/// Nothing is loaded but the two files of our own, nothing is framed, and forms are sent nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Decides who may ask. Clones share the sessions.
#[derive(Clone)]
pub struct Door {
    token: Option<Arc<Secret>>,
    /// Only names of loopback are answered: whoever uses another one may be a page that turned its own name
    /// into our address.
    only_loopback: bool,
    sessions: Arc<Mutex<Sessions>>,
}

impl Door {
    /// With a token, lets in who bears it or has signed in with it; without one, on loopback, who asks by a
    /// name of loopback.
    pub fn new(token: Option<&str>, listening: SocketAddr) -> Self {
        let only_loopback = token.is_none() && listening.ip().is_loopback();
        let token = token.map(|token| Arc::new(Secret::from(token)));
        Self { token, only_loopback, sessions: Arc::default() }
    }

    /// The router behind this door.
    pub fn guard(&self, router: Router) -> Router {
        router.layer(from_fn_with_state(self.clone(), check))
    }

    /// Whether there is anything to sign in with.
    pub(super) fn asks(&self) -> bool {
        self.token.is_some()
    }

    /// Opens a session for whoever knows the token. Returns the cookie to set.
    ///
    /// # Errors
    /// When the system has no random bytes.
    pub(super) fn sign_in(&self, told: &str) -> std::io::Result<Option<String>> {
        if !self.token.as_ref().is_some_and(|token| token.matches(told.as_bytes())) {
            return Ok(None);
        }
        let id = random_id()?;
        self.sessions().begin(&id, Instant::now());
        Ok(Some(format!("{COOKIE}={id}; Path=/; HttpOnly; SameSite=Strict")))
    }

    /// Ends the session of this request. Returns the cookie to set.
    pub(super) fn sign_out(&self, headers: &HeaderMap) -> String {
        for id in cookies(headers) {
            self.sessions().end(id);
        }
        format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }

    fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the request may pass; if a session stands for the token, the request bears it from here on, so
    /// that what is behind asks one question only.
    fn admits(&self, request: &mut Request) -> bool {
        let Some(token) = &self.token else { return true };
        if bearer(request.headers()).is_some_and(|told| token.matches(told)) {
            return true;
        }
        let now = Instant::now();
        if is_foreign(request.headers())
            || !cookies(request.headers()).any(|id| self.sessions().knows(id, now))
        {
            return false;
        }
        let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose())) else { return false };
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
        true
    }
}

async fn check(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let changes = request.method() != Method::GET && request.method() != Method::HEAD;
    let response = if door.only_loopback && !names_loopback(&request) {
        let told = "421: this Analyzer answers to localhost, 127.0.0.1 and [::1] only.\n\
                    Ask it by one of these, or set ANALYZER_TOKEN to reach it by other names.\n";
        (StatusCode::MISDIRECTED_REQUEST, told).into_response()
    } else if changes && is_foreign(request.headers()) {
        (StatusCode::FORBIDDEN, "403: a page of another origin may not ask this.\n").into_response()
    } else if path == "/sign-in" || path.starts_with("/assets/") || door.admits(&mut request) {
        next.run(request).await
    } else if path.starts_with("/api/") {
        // It refuses in its own words.
        next.run(request).await
    } else if path == "/metrics" {
        let told = "401: send Authorization: Bearer with the token of the Analyzer.\n";
        (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], told).into_response()
    } else {
        let to = if changes { "/" } else { request.uri().path_and_query().map_or("/", |to| to.as_str()) };
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("to", to).finish();
        Redirect::to(&format!("/sign-in?{query}")).into_response()
    };
    with_headers(response)
}

fn with_headers(mut response: Response) -> Response {
    let told = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Not no-referrer: under it, browsers send our own forms with `Origin: null`.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in told {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

/// The ids that the request brings: browsers may send several cookies of one name.
fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(header::COOKIE).into_iter().map(|line| line.as_bytes());
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii);
    pairs.filter_map(|pair| pair.strip_prefix(COOKIE.as_bytes())?.strip_prefix(b"="))
}

/// Whether every name that the request gives us is one of loopback. What gives none is no browser.
fn names_loopback(request: &Request) -> bool {
    let hosts = request.headers().get_all(header::HOST).into_iter().map(|host| host.to_str().ok());
    let target = request.uri().authority().map(|authority| Some(authority.as_str()));
    hosts.chain(target).all(|host| host.is_some_and(is_loopback))
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, rest)) if rest.is_empty() || rest.starts_with(':') => host,
            _ => return false,
        },
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn random_id() -> std::io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_loopback_are_told_from_others() {
        for good in
            ["localhost", "LOCALHOST:8889", "a.localhost:1", "127.0.0.1:8889", "127.1.2.3", "[::1]:80"]
        {
            assert!(is_loopback(good), "{good}");
        }
        for bad in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "0.0.0.0:8889",
            "10.0.0.1",
            "[::1",
            "[::1]x",
            "notlocalhost",
            "::1",
        ] {
            assert!(!is_loopback(bad), "{bad}");
        }
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append("cookie", "a=b; wayside_analyzer=1; wayside_analyzerx=2".parse().unwrap());
        headers.append("cookie", "wayside_analyzer=3".parse().unwrap());
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), [b"1", b"3"]);
    }
}
