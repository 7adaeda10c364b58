//! Who may ask a daemon that people look at in a browser, and what every answer says to that browser.

mod origin;
mod session;
mod sign_in;

use std::{
    fmt,
    io::{self, Read as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Redirect, Response},
};

pub use self::origin::{bearer, is_foreign, own_path};
use self::{origin::names_loopback, session::Sessions};
use crate::{
    config::Secret,
    pages::{Frame, House},
};

/// Nothing is loaded but files of our own, nothing is framed, and forms are sent nowhere else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                      img-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What is written on a door.
#[derive(Debug)]
pub struct Sign {
    /// What is behind it, in its texts: `Analyzer`.
    pub name: &'static str,
    /// Whose pages are behind it.
    pub house: &'static House,
    /// Why it asks for a token, as a sentence without its end.
    pub reason: &'static str,
    /// How the token is set: `ANALYZER_TOKEN`.
    pub setting: &'static str,
    /// The cookie of a session. Browsers send it to every port of a host, so two daemons need two names.
    pub cookie: &'static str,
    /// The path of the page that signs in.
    pub sign_in: &'static str,
    /// The path that signs out.
    pub sign_out: &'static str,
    /// How each path answers whoever does not show the token; signing in and the files of the house are open.
    pub way: fn(&str) -> Way,
}

/// How a path answers whoever does not show the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As it answers everybody.
    Open,
    /// It refuses by itself, in its own words.
    OwnWords,
    /// 401, for a program.
    Program,
    /// It leads to the page that signs in.
    Page,
}

/// Decides who may ask. Clones share the sessions.
///
/// With a token, it lets in whoever bears it or has signed in with it. Without one, only names of loopback are
/// answered, so the listener has to be on loopback: whoever uses another name may be a page that turned its own
/// name into our address. Either way, nothing is changed for a page of another origin.
#[derive(Clone)]
pub struct Door {
    sign: &'static Sign,
    token: Arc<dyn Fn() -> Option<Secret> + Send + Sync>,
    sessions: Arc<Mutex<Sessions>>,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("sign", &self.sign).finish_non_exhaustive()
    }
}

impl Door {
    /// A door that asks for the token, as it is at that moment. A session is good for the token that opened it.
    pub fn new(sign: &'static Sign, token: impl Fn() -> Option<Secret> + Send + Sync + 'static) -> Self {
        Self { sign, token: Arc::new(token), sessions: Arc::default() }
    }

    /// The router behind this door, with the pages that sign in and out and the files of the house.
    pub fn guard(&self, router: Router) -> Router {
        let files = self.sign.house.assets.routes();
        router
            .nest(self.sign.house.folder, files)
            .merge(sign_in::routes(self.clone()))
            .layer(from_fn_with_state(self.clone(), check))
    }

    /// Whether there is anything to sign in with.
    pub fn asks(&self) -> bool {
        (self.token)().is_some()
    }

    /// The frame of the page at this place.
    pub fn frame(&self, at: &'static str) -> Frame {
        Frame { at, house: self.sign.house, whose: None, sign_out: self.asks().then_some(self.sign.sign_out) }
    }

    /// Opens a session for whoever knows the token. Returns the cookie to set, or `None` when it is another token.
    ///
    /// # Errors
    /// When the system has no random bytes.
    fn open(&self, told: &str) -> io::Result<Option<String>> {
        let Some(token) = (self.token)().filter(|token| token.matches(told.as_bytes())) else {
            return Ok(None);
        };
        let id = random_id()?;
        self.sessions().begin(&id, &token, Instant::now());
        Ok(Some(format!("{}={id}; Path=/; HttpOnly; SameSite=Strict", self.sign.cookie)))
    }

    /// Ends the session of this request. Returns the cookie to set.
    fn close(&self, headers: &HeaderMap) -> String {
        for id in origin::cookies(headers, self.sign.cookie) {
            self.sessions().end(id);
        }
        format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", self.sign.cookie)
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the request may pass; if a session stands for the token, the request bears it from here on, so
    /// that what is behind asks one question only.
    fn admits(&self, token: Option<&Secret>, request: &mut Request) -> bool {
        let Some(token) = token else { return true };
        if bearer(request.headers()).is_some_and(|told| token.matches(told)) {
            return true;
        }
        let now = Instant::now();
        if is_foreign(request.headers())
            || !origin::cookies(request.headers(), self.sign.cookie)
                .any(|id| self.sessions().knows(id, token, now))
        {
            return false;
        }
        let Ok(mut value) = HeaderValue::try_from(format!("Bearer {}", token.expose())) else { return false };
        value.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, value);
        true
    }
}

fn way(sign: &Sign, path: &str) -> Way {
    let is_file = path.strip_prefix(sign.house.folder).is_some_and(|rest| rest.starts_with('/'));
    if is_file || path == sign.sign_in { Way::Open } else { (sign.way)(path) }
}

async fn check(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let Sign { name, house, setting, sign_in, .. } = *door.sign;
    let token = (door.token)();
    let changes = request.method() != Method::GET && request.method() != Method::HEAD;
    let response = if token.is_none() && !names_loopback(&request) {
        let told = format!(
            "421: this {name} answers to localhost, 127.0.0.1 and [::1] only.\n\
             Ask it by one of these, or set {setting} to reach it by other names.\n"
        );
        (StatusCode::MISDIRECTED_REQUEST, told).into_response()
    } else if changes && is_foreign(request.headers()) {
        (StatusCode::FORBIDDEN, "403: a page of another origin may not ask this.\n").into_response()
    } else if door.admits(token.as_ref(), &mut request) {
        next.run(request).await
    } else {
        match way(door.sign, request.uri().path()) {
            Way::Open | Way::OwnWords => next.run(request).await,
            Way::Program => {
                let told = format!("401: send Authorization: Bearer with the token of the {name}.\n");
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], told).into_response()
            }
            Way::Page => {
                let asked = request.uri().path_and_query().map_or(house.home, |to| to.as_str());
                let to = if changes { house.home } else { asked };
                let mut query = url::form_urlencoded::Serializer::new(String::new());
                Redirect::to(&format!("{sign_in}?{}", query.append_pair("to", to).finish())).into_response()
            }
        }
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

fn random_id() -> io::Result<String> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
