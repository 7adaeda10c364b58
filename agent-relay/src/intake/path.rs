//! Pure. What a path is about: where it goes upstream, whether it can be kept, and which answer its client knows.

/// What is done with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Kept on disk, then delivered.
    Keep,
    /// Carried while the client waits, since it wants the answer.
    Live,
    /// Answered here: the state of the relay.
    Status,
}

/// What clients of this path expect to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// `Transaction: …`, as the first generation of agents.
    Transaction,
    /// Nothing at all, as they had it for series.
    Empty,
    /// 202 with JSON.
    Json,
}

/// Prefixes that some clients have before every path.
const PREFIXES: [&str; 2] = ["/receiver/stsAgent", "/stsAgent"];
/// What waits for an answer, or has none that could be made up.
const LIVE: [&str; 10] = [
    "/api/v1/validate",
    "/support/flare",
    "/api/v0.1/configurations",
    "/api/v0.1/org",
    "/api/v0.1/status",
    "/api/v1/collector",
    "/api/v1/container",
    "/api/v1/connections",
    "/api/v1/discovery",
    "/api/v2/validate",
];

/// A path without the prefix that some clients have.
pub(crate) fn bare(path: &str) -> &str {
    let rest =
        |prefix: &&str| path.strip_prefix(*prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    PREFIXES.iter().find_map(rest).unwrap_or(path)
}

/// What a request is about, by its method and its bare path.
pub(crate) fn way(method: &str, bare: &str) -> Way {
    let is_read = matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "CONNECT");
    match bare {
        "/status" | "/status/" if matches!(method, "GET" | "HEAD") => Way::Status,
        _ if is_read => Way::Live,
        _ if LIVE.iter().any(|live| under(bare, live)) => Way::Live,
        _ => Way::Keep,
    }
}

/// Whether a path is this one or one below it.
pub(crate) fn under(path: &str, above: &str) -> bool {
    let above = above.trim_end_matches('/');
    path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The answer that clients of this path know. `is_modern` is told of those who would read JSON where the first
/// generation of agents reads nothing.
pub(crate) fn shape(bare: &str, is_modern: bool) -> Shape {
    let bare = bare.trim_end_matches('/');
    match bare {
        _ if is_modern => Shape::Json,
        "/api/v1/series" => Shape::Empty,
        "/api/v1/check_run" => Shape::Transaction,
        _ if under(bare, "/intake") => Shape::Transaction,
        _ => Shape::Json,
    }
}

/// What a query may say that nobody else is to know.
const SECRETS: [&str; 2] = ["api_key", "application_key"];
/// Below this path the API key is the rest of it.
const KEYED: &str = "/v1/input/";

/// A query without its secrets, and these by their names, each once.
pub(crate) fn without_secrets(query: &str) -> (String, Vec<(&'static str, String)>) {
    let mut secrets: Vec<(&'static str, String)> = Vec::new();
    let mut rest = Vec::new();
    for part in query.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match SECRETS.iter().find(|secret| **secret == name) {
            None => rest.push(part),
            Some(name) if value.is_empty() || secrets.iter().any(|(known, _)| known == name) => {}
            Some(name) => secrets.push((*name, value.to_owned())),
        }
    }
    (rest.join("&"), secrets)
}

/// A path without the API key at its end, and the key.
pub(crate) fn without_key(bare: &str) -> (&str, Option<&str>) {
    match bare.strip_prefix(KEYED) {
        Some(key) if !key.is_empty() => (KEYED, Some(key)),
        _ => (bare, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_every_client_is_known() {
        let check = |method: &str, path: &str, expected: (Way, Shape)| {
            for prefix in ["", "/stsAgent", "/receiver/stsAgent"] {
                let path = format!("{prefix}{path}");
                let bare = bare(&path);
                assert_eq!((way(method, bare), shape(bare, false)), expected, "{method} {path}");
            }
        };
        for path in ["/intake", "/intake/", "/intake/metrics", "/intake/metrics/", "/intake/metadata"] {
            check("POST", path, (Way::Keep, Shape::Transaction));
        }
        check("POST", "/api/v1/check_run/", (Way::Keep, Shape::Transaction));
        check("POST", "/api/v1/series", (Way::Keep, Shape::Empty));
        check("POST", "/api/v1/series/", (Way::Keep, Shape::Empty));
        for path in ["/api/v2/series", "/api/beta/sketches", "/api/v2/logs", "/v1/input", "/new/one", "/"] {
            check("POST", path, (Way::Keep, Shape::Json));
        }
        check("PUT", "/api/v0.2/traces", (Way::Keep, Shape::Json));
        for path in ["/api/v1/validate", "/support/flare/77", "/api/v0.1/configurations", "/api/v1/collector"]
        {
            check("POST", path, (Way::Live, Shape::Json));
        }
        check("GET", "/api/v1/validate", (Way::Live, Shape::Json));
        check("GET", "/status", (Way::Status, Shape::Json));
        check("POST", "/api/v1/validated", (Way::Keep, Shape::Json));
        assert_eq!(shape("/api/v1/check_run", true), Shape::Json);
        assert_eq!(bare("/stsAgentX/intake"), "/stsAgentX/intake");
        assert_eq!(bare("/stsAgent"), "");
    }

    #[test]
    fn the_secrets_leave_the_query_and_the_rest_stays() {
        let check = |query: &str, rest: &str, secrets: &[(&'static str, &str)]| {
            let told: Vec<_> = secrets.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
            assert_eq!(without_secrets(query), (rest.to_owned(), told), "{query}");
        };
        check("api_key=abc", "", &[("api_key", "abc")]);
        check("a=1&api_key=abc&b=%20", "a=1&b=%20", &[("api_key", "abc")]);
        check("application_key=x&api_key=abc&api_key=d", "", &[("application_key", "x"), ("api_key", "abc")]);
        check("a=1", "a=1", &[]);
        check("api_key=", "", &[]);
        assert_eq!(without_key("/v1/input/abc"), ("/v1/input/", Some("abc")));
        assert_eq!(without_key("/v1/input"), ("/v1/input", None));
    }
}
