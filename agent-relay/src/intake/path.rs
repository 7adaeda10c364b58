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

/// The answer that clients of this path know.
pub(crate) fn shape(bare: &str) -> Shape {
    let bare = bare.trim_end_matches('/');
    match bare {
        "/api/v1/series" => Shape::Empty,
        "/api/v1/check_run" => Shape::Transaction,
        _ if under(bare, "/intake") => Shape::Transaction,
        _ => Shape::Json,
    }
}

/// A query without its API key, and the key.
pub(crate) fn without_key(query: &str) -> (String, Option<String>) {
    let (keys, rest): (Vec<&str>, Vec<&str>) =
        query.split('&').filter(|part| !part.is_empty()).partition(|part| part.starts_with("api_key="));
    let key = keys.iter().filter_map(|part| part.strip_prefix("api_key=")).find(|key| !key.is_empty());
    (rest.join("&"), key.map(str::to_owned))
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
                assert_eq!((way(method, bare), shape(bare)), expected, "{method} {path}");
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
        assert_eq!(bare("/stsAgentX/intake"), "/stsAgentX/intake");
        assert_eq!(bare("/stsAgent"), "");
    }

    #[test]
    fn the_key_leaves_the_query_and_the_rest_stays() {
        assert_eq!(without_key("api_key=abc"), (String::new(), Some("abc".to_owned())));
        assert_eq!(without_key("a=1&api_key=abc&b=%20"), ("a=1&b=%20".to_owned(), Some("abc".to_owned())));
        assert_eq!(without_key("a=1"), ("a=1".to_owned(), None));
        assert_eq!(without_key("api_key="), (String::new(), None));
    }
}
