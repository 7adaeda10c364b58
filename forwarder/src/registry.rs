//! Pure. Which proxies are alive: every word of a proxy renews its lease.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// One run of one proxy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Run {
    /// `APP_POD_NAME`.
    pub proxy_id: String,
    /// Drawn at its start.
    pub epoch: u64,
}

/// The leases. Whoever renews brings the clock.
#[derive(Debug)]
pub struct Registry {
    timeout: Duration,
    leases: HashMap<Run, Instant>,
    /// The run that registered last under each id, and whether the id is known to be shared.
    latest: HashMap<String, (u64, bool)>,
}

impl Registry {
    /// Nobody yet; a lease lasts for `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, leases: HashMap::new(), latest: HashMap::new() }
    }

    /// A run registered.
    pub fn register(&mut self, run: &Run, now: Instant) {
        let shared = self.latest.get(&run.proxy_id).is_some_and(|(_, shared)| *shared);
        self.latest.insert(run.proxy_id.clone(), (run.epoch, shared));
        self.leases.insert(run.clone(), now + self.timeout);
    }

    /// A run was heard of. Returns `true` once per id, when a run speaks although another took its id
    /// after it: two proxies have the same id then.
    pub fn renew(&mut self, run: &Run, now: Instant) -> bool {
        self.leases.insert(run.clone(), now + self.timeout);
        let latest = self.latest.entry(run.proxy_id.clone()).or_insert((run.epoch, false));
        let found_out = latest.0 != run.epoch && !latest.1;
        latest.1 |= found_out;
        found_out
    }

    /// A run ended in good order.
    pub fn close(&mut self, run: &Run) {
        self.leases.remove(run);
        self.forget(&run.proxy_id);
    }

    /// The runs whose lease is over; they are forgotten.
    pub fn reap(&mut self, now: Instant) -> Vec<Run> {
        let mut reaped: Vec<_> = self.leases.extract_if(|_, ends| *ends <= now).map(|(run, _)| run).collect();
        reaped.sort();
        for run in &reaped {
            self.forget(&run.proxy_id);
        }
        reaped
    }

    fn forget(&mut self, proxy_id: &str) {
        if !self.leases.keys().any(|run| run.proxy_id == proxy_id) {
            self.latest.remove(proxy_id);
        }
    }

    /// How many runs have a lease.
    pub fn len(&self) -> usize {
        self.leases.len()
    }

    /// Whether no run has a lease.
    pub fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(45);

    fn run(proxy_id: &str, epoch: u64) -> Run {
        Run { proxy_id: proxy_id.to_owned(), epoch }
    }

    #[test]
    fn a_proxy_is_reaped_when_it_was_silent_for_the_whole_timeout_and_no_sooner() {
        let mut registry = Registry::new(TIMEOUT);
        let start = Instant::now();
        registry.register(&run("a", 1), start);
        registry.register(&run("b", 2), start);
        registry.renew(&run("b", 2), start + Duration::from_secs(10));
        assert_eq!(registry.reap(start + TIMEOUT - Duration::from_nanos(1)), []);
        assert_eq!(registry.reap(start + TIMEOUT), [run("a", 1)]);
        assert_eq!(registry.reap(start + TIMEOUT), []);
        assert_eq!(registry.reap(start + TIMEOUT + Duration::from_secs(10)), [run("b", 2)]);
        assert!(registry.is_empty());
    }

    #[test]
    fn a_restarted_proxy_is_not_taken_for_two() {
        let mut registry = Registry::new(TIMEOUT);
        let start = Instant::now();
        registry.register(&run("a", 1), start);
        registry.register(&run("a", 2), start);
        assert!(!registry.renew(&run("a", 2), start));
    }

    #[test]
    fn two_proxies_of_one_name_are_told_once() {
        let mut registry = Registry::new(TIMEOUT);
        let start = Instant::now();
        registry.register(&run("a", 1), start);
        registry.register(&run("a", 2), start);
        assert!(registry.renew(&run("a", 1), start));
        assert!(!registry.renew(&run("a", 1), start));
        assert!(!registry.renew(&run("a", 2), start));
        registry.register(&run("a", 1), start);
        assert!(!registry.renew(&run("a", 2), start), "told already");
        assert_eq!(registry.len(), 2);
    }
}
