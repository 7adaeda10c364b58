//! Pure. Which target a request is for: by host, port and path.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{pattern::PathPattern, plan::Target};

/// Where some requests go.
#[derive(Clone)]
pub struct Route {
    /// Whose it is.
    pub target: Arc<Target>,
    /// Whether they come over TLS.
    pub tls: bool,
    /// The port they come to.
    pub port: u16,
    /// Whether the target speaks TLS.
    pub target_tls: bool,
    /// The port of the target.
    pub target_port: u16,
    /// What is done with them.
    pub action: Action,
    /// Their paths.
    pub path: PathPattern,
}

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is carried to the target.
    Forward,
    /// Its client is sent there; empty: to the same URL at the protocol and port of the target.
    Redirect(String),
}

/// The listener that a request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entrance {
    /// Over TLS.
    pub tls: bool,
    /// Its port.
    pub port: u16,
    /// Whether it stands for the protocol's own port, 80 or 443, whatever its number is: such are those
    /// of the configuration.
    pub is_standard: bool,
}

impl Entrance {
    fn leads_to(self, route: &Route) -> bool {
        let standard = if self.tls { 443 } else { 80 };
        self.tls == route.tls && (self.port == route.port || (self.is_standard && route.port == standard))
    }
}

/// Why there is nothing for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nothing {
    /// No target has this name.
    Host,
    /// The name is known, and neither this port nor this path of it.
    Path,
}

/// All routes of a plan.
#[derive(Default)]
pub struct Routes {
    exact: HashMap<String, Vec<Arc<Route>>>,
    /// By what follows the star, the longest first.
    wild: Vec<(String, Vec<Arc<Route>>)>,
}

impl Routes {
    /// Each route with the names it is for.
    pub fn new(told: impl IntoIterator<Item = (Vec<String>, Route)>) -> Self {
        let mut routes = Self::default();
        for (domains, route) in told {
            let route = Arc::new(route);
            for domain in domains {
                let domain = domain.to_ascii_lowercase();
                let list = match domain.strip_prefix('*') {
                    None => routes.exact.entry(domain).or_default(),
                    Some(rest) => routes.wildcard(rest),
                };
                list.push(Arc::clone(&route));
            }
        }
        let lists = routes.exact.values_mut().chain(routes.wild.iter_mut().map(|(_, list)| list));
        for list in lists {
            list.sort_by_key(|route| std::cmp::Reverse(route.path.weight()));
        }
        routes.wild.sort_by_key(|(rest, _)| std::cmp::Reverse(rest.len()));
        routes
    }

    fn wildcard(&mut self, rest: &str) -> &mut Vec<Arc<Route>> {
        let place = self.wild.iter().position(|(known, _)| known == rest).unwrap_or(self.wild.len());
        if place == self.wild.len() {
            self.wild.push((rest.to_owned(), Vec::new()));
        }
        #[expect(clippy::indexing_slicing, reason = "it was just put there")]
        &mut self.wild[place].1
    }

    /// The route for a request; the host is in lower case and without a port.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, entrance: Entrance, host: &str, path: &str) -> Result<&Arc<Route>, Nothing> {
        let wild = self.wild.iter().filter(|(rest, _)| host.len() > rest.len() && host.ends_with(rest));
        let lists = self.exact.get(host).into_iter().chain(wild.map(|(_, list)| list));
        let mut nothing = Nothing::Host;
        for list in lists {
            let fits = |route: &&Arc<Route>| entrance.leads_to(route) && route.path.leads(path);
            if let Some(route) = list.iter().find(fits) {
                return Ok(route);
            }
            nothing = Nothing::Path;
        }
        Err(nothing)
    }

    /// Whether this name is somebody's.
    pub fn knows(&self, host: &str) -> bool {
        self.exact.contains_key(host) || self.wild.iter().any(|(rest, _)| host.ends_with(rest.as_str()))
    }

    /// The ports that requests come to, with whether they come over TLS.
    pub fn ports(&self) -> BTreeSet<(u16, bool)> {
        let lists = self.exact.values().chain(self.wild.iter().map(|(_, list)| list));
        lists.flatten().map(|route| (route.port, route.tls)).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;
    use crate::{
        plane::{gate::Gate, plan::Plan},
        wire,
    };

    fn plan() -> Plan {
        let target = |rule_id: &str, domains: &[&str], routes: &[(&str, u32, u32, &str)]| wire::Target {
            rule_id: rule_id.to_owned(),
            name: rule_id.to_owned(),
            domains: domains.iter().map(|name| (*name).to_owned()).collect(),
            http: routes
                .iter()
                .map(|(protocol, source_port, target_port, path)| wire::HttpRoute {
                    source_protocol: (*protocol).to_owned(),
                    source_port: *source_port,
                    target_port: *target_port,
                    path: (*path).to_owned(),
                    ..wire::HttpRoute::default()
                })
                .collect(),
            ..wire::Target::default()
        };
        let targets = vec![
            target("a", &["shop.example.com"], &[("http", 80, 1, ""), ("http", 80, 2, "/api")]),
            target("b", &["shop.example.com"], &[("http", 80, 3, "/api/v2/*"), ("https", 443, 4, "")]),
            target("c", &["*.example.com"], &[("http", 80, 5, ""), ("http", 8080, 6, "")]),
            target("d", &["*.deep.example.com"], &[("http", 80, 7, "/only")]),
        ];
        let gate = |id: &str| Arc::new(Gate::new(id, Arc::new(Notify::new())));
        let (plan, problems) = Plan::read(wire::Plan { targets, ..wire::Plan::default() }, gate);
        assert!(problems.is_empty(), "{problems:?}");
        plan
    }

    #[test]
    fn the_longest_path_of_the_nearest_name_is_meant() {
        let plan = plan();
        let http = Entrance { tls: false, port: 80, is_standard: false };
        let elsewhere = Entrance { tls: false, port: 31_000, is_standard: true };
        let secure = Entrance { tls: true, port: 443, is_standard: true };
        let odd = Entrance { tls: false, port: 8080, is_standard: false };
        for (entrance, host, path, expected) in [
            (http, "shop.example.com", "/", Ok(1)),
            (http, "shop.example.com", "/api/v1", Ok(2)),
            (http, "shop.example.com", "/api/v2/x", Ok(3)),
            (elsewhere, "shop.example.com", "/", Ok(1)),
            (secure, "shop.example.com", "/", Ok(4)),
            (http, "other.example.com", "/", Ok(5)),
            (http, "two.labels.example.com", "/", Ok(5)),
            (odd, "other.example.com", "/", Ok(6)),
            (http, "x.deep.example.com", "/only", Ok(7)),
            (http, "x.deep.example.com", "/", Ok(5)),
            (http, "example.com", "/", Err(Nothing::Host)),
            (secure, "other.example.com", "/", Err(Nothing::Path)),
            (http, "elsewhere.org", "/", Err(Nothing::Host)),
        ] {
            let found = plan.routes.find(entrance, host, path).map(|route| route.target_port);
            assert_eq!(found, expected, "{host}{path}");
        }
        assert_eq!(
            plan.routes.ports().into_iter().collect::<Vec<_>>(),
            [(80, false), (443, true), (8080, false)]
        );
    }
}
