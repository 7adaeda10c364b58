//! Pure. Which requests a rule means: by path, by user agent, by client.

use std::net::IpAddr;

use ipnet::IpNet;

/// A path of a rule: a prefix, or with `*` (any run of characters) a pattern for the whole path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathPattern(String);

impl PathPattern {
    /// As the rule has it; empty fits every path.
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Whether this path begins so, or fits the pattern.
    pub fn leads(&self, path: &str) -> bool {
        if self.0.contains('*') { fits(&self.0, path) } else { path.starts_with(&self.0) }
    }

    /// How much of a path it says: of two that fit, the greater one is meant.
    pub fn weight(&self) -> usize {
        self.0.bytes().filter(|byte| *byte != b'*').count()
    }
}

/// Whether all of `text` fits, `*` standing for any run of characters.
pub fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// A CIDR block; a lone address is a block of one.
pub fn block(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// Requests of one kind. Everything that is set has to hold.
#[derive(Clone, Debug, Default)]
pub struct Match {
    /// For the whole path.
    pub path: Option<String>,
    /// A part of the user agent, in lower case.
    pub user_agent: Option<String>,
    /// Where the client is; a block that cannot be understood holds nobody.
    pub client: Option<Option<IpNet>>,
}

impl Match {
    /// Whether it means this request.
    pub fn means(&self, path: &str, user_agent: &str, client: IpAddr) -> bool {
        self.path.as_ref().is_none_or(|pattern| fits(pattern, path))
            && self.user_agent.as_ref().is_none_or(|part| user_agent.to_lowercase().contains(part))
            && self.client.is_none_or(|block| block.is_some_and(|block| block.contains(&client)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, text, expected) in [
            ("/health", "/health", true),
            ("/health", "/healthy", false),
            ("/api/*", "/api/", true),
            ("/api/*", "/api", false),
            ("*.png", "/a/b.png", true),
            ("/a*b*c", "/a-b-b-c", true),
            ("/a*b*c", "/a-c", false),
            ("/ax*xa", "/axa", false),
            ("*", "", true),
            ("", "", true),
            ("", "/", false),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} on {text}");
        }
    }

    #[test]
    fn without_a_star_a_path_of_a_route_is_a_prefix() {
        assert!(PathPattern::new("").leads("/anything"));
        assert!(PathPattern::new("/api").leads("/api/v1"));
        assert!(!PathPattern::new("/api").leads("/"));
        assert!(PathPattern::new("/api/*").weight() > PathPattern::new("/*").weight());
    }

    #[test]
    fn everything_that_is_set_has_to_hold() {
        let probe = Match {
            path: Some("/health*".to_owned()),
            user_agent: Some("probe".to_owned()),
            client: Some(block("10.0.0.0/8")),
        };
        let (inside, outside) = ("10.1.2.3".parse().unwrap(), "192.0.2.1".parse().unwrap());
        assert!(probe.means("/healthz", "Kube-Probe/1.2", inside));
        assert!(!probe.means("/healthz", "Kube-Probe/1.2", outside));
        assert!(!probe.means("/", "Kube-Probe/1.2", inside));
        assert!(!probe.means("/healthz", "curl", inside));
        assert!(!Match { client: Some(None), ..Match::default() }.means("/", "", inside));
    }
}
