//! Pure. What the other side refuses for now: a key that it does not know, a path that it does not have.
//!
//! A key holds up everybody who has it, and a path only itself. Whether a refused key is at fault or the path that it
//! was used for is told by whether the key works elsewhere: if it did since it was last refused, it is the path.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use crate::upstream::{Breaker, Permit};

const FIRST: Duration = Duration::from_secs(2);
const MOST: Duration = Duration::from_secs(300);
/// More keys and paths than this are not remembered.
const MOST_HELD: usize = 65_536;

/// What is to be done with a request that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// It stays first in its lane until then.
    Wait(Instant),
    /// It goes into a lane of its own path.
    SetAside,
}

#[derive(Debug)]
struct Key {
    breaker: Breaker,
    /// It worked since it was last refused.
    works: bool,
}

/// See the module. Upstreams are known by their index.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    keys: HashMap<(usize, String), Key>,
    paths: HashMap<(usize, String), Breaker>,
}

fn breaker() -> Breaker {
    Breaker::new(1, FIRST, MOST)
}

fn until(permit: Permit, now: Instant) -> Instant {
    if let Permit::Wait(until) = permit { until } else { now + FIRST }
}

impl Holds {
    /// Whether a key may be used at an upstream.
    pub(crate) fn key(&self, upstream: usize, tag: &str, now: Instant) -> Permit {
        let known = self.keys.get(&(upstream, tag.to_owned()));
        known.map_or(Permit::Open, |key| key.breaker.permit(now))
    }

    /// Whether a path may be tried at an upstream.
    pub(crate) fn path(&self, upstream: usize, path: &str, now: Instant) -> Permit {
        let known = self.paths.get(&(upstream, path.to_owned()));
        known.map_or(Permit::Open, |path| path.permit(now))
    }

    /// A request is on its way that shows whether they are held for longer.
    pub(crate) fn probe(&mut self, upstream: usize, tag: &str, path: &str, now: Instant) {
        if let Some(key) = self.keys.get_mut(&(upstream, tag.to_owned())) {
            key.breaker.probe(now);
        }
        if let Some(path) = self.paths.get_mut(&(upstream, path.to_owned())) {
            path.probe(now);
        }
    }

    /// The other side took a request. Returns whether somebody may have waited for that.
    pub(crate) fn worked(&mut self, upstream: usize, tag: &str, path: &str) -> bool {
        let was_held = self.paths.remove(&(upstream, path.to_owned())).is_some();
        let place = (upstream, tag.to_owned());
        if self.keys.len() >= MOST_HELD && !self.keys.contains_key(&place) {
            return was_held;
        }
        let key = self.keys.entry(place).or_insert_with(|| Key { breaker: breaker(), works: true });
        key.works = true;
        key.breaker.worked() || was_held
    }

    /// Neither the key nor the path was what failed.
    pub(crate) fn untold(&mut self, upstream: usize, tag: &str, path: &str) {
        if let Some(key) = self.keys.get_mut(&(upstream, tag.to_owned())) {
            key.breaker.untold();
        }
        if let Some(path) = self.paths.get_mut(&(upstream, path.to_owned())) {
            path.untold();
        }
    }

    /// The other side refused the key, on this path.
    pub(crate) fn refused_key(
        &mut self,
        upstream: usize,
        tag: &str,
        path: &str,
        now: Instant,
        jitter: f64,
    ) -> Order {
        let place = (upstream, tag.to_owned());
        if self.keys.len() >= MOST_HELD && !self.keys.contains_key(&place) {
            return Order::Wait(now + MOST);
        }
        let key = self.keys.entry(place).or_insert_with(|| Key { breaker: breaker(), works: false });
        if std::mem::take(&mut key.works) {
            self.refused_path(upstream, path, now, jitter);
            return Order::SetAside;
        }
        key.breaker.failed(now, None, jitter);
        Order::Wait(until(key.breaker.permit(now), now))
    }

    /// The other side does not have the path. Returns when it may be tried again.
    pub(crate) fn refused_path(&mut self, upstream: usize, path: &str, now: Instant, jitter: f64) -> Instant {
        let place = (upstream, path.to_owned());
        if self.paths.len() >= MOST_HELD && !self.paths.contains_key(&place) {
            return now + MOST;
        }
        let held = self.paths.entry(place).or_insert_with(breaker);
        held.failed(now, None, jitter);
        until(held.permit(now), now)
    }

    /// What is held now: the upstream, and the path or `None` for a key.
    pub(crate) fn held(&self) -> Vec<(usize, Option<String>)> {
        let keys = self.keys.iter().filter(|(_, key)| key.breaker.is_open()).map(|((up, _), _)| (*up, None));
        let paths = self.paths.keys().map(|(upstream, path)| (*upstream, Some(path.clone())));
        keys.chain(paths).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_holds_up_everybody_who_has_it_until_one_probe_works() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        let first = holds.refused_key(0, "k", "/intake/", now, 1.0);
        assert_eq!(first, Order::Wait(now + FIRST));
        assert_eq!(holds.key(0, "k", now), Permit::Wait(now + FIRST));
        assert_eq!([holds.key(0, "other", now), holds.key(1, "k", now)], [Permit::Open; 2]);
        assert_eq!(holds.path(0, "/intake/", now), Permit::Open);
        let later = now + FIRST;
        assert_eq!(holds.key(0, "k", later), Permit::Probe);
        holds.probe(0, "k", "/intake/", later);
        assert!(matches!(holds.key(0, "k", later), Permit::Wait(_)), "one probe at a time");
        assert!(matches!(holds.refused_key(0, "k", "/intake/", later, 1.0), Order::Wait(_)));
        assert!(holds.worked(0, "k", "/intake/") && !holds.worked(0, "k", "/intake/"));
        assert_eq!(holds.key(0, "k", later), Permit::Open);
    }

    #[test]
    fn a_key_that_works_elsewhere_is_not_at_fault() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        holds.worked(0, "k", "/intake/");
        assert_eq!(holds.refused_key(0, "k", "/logs", now, 1.0), Order::SetAside);
        assert_eq!(holds.key(0, "k", now), Permit::Open);
        assert!(matches!(holds.path(0, "/logs", now), Permit::Wait(_)));
        // Refused again and nothing worked in between: now it is the key.
        assert!(matches!(holds.refused_key(0, "k", "/intake/", now, 1.0), Order::Wait(_)));
    }

    #[test]
    fn a_path_that_is_not_there_holds_up_itself() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        assert_eq!(holds.refused_path(0, "/new", now, 1.0), now + FIRST);
        assert_eq!([holds.path(0, "/intake/", now), holds.path(1, "/new", now)], [Permit::Open; 2]);
        assert_eq!(holds.held(), [(0, Some("/new".to_owned()))]);
        assert!(holds.worked(0, "k", "/new"));
        assert_eq!(holds.path(0, "/new", now), Permit::Open);
    }

    #[test]
    fn a_probe_that_met_other_trouble_leaves_the_turn_to_the_next() {
        let (mut holds, now) = (Holds::default(), Instant::now());
        holds.refused_path(0, "/new", now, 1.0);
        let later = now + FIRST;
        holds.probe(0, "k", "/new", later);
        holds.untold(0, "k", "/new");
        assert_eq!(holds.path(0, "/new", later), Permit::Probe);
    }
}
