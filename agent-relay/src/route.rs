//! Pure. Which upstreams a request may go to, and which of them is next.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use crate::{intake::path, upstream::Permit};

/// Requests that go to upstreams of their own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    /// This path and those below it; empty for all.
    pub(crate) path: String,
    /// The host that the client named; `None` for all.
    pub(crate) host: Option<String>,
    /// Where to: indexes of upstreams.
    pub(crate) upstreams: Vec<usize>,
    /// Whether the client waits for the answer of the upstream, whatever the path says.
    pub(crate) live: Option<bool>,
}

/// Every rule, the last one of them for all that is left.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    rules: Vec<Rule>,
    turns: AtomicU64,
}

impl Routes {
    /// With these rules; `others` is for what none of them means.
    pub(crate) fn new(mut rules: Vec<Rule>, others: Vec<usize>) -> Self {
        rules.push(Rule { upstreams: others, ..Rule::default() });
        Self { rules, turns: AtomicU64::new(0) }
    }

    /// The first rule for a path without prefix and for a host.
    pub(crate) fn rule(&self, bare: &str, host: &str) -> Option<&Rule> {
        let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let is_meant = |rule: &&Rule| {
            (rule.path.is_empty() || path::under(bare, &rule.path))
                && rule.host.as_ref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(host))
        };
        self.rules.iter().find(is_meant)
    }

    /// The next of these upstreams that may be tried: in turn by weight, or when the first may be tried.
    pub(crate) fn choose(
        &self,
        choices: &[(usize, u32, Permit)],
        now: Instant,
    ) -> Result<(usize, bool), Instant> {
        let probe = choices.iter().find(|(_, weight, permit)| *weight > 0 && *permit == Permit::Probe);
        if let Some((index, ..)) = probe {
            return Ok((*index, true));
        }
        let open = || choices.iter().filter(|(_, weight, permit)| *weight > 0 && *permit == Permit::Open);
        let sum: u64 = open().map(|(_, weight, _)| u64::from(*weight)).sum();
        if sum > 0 {
            let mut turn = self.turns.fetch_add(1, Ordering::Relaxed) % sum;
            for (index, weight, _) in open() {
                if turn < u64::from(*weight) {
                    return Ok((*index, false));
                }
                turn -= u64::from(*weight);
            }
        }
        let waits = choices.iter().filter_map(|(.., permit)| match permit {
            Permit::Wait(until) => Some(*until),
            _ => None,
        });
        Err(waits.min().unwrap_or(now + std::time::Duration::from_secs(1)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_first_rule_that_means_it_has_it_and_the_last_has_the_rest() {
        let rule = |path: &str, host: Option<&str>, upstream| Rule {
            path: path.to_owned(),
            host: host.map(str::to_owned),
            upstreams: vec![upstream],
            live: None,
        };
        let rules = vec![rule("/api/v2/logs", None, 1), rule("", Some("traces.local"), 2)];
        let routes = Routes::new(rules, vec![0]);
        let check = |path: &str, host: &str, expected: usize| {
            assert_eq!(routes.rule(path, host).unwrap().upstreams, [expected], "{path} {host}");
        };
        check("/api/v2/logs", "relay", 1);
        check("/api/v2/logs/x", "traces.local", 1);
        check("/api/v2/logsx", "relay", 0);
        check("/anything", "Traces.local:17123", 2);
        check("/intake/", "relay:17123", 0);
    }

    #[test]
    fn weights_are_kept_and_those_that_are_down_are_left_out() {
        let routes = Routes::default();
        let now = Instant::now();
        let count = |choices: &[(usize, u32, Permit)]| {
            let mut counts = [0; 3];
            for _ in 0..60 {
                counts[routes.choose(choices, now).unwrap().0] += 1;
            }
            counts
        };
        let wait = Permit::Wait(now + Duration::from_secs(5));
        assert_eq!(count(&[(0, 1, Permit::Open), (1, 2, Permit::Open), (2, 0, Permit::Open)]), [20, 40, 0]);
        assert_eq!(count(&[(0, 1, wait), (1, 2, Permit::Open)]), [0, 60, 0]);
        assert_eq!(routes.choose(&[(0, 1, Permit::Probe), (1, 2, Permit::Open)], now), Ok((0, true)));
        assert_eq!(routes.choose(&[(0, 1, wait)], now), Err(now + Duration::from_secs(5)));
    }
}
