//! Pure. Which request means what.

use std::borrow::Cow;

use http::{Method, StatusCode};
use percent_encoding::percent_decode_str;

use super::Answer;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Auth,
    Flags(Cow<'a, str>),
    Flag(Cow<'a, str>, Cow<'a, str>),
    Groups(Cow<'a, str>),
    Group(Cow<'a, str>, Cow<'a, str>),
    Values(Cow<'a, str>, Cow<'a, str>),
    Value(Cow<'a, str>, Cow<'a, str>, Cow<'a, str>),
    Stream,
    Usage(Cow<'a, str>),
    Health,
    Metrics,
    OfrepConfiguration,
    OfrepFlags,
    OfrepFlag(Cow<'a, str>),
    OfrepEvents,
}

/// Why there is nothing to answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A browser asks whether it may ask.
    Preflight,
    NotFound,
    Method(&'static str),
}

impl Refusal {
    pub(crate) fn answer(self) -> Answer {
        match self {
            Self::Preflight => Answer::preflight(),
            Self::NotFound => Answer::error(StatusCode::NOT_FOUND, "not found"),
            Self::Method(allowed) => {
                Answer::error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed").allowing(allowed)
            }
        }
    }
}

impl<'a> Route<'a> {
    /// What this method and path mean. The path may begin as that of the hosted service does.
    pub(crate) fn of(method: &Method, path: &'a str) -> Result<Self, Refusal> {
        let path = path.strip_prefix("/api/1.0").unwrap_or(path);
        let path = path.strip_prefix('/').unwrap_or(path);
        let parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).splitn(8, '/').collect();
        let (route, allowed) = match parts.as_slice() {
            ["client", "auth"] => (Self::Auth, "POST"),
            ["client", "env", env, "feature-configs"] => (Self::Flags(text(env)), "GET"),
            ["client", "env", env, "feature-configs", flag] => (Self::Flag(text(env), text(flag)), "GET"),
            ["client", "env", env, "target-segments"] => (Self::Groups(text(env)), "GET"),
            ["client", "env", env, "target-segments", group] => (Self::Group(text(env), text(group)), "GET"),
            ["client", "env", env, "target", target, "evaluations"] => {
                (Self::Values(text(env), text(target)), "GET")
            }
            ["client", "env", env, "target", target, "evaluations", flag] => {
                (Self::Value(text(env), text(target), text(flag)), "GET")
            }
            ["stream"] => (Self::Stream, "GET"),
            ["metrics", env] => (Self::Usage(text(env)), "POST"),
            ["health"] => (Self::Health, "GET"),
            ["metrics"] => (Self::Metrics, "GET"),
            ["ofrep", "v1", "configuration"] => (Self::OfrepConfiguration, "GET"),
            ["ofrep", "v1", "evaluate", "flags"] => (Self::OfrepFlags, "POST"),
            ["ofrep", "v1", "evaluate", "flags", key] => (Self::OfrepFlag(text(key)), "POST"),
            ["ofrep", "v1", "events"] => (Self::OfrepEvents, "GET"),
            _ => return Err(if method == Method::OPTIONS { Refusal::Preflight } else { Refusal::NotFound }),
        };
        match method.as_str() {
            "OPTIONS" => Err(Refusal::Preflight),
            told if told == allowed => Ok(route),
            _ => Err(Refusal::Method(allowed)),
        }
    }

    /// As it stands in the labels of metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Auth => "/client/auth",
            Self::Flags(_) => "/client/env/:environment_uuid/feature-configs",
            Self::Flag(..) => "/client/env/:environment_uuid/feature-configs/:identifier",
            Self::Groups(_) => "/client/env/:environment_uuid/target-segments",
            Self::Group(..) => "/client/env/:environment_uuid/target-segments/:identifier",
            Self::Values(..) => "/client/env/:environment_uuid/target/:target/evaluations",
            Self::Value(..) => "/client/env/:environment_uuid/target/:target/evaluations/:feature",
            Self::Stream => "/stream",
            Self::Usage(_) => "/metrics/:environment_uuid",
            Self::Health => "/health",
            Self::Metrics => "/metrics",
            Self::OfrepConfiguration => "/ofrep/v1/configuration",
            Self::OfrepFlags => "/ofrep/v1/evaluate/flags",
            Self::OfrepFlag(_) => "/ofrep/v1/evaluate/flags/:key",
            Self::OfrepEvents => "/ofrep/v1/events",
        }
    }
}

fn text(part: &str) -> Cow<'_, str> {
    percent_decode_str(part).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: Method, path: &str, expected: Result<Route<'_>, Refusal>) {
        assert_eq!(Route::of(&method, path), expected, "{method} {path}");
    }

    #[test]
    fn every_documented_path_is_known() {
        let get = |path: &'static str, route: Route<'static>| check(Method::GET, path, Ok(route));
        let post = |path: &'static str, route: Route<'static>| check(Method::POST, path, Ok(route));
        post("/client/auth", Route::Auth);
        get("/client/env/e/feature-configs", Route::Flags("e".into()));
        get("/client/env/e/feature-configs/f", Route::Flag("e".into(), "f".into()));
        get("/client/env/e/target-segments", Route::Groups("e".into()));
        get("/client/env/e/target-segments/g", Route::Group("e".into(), "g".into()));
        get("/client/env/e/target/a%40b/evaluations", Route::Values("e".into(), "a@b".into()));
        get("/client/env/e/target/t/evaluations/f", Route::Value("e".into(), "t".into(), "f".into()));
        get("/stream", Route::Stream);
        post("/metrics/e", Route::Usage("e".into()));
        get("/health", Route::Health);
        get("/metrics", Route::Metrics);
        post("/ofrep/v1/evaluate/flags", Route::OfrepFlags);
        post("/ofrep/v1/evaluate/flags/f", Route::OfrepFlag("f".into()));
        get("/ofrep/v1/events", Route::OfrepEvents);
        // As the hosted service spells it, for applications whose URL has the path.
        post("/api/1.0/client/auth", Route::Auth);
    }

    #[test]
    fn what_is_not_so_is_refused() {
        check(Method::GET, "/client/auth", Err(Refusal::Method("POST")));
        check(Method::HEAD, "/stream", Err(Refusal::Method("GET")));
        check(Method::OPTIONS, "/stream", Err(Refusal::Preflight));
        check(Method::OPTIONS, "/nowhere", Err(Refusal::Preflight));
        for path in [
            "/",
            "",
            "//",
            "/client",
            "/client/env/e",
            "/client/env/e/target/t/evaluations/f/g/h",
            "/stream/x",
            "*",
        ] {
            check(Method::GET, path, Err(Refusal::NotFound));
        }
    }
}
